"""The flow: the published layout, and parity with its parts written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headroom.models.stepaudio.networks.flow import (
    GUIDANCE,
    STEPS,
    Flow,
    fitted,
    flow_noise,
    flow_times,
)
from headroom.models.stepaudio.networks.shapes import FLOW, FlowSizes, Shapes, flow_sizes
from support.plain_math import Array, Weights, attention, conv, leaky, linear, norm, silu, softmax
from support.real_sizes import numbers, randomised, shapes_of

TINY = FlowSizes(30, 12, 7, 5, 3, 16, 2, 1, 3, 8, 2, 3, 10, 2, 6)


def tiny(seed: int) -> Flow:
    model = randomised(Flow(TINY), seed)
    assert isinstance(model, Flow)
    return model


def test_the_published_file_has_605_tensors() -> None:
    shapes = shapes_of(lambda: Flow(FLOW))
    assert len(shapes) == 605
    assert numbers(shapes) == 153_754_096
    assert flow_sizes(Shapes(shapes)) == FLOW
    for name, shape in {
        "input_embedding.embedding.weight": (5121, 256),
        "spk_embed_affine_layer.weight": (80, 192),
        "encoder.embed.out.1.weight": (512,),
        "encoder.pre_lookahead_layer.conv1.weight": (512, 512, 4),
        "encoder.up_layer.conv.weight": (512, 512, 5),
        "encoder.up_encoders.3.self_attn.pos_bias_v": (8, 64),
        "encoder.encoders.5.self_attn.linear_pos.weight": (512, 512),
        "decoder.estimator.t_embedder.mlp.0.weight": (512, 256),
        "decoder.estimator.blocks.15.adaLN_modulation.1.weight": (4608, 512),
        "decoder.estimator.blocks.0.conv.block.6.weight": (512, 512, 3),
        "decoder.estimator.blocks.0.attn.q_norm.weight": (64,),
        "decoder.estimator.final_layer.linear.weight": (80, 512),
    }.items():
        assert shapes[name] == shape, name


def encoder_layer(w: Weights, x: Array) -> Array:
    y, frames, d = norm(x, w, "norm_mha", 1e-12), len(x), TINY.width // TINY.heads
    a = w.below("self_attn.")
    q, k, v = (linear(y, a, f"linear_{n}") for n in "qkv")
    out = np.zeros_like(x)
    for h in range(TINY.heads):
        part = slice(h * d, h * d + d)
        scores = np.zeros((frames, frames))
        for i in range(frames):
            for j in range(frames):
                far = (i - j) * np.exp(-np.arange(0, TINY.width, 2) * math.log(1e4) / TINY.width)
                table = np.stack((np.sin(far), np.cos(far)), -1).ravel()
                p = (table @ a["linear_pos.weight"].T)[part]
                scores[i, j] = (q[i, part] + a["pos_bias_u"][h]) @ k[j, part]
                scores[i, j] += (q[i, part] + a["pos_bias_v"][h]) @ p
        out[:, part] = softmax(scores / math.sqrt(d)) @ v[:, part]
    x = x + linear(out, a, "linear_out")
    y = silu(linear(norm(x, w, "norm_ff", 1e-12), w, "feed_forward.w_1"))
    return x + linear(y, w, "feed_forward.w_2")


def entry(w: Weights, x: Array, name: str) -> Array:
    inner = norm(linear(x, w, f"{name}.out.0"), w, f"{name}.out.1", 1e-5)
    return inner * math.sqrt(TINY.width)


def encoder(w: Weights, x: Array) -> Array:
    x = entry(w, x, "embed")
    y = conv(x.T, w["pre_lookahead_layer.conv1.weight"], w["pre_lookahead_layer.conv1.bias"],
             right=3)  # fmt: skip
    y = conv(leaky(y, 0.01), w["pre_lookahead_layer.conv2.weight"],
             w["pre_lookahead_layer.conv2.bias"], left=2)  # fmt: skip
    x = x + y.T
    for i in range(TINY.layers):
        x = encoder_layer(w.below(f"encoders.{i}."), x)
    x = conv(np.repeat(x, 2, 0).T, w["up_layer.conv.weight"], w["up_layer.conv.bias"], left=4).T
    x = entry(w, x, "up_embed")
    for i in range(TINY.up_layers):
        x = encoder_layer(w.below(f"up_encoders.{i}."), x)
    return norm(x, w, "after_norm", 1e-5)


def modulated(x: Array, shift: Array, scale: Array) -> Array:
    return norm(x, None, "", 1e-6) * (1 + scale) + shift


def dit(w: Weights, x: Array, t: float) -> Array:
    half = TINY.frequencies // 2
    angles = 1000 * t * np.exp(-math.log(1e4) * np.arange(half) / half)
    time = linear(np.concatenate((np.cos(angles), np.sin(angles))), w, "t_embedder.mlp.0")
    time = silu(linear(silu(time), w, "t_embedder.mlp.2"))
    x = linear(x, w, "in_proj")
    for i in range(TINY.blocks):
        b = w.below(f"blocks.{i}.")
        m = np.split(linear(time, b, "adaLN_modulation.1"), 9)
        y = modulated(x, m[0], m[1])
        q, k, v = (linear(y, b, f"attn.to_{n}") for n in "qkv")
        q, k = (
            np.concatenate(
                [norm(h, b, f"attn.{n}_norm", 1e-5) for h in np.split(z, TINY.dit_heads, -1)], -1
            )
            for n, z in (("q", q), ("k", k))
        )
        x = x + m[2] * linear(attention(q, k, v, TINY.dit_heads), b, "attn.proj")
        y = conv(modulated(x, m[6], m[7]).T, b["conv.block.1.weight"], b["conv.block.1.bias"],
                 left=2).T  # fmt: skip
        y = norm(y, b, "conv.block.3", 1e-5)
        y = y * np.tanh(np.log1p(np.exp(y)))
        y = conv(y.T, b["conv.block.6.weight"], b["conv.block.6.bias"], left=2).T
        x = x + m[8] * y
        y = linear(modulated(x, m[3], m[4]), b, "mlp.fc1")
        y = 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        x = x + m[5] * linear(y, b, "mlp.fc2")
    shift, scale = np.split(linear(time, w, "final_layer.adaLN_modulation.1"), 2)
    return linear(modulated(x, shift, scale), w, "final_layer.linear")


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_encoder_is_its_definition(frames: int) -> None:
    model = tiny(frames)
    x = torch.randn(frames, 12, generator=torch.Generator().manual_seed(3))
    ours = model.encoder(x).double().numpy()
    assert np.abs(ours - encoder(Weights(model, "encoder."), x.double().numpy())).max() < 1e-5


@pytest.mark.parametrize("t", [0.0, 0.3])
def test_the_network_that_is_integrated_is_its_definition(t: float) -> None:
    model = tiny(5)
    x = torch.randn(2, 6, 20, generator=torch.Generator().manual_seed(4))
    ours = model.decoder["estimator"](x, torch.tensor([t])).double().numpy()
    for row, one in zip(ours, x.double().numpy(), strict=True):
        assert np.abs(row - dit(Weights(model, "decoder.estimator."), one, t)).max() < 1e-5


def test_the_flow_is_ten_guided_steps_from_the_noise() -> None:
    model, w = tiny(6), Weights(tiny(6))
    drawn = torch.Generator().manual_seed(7)
    pairs = torch.randint(30, (5, 2), generator=drawn)
    mel, voice = torch.randn(4, 5, generator=drawn), torch.randn(7, generator=drawn)
    noise = flow_noise(10, 5)
    steps: list[tuple[int, int]] = []
    ours = model(pairs, mel, voice, noise, lambda done, total: steps.append((done, total)))
    table = w["input_embedding.embedding.weight"]
    codes = np.concatenate([table[pairs[:, 0].numpy()], table[pairs[:, 1].numpy()]], -1)
    mu = linear(encoder(w.below("encoder."), codes), w, "encoder_proj")
    unit = voice.double().numpy() / np.linalg.norm(voice.double().numpy())
    speaker = np.tile(linear(unit, w, "spk_embed_affine_layer"), (10, 1))
    condition = np.zeros((10, 5))
    condition[:4] = mel.numpy()
    x = noise.double().numpy()
    estimator = w.below("decoder.estimator.")
    for k in range(10):
        t, after = (1 - math.cos(n / 10 * math.pi / 2) for n in (k, k + 1))
        guided = dit(estimator, np.concatenate((x, mu, speaker, condition), -1), t)
        free = dit(estimator, np.concatenate((x, np.zeros((10, 15))), -1), t)
        x = x + (after - t) * (1.7 * guided - 0.7 * free)
    assert ours.shape == (6, 5)
    assert np.abs(ours.double().numpy() - x[4:]).max() < 1e-4 * max(1, np.abs(x).max())
    assert steps == [(n, 10) for n in range(1, 11)]
    assert (STEPS, GUIDANCE) == (10, 0.7)


def test_trap_the_noise_is_a_fixed_table_of_which_a_longer_one_is_a_continuation() -> None:
    """The published program draws it anew in every process, and keeps 600 s of it on the card."""
    long, short = flow_noise(100, 80), flow_noise(37, 80)
    assert torch.equal(long[:37], short)
    assert long.std() == pytest.approx(1, abs=0.02)
    assert [round(v, 4) for v in long[0, :3].tolist()] == FIRST
    times = flow_times()
    assert (times[0], times[-1], len(times)) == (0, pytest.approx(1), 11)


FIRST = [0.0081, 0.1522, -0.4468]


def test_trap_no_buffer_holds_more_than_the_weights() -> None:
    """The published module allocates 2.2 GB of caches for streams beside 0.6 GB of weights."""
    assert list(tiny(0).buffers()) == []


@pytest.mark.parametrize(("frames", "pairs"), [(7, 3), (6, 3), (5, 4), (120, 61)])
def test_a_prompts_spectrogram_is_fitted_to_its_codes(frames: int, pairs: int) -> None:
    mel = torch.randn(frames, 5)
    expected = F.interpolate(mel.t()[None], size=2 * pairs, mode="nearest")[0].t()
    assert torch.equal(fitted(mel, pairs), expected)
