"""Step1: the published layout, and parity with its definition written out in numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from headroom.errors import InvalidCheckpoint
from headroom.lm.constrained_decode import constrained_decode
from headroom.lm.decode import CachedRows
from headroom.lm.sample import Sampling
from headroom.models.stepaudio.language.grammar import WORDS, CodesGrammar
from headroom.models.stepaudio.networks import step1 as module
from headroom.models.stepaudio.networks.config import RELEASED, Step1Sizes, step1_sizes
from headroom.models.stepaudio.networks.step1 import Step1, slopes
from headroom.models.stepaudio.text.audio_ids import AUDIO_STOP
from headroom.models.stepaudio.text.vocabulary import EOT
from support.real_sizes import numbers, randomised, shapes_of

TINY = Step1Sizes(
    width=24, hidden=40, layers=2, heads=6, kv_heads=2, vocabulary=50, eps=1e-5, most_tokens=64
)
RAW: Mapping[str, object] = {
    "architectures": ["Step1ForCausalLM"], "model_type": "step1", "hidden_size": 3072,
    "intermediate_size": 8192, "num_hidden_layers": 32, "num_attention_heads": 48,
    "num_attention_groups": 4, "vocab_size": 74_752, "max_seq_len": 32_768, "rms_norm_eps": 1e-5,
    "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 0,
}  # fmt: skip
CPU = torch.device("cpu")


def tiny(seed: int = 0, sizes: Step1Sizes = TINY) -> Step1:
    model = randomised(Step1(sizes), seed)
    assert isinstance(model, Step1)
    return model


def definition(model: Step1, ids: list[int]) -> np.ndarray:
    """Logits [n, vocabulary] with the whole bias, in double precision."""
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    sizes = model.sizes
    steep = [2 ** (-8 * k / 4) for k in (1, 2, 3, 4)] + [2 ** (-4 * k / 4) for k in (1, 3)]

    def rms(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + sizes.eps) * weight

    x = w["embed_tokens.weight"][ids]
    for i in range(sizes.layers):
        at = f"layers.{i}."
        y = rms(x, w[at + "input_layernorm.weight"])
        q, k, v = (y @ w[at + f"self_attn.{n}_proj.weight"].T for n in "qkv")
        heads = []
        for h in range(sizes.heads):
            g, d = h // (sizes.heads // sizes.kv_heads), sizes.head_dim
            scores = q[:, h * d : h * d + d] @ k[:, g * d : g * d + d].T / np.sqrt(d)
            for a in range(len(ids)):
                for b in range(len(ids)):
                    scores[a, b] += -steep[h] * np.sqrt(a - b) if b <= a else -np.inf
            odds = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(odds / odds.sum(-1, keepdims=True) @ v[:, g * d : g * d + d])
        x = x + np.concatenate(heads, -1) @ w[at + "self_attn.o_proj.weight"].T
        y = rms(x, w[at + "post_attention_layernorm.weight"])
        gate, up = (y @ w[at + f"mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[at + "mlp.down_proj.weight"].T
    return np.asarray(rms(x, w["norm.weight"]) @ w["lm_head.weight"].T)


def test_the_published_layout_has_291_tensors_of_the_published_bytes() -> None:
    shapes = shapes_of(lambda: Step1(step1_sizes(RAW)))
    assert step1_sizes(RAW) == RELEASED
    assert len(shapes) == 291
    assert numbers(shapes) == 3_529_706_496
    assert shapes["embed_tokens.weight"] == shapes["lm_head.weight"] == (74_752, 3072)
    layer = {n.removeprefix("layers.31."): s for n, s in shapes.items() if "layers.31." in n}
    assert layer == {
        "input_layernorm.weight": (3072,), "post_attention_layernorm.weight": (3072,),
        "self_attn.q_proj.weight": (3072, 3072), "self_attn.k_proj.weight": (256, 3072),
        "self_attn.v_proj.weight": (256, 3072), "self_attn.o_proj.weight": (3072, 3072),
        "mlp.gate_proj.weight": (8192, 3072), "mlp.up_proj.weight": (8192, 3072),
        "mlp.down_proj.weight": (3072, 8192),
    }  # fmt: skip


def test_the_slopes_of_48_heads_are_the_published_ones() -> None:
    found = slopes(48)
    assert len(found) == 48
    picked = [found[i] for i in (0, 1, 31, 32, 33, 47)]
    assert picked == pytest.approx([0.8409, 0.7071, 0.003906, 0.9170, 0.7711, 0.0682], abs=5e-5)
    assert slopes(4) == (0.25, 0.0625, 0.015625, 0.00390625)


@pytest.mark.parametrize("piece", [3, 7, 256])
def test_a_prompt_read_in_pieces_is_the_definition(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ", piece)
    model = tiny()
    ids = torch.randint(50, (11,), generator=torch.Generator().manual_seed(1))
    rows = CachedRows(model, (ids.tolist(),), 4, CPU)
    hidden = model.prefill(ids, rows.cache.past, 0, 0, rows.rope)
    logits = model.logits(hidden, slice(0, 50)).numpy()
    assert np.abs(logits - definition(model, ids.tolist())).max() < 1e-5


def test_tokens_one_by_one_are_the_whole_forward() -> None:
    model = tiny()
    first, second = [3, 1, 4, 1, 5], [9, 2, 6]
    more = [[5, 3], [5, 8], [9, 7], [9, 3]]
    rows = CachedRows(model, (first, second), len(more), CPU)
    hidden = rows.read((first, second))
    for tokens in more:
        for row, prompt in enumerate((first, second)):
            ours = model.logits(hidden[row : row + 1], slice(0, 50))[0].numpy()
            assert np.abs(ours - definition(model, prompt)[-1]).max() < 1e-5
            prompt.append(tokens[row])
        hidden = rows.feed(torch.tensor(tokens))


def test_a_row_goes_on_where_it_was_read() -> None:
    model, ids = tiny(), [7, 7, 1, 30, 2, 2, 9, 12, 40]
    rows = CachedRows(model, ([],), 16, CPU)
    for part in (ids[:4], ids[4:8], ids[8:]):
        hidden = rows.extend(part)
    ours = model.logits(hidden, slice(0, 50))[0].numpy()
    assert np.abs(ours - definition(model, ids)[-1]).max() < 1e-5


def test_trap_the_head_is_never_tied() -> None:
    """Libraries tie the head to the embedding where config.json is silent, or says so."""
    for raw in (RAW, {**RAW, "tie_word_embeddings": True}):
        shapes = shapes_of(lambda raw=raw: Step1(step1_sizes(raw)))
        assert "lm_head.weight" in shapes
    model = tiny()
    assert model.lm_head.weight.data_ptr() != model.embed_tokens.weight.data_ptr()
    before = model.logits(torch.ones(1, 24), slice(3, 9))
    model.embed_tokens.weight.zero_()
    assert torch.equal(model.logits(torch.ones(1, 24), slice(3, 9)), before)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"num_attention_groups": 5}, "multiple of 5 groups"),
        ({"num_attention_heads": 47}, "multiple of 47 heads"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"rms_norm_eps": "x"}, "rms_norm_eps"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=why):
        step1_sizes({**RAW, **change})


def test_codes_are_written_in_whole_groups_until_the_end() -> None:
    sizes = Step1Sizes(8, 8, 1, 2, 1, AUDIO_STOP, 1e-5, 64)
    model = tiny(4, sizes)
    model.lm_head.weight[EOT] += 6 * model.norm.weight.sign() / 8
    prompt = (1, EOT + 1, 20, 21)
    grammar = CodesGrammar(prompt)
    drawn = torch.rand(200, generator=torch.Generator().manual_seed(2)).tolist()
    written = constrained_decode(
        model, prompt, grammar, WORDS, 41, Sampling(1.0, 0, 1.0, 1.0), iter(drawn), CPU,
        lambda done, most: None,
    )  # fmt: skip
    assert not written.failed
    assert written.tokens == (*grammar.written, *([EOT] if grammar.done else []))
    assert len(written.tokens) == 41 or grammar.done
    assert len(grammar.whole()) % 5 == 0 and grammar.whole()
