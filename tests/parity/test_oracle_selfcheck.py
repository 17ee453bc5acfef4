"""The oracle itself: official names and counts, nothing left at a default, what it repairs."""

from __future__ import annotations

import json
from functools import partial
from math import prod
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.ace_step_transformer import _create_4d_mask
from safetensors.torch import load_file

from support.near import assert_near
from support.networks import build_networks, official_state
from support.oracle import Tree, build_oracle, build_tree
from support.tiny import LEVELS, PRESETS, REAL_2B, REAL_XL, DitSizes
from support.tokenizer import END, byte_tokenizer

# The table of the released files: name → shape. E is the encoders' width, H the DiT's.
SHAPES_XL = {
    "decoder.proj_in.1.weight": (2560, 192, 2),
    "decoder.proj_in.1.bias": (2560,),
    "decoder.time_embed.linear_1.weight": (2560, 256),
    "decoder.time_embed_r.linear_2.weight": (2560, 2560),
    "decoder.time_embed.time_proj.weight": (15360, 2560),
    "decoder.condition_embedder.weight": (2560, 2048),
    "decoder.layers.31.self_attn_norm.weight": (2560,),
    "decoder.layers.31.cross_attn_norm.weight": (2560,),
    "decoder.layers.31.mlp_norm.weight": (2560,),
    "decoder.layers.0.self_attn.q_proj.weight": (4096, 2560),
    "decoder.layers.0.cross_attn.k_proj.weight": (1024, 2560),
    "decoder.layers.0.cross_attn.o_proj.weight": (2560, 4096),
    "decoder.layers.0.self_attn.q_norm.weight": (128,),
    "decoder.layers.0.mlp.down_proj.weight": (2560, 9728),
    "decoder.layers.0.scale_shift_table": (1, 6, 2560),
    "decoder.norm_out.weight": (2560,),
    "decoder.scale_shift_table": (1, 2, 2560),
    "decoder.proj_out.1.weight": (2560, 64, 2),
    "decoder.proj_out.1.bias": (64,),
    "encoder.text_projector.weight": (2048, 1024),
    "encoder.lyric_encoder.embed_tokens.bias": (2048,),
    "encoder.lyric_encoder.layers.7.mlp.gate_proj.weight": (6144, 2048),
    "encoder.lyric_encoder.norm.weight": (2048,),
    "encoder.timbre_encoder.embed_tokens.weight": (2048, 64),
    "encoder.timbre_encoder.special_token": (1, 1, 2048),
    "encoder.timbre_encoder.layers.3.input_layernorm.weight": (2048,),
    "tokenizer.audio_acoustic_proj.weight": (2048, 64),
    "tokenizer.attention_pooler.special_token": (1, 1, 2048),
    "tokenizer.attention_pooler.layers.1.post_attention_layernorm.weight": (2048,),
    "tokenizer.quantizer.project_in.weight": (6, 2048),
    "tokenizer.quantizer.project_out.weight": (2048, 6),
    "detokenizer.special_tokens": (1, 5, 2048),
    "detokenizer.proj_out.weight": (64, 2048),
    "null_condition_emb": (1, 1, 2048),
}


@pytest.mark.parametrize(
    ("sizes", "keys", "parameters"),
    [(REAL_2B, 677, 2_393_872_518), (REAL_XL, 829, 4_987_310_726)],
    ids=["2b", "xl"],
)
def test_released_files_by_count(sizes: DitSizes, keys: int, parameters: int) -> None:
    with torch.device("meta"):
        state = official_state(build_networks(sizes))
    assert len(state) == sizes.key_count == keys
    assert sum(prod(value.shape) for value in state.values()) == parameters
    if sizes is REAL_XL:
        shapes = {name: tuple(state[name].shape) for name in SHAPES_XL}
        assert shapes == SHAPES_XL


