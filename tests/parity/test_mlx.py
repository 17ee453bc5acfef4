"""The loop through mlx-lm writes what torch's does: the same states, the same tokens.

Both compute in fp32, and sum in another order: a token may differ where a change of some millionths
in its uniform, or in the share of top-p, decides between the two. That is shown where it happens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from headroom.errors import Cancelled
from headroom.lm import mlx, sample
from headroom.lm.backend import mlx_is_here
from headroom.lm.cost import MLX_SPARE
from headroom.lm.decode import CachedRows, ReadBefore, Writing, generate, nothing_seen
from headroom.lm.mlx import write_mlx
from headroom.lm.sample import Sampling
from headroom.models.acestep.cost.lm_cost import component, mlx_room
from headroom.models.acestep.networks.config import BlockSizes, TextEncoderConfig
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.nn.causal import CausalLM
from headroom.runtime.quantize import quantize
from support.near import assert_agrees, exactly

pytestmark = pytest.mark.skipif(not mlx_is_here(), reason="mlx-lm (the extra `mlx`) is not here")

CPU = torch.device("cpu")
CONFIG = TextEncoderConfig(BlockSizes(64, 128, 4, 2, 16, 1e-6, 1e6), 2, 700)
WORDS = slice(60, 700)
PLAIN = Sampling(0.9, 0, 1.0, 1.0)
NEAR = (0.0, -5e-6, 5e-6)  # what may decide


def made(dtype: torch.dtype = torch.float32, config: TextEncoderConfig = CONFIG) -> CausalLM:
    torch.manual_seed(0)
    model = CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
    for tensor in model.requires_grad_(False).parameters():
        tensor.normal_(0, 0.2) if tensor.dim() > 1 else tensor.uniform_(0.5, 1.5)
    return model.to(dtype).eval()


@pytest.fixture(scope="module")
def model() -> CausalLM:
    return made()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def work(
    songs: int, guided: bool, count: int, sampling: Sampling, longest: int = 40
) -> tuple[Writing, Tensor]:
    prompts = tuple(tuple(range(5 + n, longest - 7 * n)) for n in range(songs))
    against = tuple(range(40, 52)) if guided else None
    uniforms = torch.rand(songs, count, generator=torch.Generator().manual_seed(3))
    return Writing(prompts, against, count, WORDS, sampling, 2.0), uniforms


def nobody(done: int, total: int) -> None:
    """Hears progress, and does nothing."""


def assert_same(model: CausalLM, writing: Writing, uniforms: Tensor, seen: Tensor) -> None:
    """As torch's loop writes, each song up to the first token that is next to undecided."""
    expected = generate(model, writing, uniforms, CPU, nobody)
    assert seen.shape == expected.shape and seen.dtype == expected.dtype
    same, sampling = {*range(len(seen))}, writing.sampling
    rows = CachedRows(model, writing.sequences, writing.count, CPU)
    hidden, drawn = rows.read(writing.sequences), nothing_seen(writing, CPU)
    for number in range(writing.count):
        token = seen[:, number]
        if differ := {song for song in same if token[song] != expected[song, number]}:
            logits = model.logits(hidden, WORDS)
            logits = logits if writing.against is None else sample.guided(logits, writing.scale)
            if drawn is not None:
                logits = sample.penalised(logits, drawn, sampling.penalty)
            near = [
                sample.draw_tokens(logits, uniforms[:, number] + a, replace(sampling, top_p=p))
                for a, p in product(NEAR, {min(1.0, sampling.top_p + b) for b in NEAR})
            ]
            for song in differ:  # a uniform goes through the vocabulary in order
                around = sorted(int(one[song]) + WORDS.start for one in near)
                assert around[0] <= int(token[song]) <= around[-1]
            same -= differ
        if drawn is not None:
            drawn.scatter_(1, token.unsqueeze(1) - WORDS.start, True)
        if not same or number + 1 == writing.count:
            break
        hidden = rows.feed(token if writing.against is None else token.repeat(2))


