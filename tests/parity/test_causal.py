"""The language model over a cache: against transformers' Qwen3, and against itself without one."""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import TypeAlias

import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from headroom.lm.cache import Cache
from headroom.lm.decode import CachedRows, ReadBefore, Writing, generate
from headroom.lm.sample import Sampling
from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import LayerSizes
from support.near import assert_agrees, assert_near, half_excess, is_fault, table, twice

# Heads, key heads and head size as released (0.6B, 1.7B, 4B), narrower and with few layers.
CONFIGS = {"0.6B": (1024, 3072, 16, 8), "1.7B": (2048, 6144, 16, 8), "4B": (2560, 9728, 32, 8)}
WORDS = 500
CPU = torch.device("cpu")
GREEDY = Sampling(0.0, 0, 1.0, 1.0)


def randomised(module: torch.nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for tensor in module.parameters():
        if tensor.dim() == 1:
            tensor.data.normal_(1, 0.2, generator=draw)
        else:
            tensor.data.normal_(0, tensor.shape[-1] ** -0.5, generator=draw)


Pair: TypeAlias = tuple[Qwen3ForCausalLM, CausalLM]


def pair(name: str) -> Pair:
    """Theirs and ours with the same drawn weights, in fp32."""
    width, hidden, heads, kv_heads = CONFIGS[name]
    config = Qwen3Config(
        vocab_size=WORDS, hidden_size=width, intermediate_size=hidden, num_hidden_layers=2,
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=128,
        max_position_embeddings=40_960, rope_theta=1e6, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):  # every weight is drawn below, and only there
        theirs = Qwen3ForCausalLM(config).eval()
    theirs.to_empty(device="cpu").tie_weights()
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config)
    table(theirs.model.rotary_emb.inv_freq)
    randomised(theirs, 3)
    sizes = LayerSizes(width, hidden, heads, kv_heads, 128, 1e-6, 1e6)
    with torch.device("meta"):
        ours = CausalLM(sizes, 2, WORDS).eval()
    ours.load_state_dict(theirs.model.state_dict(), assign=True)
    return theirs, ours.requires_grad_(False)


@pytest.fixture(scope="module", params=CONFIGS)
def both(request: pytest.FixtureRequest) -> Pair:
    """A pair of each size, drawn once: of the largest that takes seconds. Nobody changes it."""
    return pair(request.param)


@cache
def smallest() -> CausalLM:
    """Ours, of the smallest size. Nobody changes it."""
    return pair("0.6B")[1]


def ids(count: int, seed: int = 0) -> list[int]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, WORDS, (count,), generator=draw).tolist()


def whole(model: CausalLM, tokens: list[int]) -> Tensor:
    """Logits of every position, without a cache."""
    hidden = model(torch.tensor(tokens), [len(tokens)])
    return model.logits(hidden, slice(0, WORDS))


def stepped(model: CausalLM, prompts: list[list[int]], then: list[list[int]]) -> Tensor:
    """Logits [rows, n + 1, words]: after the prompts, and after each of n tokens a row."""
    rows = CachedRows(model, prompts, len(then[0]), CPU)
    found = [rows.read(prompts)]
    for tokens in zip(*then, strict=True):
        found.append(rows.feed(torch.tensor(tokens)))
    return torch.stack([model.logits(h, slice(0, WORDS)) for h in found], 1)


@torch.inference_mode()
def test_logits_are_those_of_transformers(both: Pair) -> None:
    theirs, ours = both
    tokens = ids(40)
    expected, exact = twice(lambda: theirs(torch.tensor([tokens])).logits[0])
    assert_agrees(whole(ours, tokens), expected, exact)
    seen = stepped(ours, [tokens[:31]], [tokens[31:]])[0]
    assert_agrees(seen, expected[30:], exact[30:])


@pytest.mark.ci
@torch.inference_mode()
def test_bfloat16_is_as_near_to_float32_as_that_of_transformers(both: Pair) -> None:
    tokens = ids(40)
    exact = both[0](torch.tensor([tokens])).logits[0, 30:].double()
    theirs, ours = (copy.deepcopy(model).bfloat16() for model in both)
    rounded = theirs(torch.tensor([tokens])).logits[0, 30:]
    seen = stepped(ours, [tokens[:31]], [tokens[31:]])[0]
    assert half_excess(seen, rounded, exact) <= 1
    assert half_excess(seen.roll(1, 0), rounded, exact) > 10  # another token's logits