@pytest.mark.parametrize("size", PRESETS)
def test_nothing_keeps_a_default(size: str) -> None:
    oracle = build_oracle(PRESETS[size])
    parts = {"dit folder": oracle.state()}
    parts |= {"vae": oracle.vae.state_dict(), "text": oracle.text_model.state_dict()}
    for part, state in parts.items():
        for name, value in state.items():
            # ten draws of a continuous law are never equal
            assert value.flatten()[:10].unique().numel() == min(10, value.numel()), (part, name)
            if "norm" in name and value.ndim == 1:
                assert value.sub(1).abs().max() <= 0.2, (part, name)
    assert oracle.silence.flatten()[:10].unique().numel() == 10


def test_every_level_of_the_grid_occurs() -> None:
    oracle = build_oracle(PRESETS["2b-like"])
    latents = torch.randn(4, 5000, 8, generator=torch.Generator().manual_seed(1))
    _, codes = oracle.tokenize(latents)
    for level in LEVELS:
        assert codes.remainder(level).unique().numel() == level
        codes = codes // level
    assert codes.max() == 0


@pytest.mark.parametrize("size", ["2b-like", "xl-like"])
def test_the_files_hold_what_the_oracle_computes_with(size: str, tmp_path: Path) -> None:
    single = build_tree(tmp_path / "single", size, dtype=torch.bfloat16, text_prefix="model.")
    sharded = build_tree(tmp_path / "sharded", size, dtype=torch.bfloat16, shards=3)
    state = load_file(single.dit / "model.safetensors")
    assert len(state) == single.sizes.dit.key_count
    for name, value in single.oracle.state().items():
        assert state[name].dtype == torch.bfloat16
        assert torch.equal(state[name].float(), value), name
    index = json.loads((sharded.dit / "model.safetensors.index.json").read_text())
    shards = {f: load_file(sharded.dit / f) for f in set(index["weight_map"].values())}
    assert len(shards) == 3 and not (sharded.dit / "model.safetensors").exists()
    assert index["weight_map"].keys() == state.keys()
    assert all(torch.equal(shards[f][name], state[name]) for name, f in index["weight_map"].items())
    text = load_file(single.text / "model.safetensors")
    assert {name.partition(".")[0] for name in text} == {"model"}
    assert {f"model.{n}" for n in load_file(sharded.text / "model.safetensors")} == text.keys()
    silence = torch.load(single.dit / "silence_latent.pt", weights_only=True)
    assert silence.dtype == torch.float32
    assert silence.shape == (1, 8, single.sizes.silence_frames)
    assert torch.equal(silence.transpose(1, 2), single.oracle.silence)


def test_the_config_says_xl_only_for_xl(tmp_path: Path) -> None:
    def config(tree: Tree) -> dict[str, object]:
        read: dict[str, object] = json.loads((tree.dit / "config.json").read_text())
        return read

    small = config(build_tree(tmp_path / "2b", "2b-like", turbo=False))
    large = config(build_tree(tmp_path / "xl", "xl-like"))
    assert [name for name in small if name.startswith("encoder_")] == []
    assert (small["is_turbo"], small["model_version"]) == (False, "base")
    assert (large["is_turbo"], large["encoder_hidden_size"]) == (True, 48)


def test_the_window_keeps_both_ends() -> None:
    window = 7
    mask = _create_4d_mask(
        30, torch.float32, torch.device("cpu"),
        sliding_window=window, is_sliding_window=True, is_causal=False,
    )[0, 0]  # fmt: skip
    distance = (torch.arange(30).unsqueeze(0) - torch.arange(30).unsqueeze(1)).abs()
    assert torch.equal(mask == 0, distance <= window)
    # and so does the first layer: a frame pair reaches `window` tokens far, not one more
    oracle = build_oracle(PRESETS["2b-like"])
    x, context, condition = torch.randn(1, 80, 8), torch.randn(1, 80, 16), torch.randn(1, 5, 48)
    before = oracle.trace(x, [0.5], context, condition).layers[0]
    x[0, 40] += 1
    moved = (oracle.trace(x, [0.5], context, condition).layers[0] - before)[0].abs().amax(-1)
    assert moved.nonzero().flatten().tolist() == list(range(20 - window, 20 + window + 1))