@pytest.mark.parametrize("guided", [True, False])
def test_states_and_logits_are_the_same(model: CausalLM, guided: bool) -> None:
    writing, uniforms = work(3, guided, 60, PLAIN)
    rows = CachedRows(model, writing.sequences, writing.count, CPU)
    true = exactly(lambda: CachedRows(model, writing.sequences, writing.count, CPU))
    hidden, exact = rows.read(writing.sequences), exactly(lambda: true.read(writing.sequences))
    loop = mlx._Loop(model, writing, uniforms, None)
    for number in range(59):
        assert_agrees(torch.from_numpy(np.array(loop._hidden)), hidden, exact, number)
        logits = torch.from_numpy(np.array(loop._hidden @ loop._head))
        head = model.embed_tokens.weight[WORDS].double().T
        assert_agrees(logits, model.logits(hidden, WORDS), exact @ head, number)
        loop.turn(number)
        token = torch.tensor(loop._drawn[-1].tolist())
        token = token.repeat(2) if guided else token
        hidden, exact = rows.feed(token), exactly(partial(true.feed, token))


SAMPLINGS = {
    "plain": PLAIN,
    "penalty": Sampling(0.9, 0, 1.0, 1.4),
    "top-k": Sampling(1.3, 20, 1.0, 1.0),
    "top-p": Sampling(1.3, 0, 0.9, 1.0),
    "likeliest": Sampling(0.0, 0, 1.0, 1.1),
    "all": Sampling(0.85, 100, 0.95, 1.2),
}


@pytest.mark.parametrize("songs", [1, 3])
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_it_writes_what_the_plain_loop_writes(
    model: CausalLM, songs: int, guided: bool, sampling: str
) -> None:
    writing, uniforms = work(songs, guided, 40, SAMPLINGS[sampling])
    told: list[tuple[int, int]] = []
    seen = write_mlx(model, writing, uniforms, CPU, lambda done, of: told.append((done, of)))
    assert_same(model, writing, uniforms, seen)
    assert told == [(0, 40), (16, 40), (32, 40), (40, 40)]
    assert torch.equal(seen, write_mlx(model, writing, uniforms, CPU, nobody))


@pytest.mark.parametrize("count", [1, 300])
def test_however_many(model: CausalLM, count: int) -> None:
    writing, uniforms = work(1, True, count, SAMPLINGS["all"])
    assert_same(model, writing, uniforms, write_mlx(model, writing, uniforms, CPU, nobody))


def test_a_long_prompt_is_read_in_runs(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx, "MLX_READS", 64)
    writing, uniforms = work(2, True, 20, PLAIN, longest=500)
    assert_same(model, writing, uniforms, write_mlx(model, writing, uniforms, CPU, nobody))