@torch.inference_mode()
def test_a_cache_gives_what_reading_all_again_gives() -> None:
    model = smallest()
    prompts = [ids(70, 1), ids(5, 2), ids(70, 1), ids(33, 4)]
    then = [ids(12, 10 + row) for row in range(4)]
    seen = stepped(model, prompts, then)
    for row, (prompt, tokens) in enumerate(zip(prompts, then, strict=True)):
        again = partial(whole, model, prompt + tokens)
        expected, exact = (logits[len(prompt) - 1 :] for logits in twice(again))
        assert_agrees(seen[row], expected, exact, row)
        alone = stepped(model, [prompt], [tokens])[0]
        assert_agrees(seen[row], alone, exact, row)


@torch.inference_mode()
def test_a_row_can_be_read_on_where_it_was_left(both: Pair) -> None:
    _, model = both
    tokens = ids(50)
    first, second = (Cache(model, 2, 60, CPU) for _ in range(2))
    rope = model.rope(first.capacity, CPU)
    model.prefill(torch.tensor(tokens[:30]), first.past, 1, 0, rope)
    first.lengths[1] = 30
    second.take(first, 1, 0, 28)  # the first 28 hold for the second one too
    hidden = model.prefill(torch.tensor(tokens[28:]), second.past, 0, 28, rope)
    assert_near(model.logits(hidden, slice(0, WORDS)), lambda: whole(model, tokens)[28:])


@torch.inference_mode()
def test_a_slice_of_the_head_is_the_head(both: Pair) -> None:
    _, model = both
    hidden = torch.randn(3, model.sizes.width, generator=torch.Generator().manual_seed(6))
    part = model.logits(hidden, slice(100, 300))
    assert_near(part, lambda: model.logits(hidden, slice(0, WORDS))[:, 100:300])
    assert is_fault(part, lambda: model.logits(hidden, slice(0, WORDS))[:, 101:301])


@torch.inference_mode()
def test_guidance_in_two_rows_is_two_forwards() -> None:
    model = smallest()
    prompts, against = (tuple(ids(40, 1)), tuple(ids(9, 2))), tuple(ids(12, 3))
    scale, words = 2.5, slice(100, 400)
    writing = Writing(prompts, against, 10, words, GREEDY, scale)
    drawn = generate(model, writing, torch.zeros(2, 10), CPU, lambda done, count: None)
    for song, prompt in enumerate(prompts):
        told, untold = list(prompt), list(against)
        for number in range(10):
            c, u = (whole(model, one)[-1, words] for one in (told, untold))
            token = int((u + scale * (c - u)).argmax()) + words.start
            assert token == int(drawn[song, number])
            told.append(token)
            untold.append(token)


@torch.inference_mode()
def test_a_song_is_the_same_in_a_batch_and_alone() -> None:
    model = smallest()
    prompts = tuple(tuple(ids(20 + 7 * n, n)) for n in range(3))
    sampling = Sampling(0.85, 50, 0.9, 1.1)
    uniforms = torch.rand(3, 24, generator=torch.Generator().manual_seed(5))

    def made(which: slice) -> Tensor:
        writing = Writing(prompts[which], tuple(ids(12, 9)), 24, slice(50, 450), sampling, 2.0)
        return generate(model, writing, uniforms[which], CPU, lambda done, count: None)

    together = made(slice(0, 3))
    assert torch.equal(together, torch.cat([made(slice(n, n + 1)) for n in range(3)]))
    assert torch.equal(together, made(slice(0, 3)))
    assert together.min() >= 50 and together.max() < 450 and together.unique().numel() > 10


def read_and_fed(
    model: CausalLM, prompts: tuple[tuple[int, ...], ...], before: ReadBefore | None = None
) -> list[Tensor]:
    """Hidden states behind the prompts, and behind one more token."""
    rows = CachedRows(model, prompts, 4, CPU)
    first = rows.read(prompts, before)
    return [first, rows.feed(torch.tensor([5, 6]))]


@torch.inference_mode()
def test_what_was_read_before_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = smallest()
    prompt, changed = tuple(ids(60, 1)), (*ids(60, 1)[:50], *ids(20, 7))
    rows = CachedRows(model, (prompt,), 8, CPU)
    rows.read((prompt,))
    before = ReadBefore(prompt, rows.cache)
    assert (before.shared(prompt), before.shared(changed)) == (59, 50)
    reads: list[int] = []
    prefill = model.prefill

    def counted(tokens: Tensor, *rest: object) -> Tensor:
        reads.append(len(tokens))
        return prefill(tokens, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "prefill", counted)
    for told in (prompt, changed):
        prompts = (told, tuple(ids(9, 3)))
        expected, exact = twice(partial(read_and_fed, model, prompts))
        reads.clear()
        seen = read_and_fed(model, prompts, before)
        assert reads == [len(told) - before.shared(told), 9]
        for found, other, true in zip(seen, expected, exact, strict=True):
            assert_agrees(found, other, true)