def test_a_trace_is_the_forward_it_looks_into() -> None:
    oracle = build_oracle(PRESETS["xl-like"])
    x, context, condition = torch.randn(2, 9, 8), torch.randn(2, 9, 16), torch.randn(2, 6, 48)
    trace = oracle.trace(x, [0.9, 0.2], context, condition)
    assert torch.equal(trace.velocity, oracle.dit(x, [0.9, 0.2], context, condition))
    assert trace.tokens.shape == trace.sa_in.shape == trace.after_ca.shape == (2, 5, 64)
    assert (trace.e.shape, trace.m.shape) == ((2, 64), (2, 6, 64))
    assert trace.condition.shape == (2, 6, 64) and len(trace.layers) == 4
    layer = oracle.networks.dit.layers[0]

    def after_ca() -> torch.Tensor:
        gate = (layer.scale_shift_table + trace.m).chunk(6, dim=1)[2]
        stream = trace.tokens + gate * trace.sa_out
        crossed: torch.Tensor = layer.cross_attn(layer.cross_attn_norm(stream), trace.condition)
        return stream + crossed

    assert_near(trace.after_ca, after_ca)
    assert not layer._forward_hooks and not layer.mlp_norm._forward_pre_hooks


def test_xl_pools_a_learned_token_and_2b_a_frame() -> None:
    latents = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(3))
    for size, learned in (("2b-like", False), ("xl-like", True)):
        oracle = build_oracle(PRESETS[size])
        encoder = oracle.networks.condition.timbre_encoder
        plain = encoder(latents, torch.arange(2))[0][:, 0]
        assert bool((oracle.timbre(latents) - plain).abs().max() > 0.1) is learned
        assert not encoder.embed_tokens._forward_hooks
        encoder.special_token.add_(1)
        moved = oracle.timbre(latents)
        assert torch.equal(moved, plain) is (not learned)


def test_condition_rows_stand_in_order() -> None:
    oracle = build_oracle(PRESETS["xl-like"])
    text = [torch.randn(5, 24), torch.randn(8, 24)]
    lyrics = [torch.randn(3, 24), torch.randn(11, 24)]
    timbre = torch.randn(3, 30, 8)
    rows = oracle.condition(text, lyrics, timbre, order=[1, 0, 1])
    assert [len(row) for row in rows] == [3 + 1 + 5, 11 + 2 + 8]

    def parts(item: int, references: list[int]) -> torch.Tensor:
        projected = text[item] @ oracle.networks.condition.text_projector.weight.T
        pooled = oracle.timbre(timbre)[references]
        return torch.cat((oracle.lyric_rows(lyrics[item]), pooled, projected))

    for item, references in ((0, [1]), (1, [0, 2])):
        assert_near(rows[item], partial(parts, item, references), item)


def test_the_text_encoder_is_causal_at_the_released_base() -> None:
    oracle = build_oracle(PRESETS["2b-like"])
    inv_freq = oracle.text_model.rotary_emb.inv_freq
    assert inv_freq[1].item() == pytest.approx(1e6 ** (-2 / 16))
    ids = torch.randint(0, 256, (1, 12))
    before = oracle.text(ids)
    ids[0, 8] += 1
    moved = (oracle.text(ids) - before)[0].abs().amax(-1)
    assert moved[:8].max() == 0 and moved[8:].min() > 0


def test_the_tokenizer_appends_its_ending_and_truncation_keeps_it() -> None:
    tokenizer = byte_tokenizer()
    end = tokenizer.token_to_id(END)
    assert tokenizer.encode("ab").ids[2:] == [end]
    assert tokenizer.encode(f"ab{END}").ids[2:] == [end, end]
    assert tokenizer.decode(tokenizer.encode("né 歌\n").ids) == "né 歌\n"
    tokenizer.enable_truncation(6)
    cut = tokenizer.encode("a long line of words")
    assert len(cut.ids) == 6 and cut.ids[-1] == end and end not in cut.ids[:-1]