def test_each_prompt_is_read_once_and_what_was_read_before_never(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tuple(range(5, 45))
    uniforms = torch.rand(3, 20, generator=torch.Generator().manual_seed(3))
    writing = Writing((prompt,) * 3, (7, 8, 9), 20, WORDS, PLAIN, 2.0)
    rows = CachedRows(model, (prompt[:30],), 1, CPU)
    rows.read((prompt[:30],))
    lengths: list[tuple[int, int]] = []
    network = mlx.network

    def counted(model: CausalLM) -> object:
        whole = network(model)

        class Counted:
            embed_tokens, layers = whole.embed_tokens, whole.layers

            def __call__(self, ids: object, cache: object) -> object:
                lengths.append(ids.shape)  # type: ignore[attr-defined]
                return whole(ids, cache=cache)

        return Counted()

    monkeypatch.setattr(mlx, "network", counted)
    before = ReadBefore(prompt[:30], rows.cache)
    seen = write_mlx(model, writing, uniforms, CPU, nobody, before)
    assert lengths == [(1, 10), (1, 3)] + [(6, 1)] * 19
    assert_same(model, writing, uniforms, seen)
    rows.cache.memory.zero_()
    assert not torch.equal(write_mlx(model, writing, uniforms, CPU, nobody, before), seen)


def test_drawing_is_the_same_on_the_borders_too() -> None:
    import mlx.core as mx

    logits = torch.randn(6, 900, generator=torch.Generator().manual_seed(1)) * 2
    edge = 1 - 2**-24
    chances = torch.tensor([0.0, edge, 0.25, 0.5, 0.75, 0.999])
    for sampling in SAMPLINGS.values():
        seen = mlx.mlx_draw_tokens(mlx.array(logits), mlx.array(chances), sampling)
        assert seen.tolist() == sample.draw_tokens(logits, chances, sampling).tolist()
    drawn = torch.rand(6, 900, generator=torch.Generator().manual_seed(2)) < 0.3
    lower = np.array(mlx.mlx_penalised(mlx.array(logits), mlx.array(drawn), 1.7))
    assert np.array_equal(lower, sample.penalised(logits, drawn, 1.7).numpy())
    for scale in (1.0, 1.5, 2.5):
        led = np.array(mlx.mlx_guided(mlx.array(logits), scale))
        exact = exactly(partial(sample.guided, logits, scale))
        assert_agrees(torch.from_numpy(led), sample.guided(logits, scale), exact)
    alike = mx.zeros((1, 8))
    assert mlx.mlx_draw_tokens(alike, mx.array([edge]), PLAIN).tolist() == [7]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_no_token(sampling: str, value: float) -> None:
    import mlx.core as mx

    logits = torch.randn(3, 200, generator=torch.Generator().manual_seed(1))
    logits[1, 17] = value
    chances, asked = torch.full((3,), 0.3), SAMPLINGS[sampling]
    seen = mlx.mlx_draw_tokens(mx.array(logits), mx.array(chances), asked).tolist()
    assert seen == sample.draw_tokens(logits, chances, asked).tolist() and seen[1] == sample.NONE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_over_as_it_is(dtype: torch.dtype) -> None:
    import mlx.core as mx

    model = made(dtype)
    net = mlx.network(model)
    there = np.array(net.embed_tokens.weight.astype(mx.float32))
    assert str(net.embed_tokens.weight.dtype).endswith(str(dtype).removeprefix("torch."))
    assert np.array_equal(there, model.embed_tokens.weight.float().numpy())
    ids = torch.arange(30)
    cache = CachedRows(model, (tuple(range(30)),), 1, CPU).cache
    ours = model.prefill(ids, cache.past, 0, 0, model.rope(256, CPU)).float()
    theirs = torch.from_numpy(np.array(net(mx.arange(30)[None])[0].astype(mx.float32)))
    assert (ours - theirs).norm() < 0.03 * ours.norm()
    writing, uniforms = work(2, True, 10, PLAIN)
    codes = write_mlx(model, writing, uniforms, CPU, nobody)
    assert codes.shape == (2, 10) and codes.min() >= 60 and codes.max() < 700


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_converted_weights_are_left_to_torch(precision: str) -> None:
    model = made(torch.bfloat16)
    assert mlx.takes(model)
    quantize(model, precision)
    assert not mlx.takes(model)


def test_who_hears_of_progress_may_stop_it_and_nothing_stays(model: CausalLM) -> None:
    import mlx.core as mx

    def stops(done: int, total: int) -> None:
        if done == 32:
            raise Cancelled("stopped")

    writing, uniforms = work(2, True, 300, PLAIN)
    before = mx.get_active_memory()
    with pytest.raises(Cancelled, match="stopped") as kept:
        write_mlx(model, writing, uniforms, CPU, stops)
    assert kept.tb is not None  # and with it the frames
    assert (mx.get_active_memory() - before, mx.get_cache_memory()) == (0, 0)
    write_mlx(model, writing, uniforms, CPU, nobody)
    assert (mx.get_active_memory() - before, mx.get_cache_memory()) == (0, 0)


WIDE = TextEncoderConfig(BlockSizes(64, 128, 4, 2, 16, 1e-6, 1e6), 3, 66_000)


@pytest.mark.parametrize(
    ("config", "words", "songs", "guided", "prompt", "count"),
    [
        (CONFIG, WORDS, 1, True, 100, 300),
        (CONFIG, WORDS, 3, False, 1500, 20),
        (WIDE, slice(1000, 65_000), 2, True, 60, 12),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_takes_no_more_than_is_planned(
    config: TextEncoderConfig,
    words: slice,
    songs: int,
    guided: bool,
    prompt: int,
    count: int,
    dtype: torch.dtype,
) -> None:
    import mlx.core as mx

    ids = tuple(number % config.vocabulary for number in range(prompt))
    against = tuple(range(33)) if guided else None
    writing = Writing((ids,) * songs, against, count, words, SAMPLINGS["all"], 2.0)
    model, name = made(dtype, config), str(dtype).removeprefix("torch.")
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    write_mlx(model, writing, torch.rand(songs, count), CPU, nobody)
    seen = mx.get_peak_memory() - before
    rows = songs * (1 + guided)
    weights = component(config, name).bytes
    planned = mlx_room(config, songs, rows, prompt, prompt + count, name) - MLX_SPARE
    assert weights < seen <= planned
    if config is WIDE:  # else a codebook is planned for, and a hundredth of it is there
        assert math.isclose(seen, planned, rel_tol=0.6)
