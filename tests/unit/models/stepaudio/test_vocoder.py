"""The vocoder: the published layout, its transforms, and parity with it written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headroom.models.stepaudio.networks.shapes import (
    VOCODER,
    Shapes,
    VocoderSizes,
    vocoder_sizes,
)
from headroom.models.stepaudio.networks.vocoder import (
    Vocoder,
    fold,
    folded_norm,
    sounded,
    transformed,
)
from support.plain_math import Array, Weights, conv, leaky, linear
from support.real_sizes import numbers, randomised, shapes_of

TINY = VocoderSizes(6, 8, (2, 3, 3), (4, 7, 7), (3, 5), (7, 3, 5), (1, 3), 8, 3, 7)


def test_the_published_file_has_328_tensors_246_with_folded_norms() -> None:
    shapes = shapes_of(lambda: Vocoder(VOCODER))
    assert len(shapes) == 246
    assert vocoder_sizes(Shapes(shapes)) == VOCODER
    assert (VOCODER.hop, VOCODER.frame) == (4, 480)
    stored = 0
    gains = 0
    for name, shape in shapes.items():
        recipe = folded_norm(name)
        stored += 1 if recipe is None else len(recipe.keys)
        if recipe is not None:
            gains += shape[0]
            made = recipe.build(torch.ones(shape[0], 1, 1), torch.ones(shape))
            assert made.shape == shape
    assert stored == 328
    assert numbers(shapes) + gains == 20_821_295
    assert folded_norm("conv_pre.bias") is None
    assert shapes["source_downs.0.weight"] == (256, 18, 30)
    assert shapes["source_downs.2.weight"] == (64, 18, 1)
    assert shapes["ups.1.weight"] == (256, 128, 11)


def test_weight_norm_is_folded_over_all_but_the_first_dimension() -> None:
    gain, direction = torch.rand(4, 1, 1), torch.randn(4, 3, 5)
    conv1 = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(3, 4, 5))
    conv1.parametrizations.weight.original0.data = gain
    conv1.parametrizations.weight.original1.data = direction
    assert torch.allclose(fold(gain, direction), conv1.weight)
    recipe = folded_norm("resblocks.0.convs1.0.weight")
    assert recipe is not None
    assert recipe.keys[0] == "resblocks.0.convs1.0.parametrizations.weight.original0"


@pytest.mark.parametrize("fft", [8, 16])
def test_the_inverse_transform_gives_back_the_sound(fft: int) -> None:
    x = torch.randn(40 * fft, dtype=torch.float64, generator=torch.Generator().manual_seed(fft))
    parts = transformed(x, fft)
    assert torch.allclose(sounded(parts, fft), x, atol=1e-12)
    window = torch.hann_window(fft, dtype=torch.float64)
    expected = torch.stft(x, fft, fft // 4, window=window, return_complex=True)
    assert torch.allclose(parts[0], torch.cat((expected.real, expected.imag)), atol=1e-12)
    mixed = parts * torch.rand_like(parts)  # no spectrum of any sound
    whole = torch.complex(mixed[0, : fft // 2 + 1], mixed[0, fft // 2 + 1 :])
    other = torch.istft(whole, fft, fft // 4, window=window)
    # The imaginary parts of the lowest and the highest frequency have no meaning.
    assert torch.allclose(sounded(mixed, fft), other, atol=1e-12)


def block(w: Weights, x: Array, name: str, kernel: int) -> Array:
    for i, d in enumerate(TINY.dilations):
        y = x
        for part, far in (("1", d), ("2", 1)):
            alpha = w[f"{name}.activations{part}.{i}.alpha"][:, None]
            y = y + np.sin(alpha * y) ** 2 / (alpha + 1e-9)
            reach = (kernel - 1) * far // 2
            at = f"{name}.convs{part}.{i}"
            y = conv(y, w[f"{at}.weight"], w[f"{at}.bias"], dilation=far, left=reach, right=reach)
        x = x + y
    return x


def raised(x: Array, weight: Array, bias: Array, step: int) -> Array:
    """A transposed convolution: every input adds the kernel, `step` apart."""
    taps = weight.shape[2]
    out = np.zeros((weight.shape[1], (x.shape[1] - 1) * step + taps))
    for t in range(x.shape[1]):
        out[:, t * step : t * step + taps] += np.einsum("c,cok->ok", x[:, t], weight)
    pad = (taps - step) // 2
    return out[:, pad : out.shape[1] - pad] + bias[:, None]


def source_by_hand(w: Weights, pitch: Array, noise: Array) -> Array:
    frame, frames = TINY.frame, len(pitch)
    phase = np.cumsum(np.outer(pitch, np.arange(1, 4)) / 24_000 % 1, 0) * 2 * math.pi * frame
    at = np.clip((np.arange(frames * frame) + 0.5) / frame - 0.5, 0, frames - 1)
    waves = np.stack([np.interp(at, np.arange(frames), phase[:, k]) for k in range(3)], 1)
    voiced = np.repeat(pitch > 10, frame)[:, None]
    mixed = 0.1 * np.sin(waves) * voiced + (voiced * 0.003 + (1 - voiced) * 0.1 / 3) * noise
    return np.tanh(linear(mixed, w, "m_source.l_linear"))[:, 0]


def shaped_by_hand(w: Weights, bands: Array, source: Array) -> Array:
    fft, hop = TINY.fft, TINY.hop
    padded = np.pad(source, fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(fft) / fft)
    frames = [padded[a : a + fft] * window for a in range(0, len(padded) - fft + 1, hop)]
    found = np.fft.rfft(np.array(frames)).T
    spectrum = np.concatenate((found.real, found.imag))
    x = conv(bands, w["conv_pre.weight"], w["conv_pre.bias"], left=3, right=3)
    for i, step in enumerate(TINY.up):
        x = raised(leaky(x, 0.1), w[f"ups.{i}.weight"], w[f"ups.{i}.bias"], step)
        if i == 2:
            x = np.concatenate((x[:, 1:2], x), 1)
        down = (9, 3, 1)[i]
        pad = down // 2 if down > 1 else 0
        si = conv(spectrum, w[f"source_downs.{i}.weight"], w[f"source_downs.{i}.bias"],
                  stride=down, left=pad, right=pad)  # fmt: skip
        x = x + block(w, si, f"source_resblocks.{i}", TINY.source_side[i])
        x = sum(block(w, x, f"resblocks.{2 * i + j}", k) for j, k in enumerate(TINY.side)) / 2
    x = conv(leaky(x, 0.01), w["conv_post.weight"], w["conv_post.bias"], left=3, right=3)
    half = fft // 2 + 1
    magnitude, phase = np.minimum(np.exp(x[:half]), 100), np.sin(x[half:])
    whole = np.fft.irfft((magnitude * np.exp(1j * phase)).T, fft) * window
    out, weight = np.zeros((len(whole) - 1) * hop + fft), np.zeros((len(whole) - 1) * hop + fft)
    for n, frame in enumerate(whole):
        out[n * hop : n * hop + fft] += frame
        weight[n * hop : n * hop + fft] += window**2
    return np.clip((out / np.where(weight > 0, weight, 1))[fft // 2 : -fft // 2], -0.99, 0.99)


def test_the_source_is_its_definition() -> None:
    model = randomised(Vocoder(TINY), 1)
    assert isinstance(model, Vocoder)
    pitch = torch.tensor([0.0, 220.0, 221.5, 9.9, 440.0, 4000.0])
    noise = torch.randn(6 * TINY.frame, 3, generator=torch.Generator().manual_seed(2))
    ours = model.m_source(pitch, noise).double().numpy()
    expected = source_by_hand(Weights(model), pitch.double().numpy(), noise.double().numpy())
    assert np.abs(ours - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("dtype", "scale", "near"), [(torch.float64, 0.3, 1e-10), (torch.float32, 0.2, 1e-5)]
)
def test_parity_with_the_vocoder_written_out(dtype: torch.dtype, scale: float, near: float) -> None:
    model = randomised(Vocoder(TINY).to(dtype), 3, scale)
    assert isinstance(model, Vocoder)
    drawn = torch.Generator().manual_seed(4)
    mel = torch.randn(5, 6, generator=drawn).to(dtype)
    source = (torch.randn(5 * TINY.frame, generator=drawn) * 0.1).to(dtype)
    ours = model.shaped(mel.t(), source).double().numpy()
    expected = shaped_by_hand(Weights(model), mel.t().double().numpy(), source.double().numpy())
    assert ours.shape == (5 * TINY.frame,)
    assert np.abs(ours - expected).max() < near
    assert np.abs(expected).max() > 0.01


def test_the_pitch_is_its_definition_and_the_whole_makes_480_samples_a_frame() -> None:
    model = randomised(Vocoder(TINY), 5)
    assert isinstance(model, Vocoder)
    mel = torch.randn(4, 6, generator=torch.Generator().manual_seed(6))
    w, x = Weights(model, "f0_predictor."), mel.t().double().numpy()
    for i in range(0, 10, 2):
        x = conv(x, w[f"condnet.{i}.weight"], w[f"condnet.{i}.bias"], left=1, right=1)
        x = np.where(x > 0, x, np.expm1(x))
    expected = np.abs(linear(x.T, w, "classifier"))[:, 0]
    ours = model.f0_predictor(mel.t())
    assert np.abs(ours.double().numpy() - expected).max() < 1e-5
    sound = model(mel, torch.zeros(4 * TINY.frame, 3))
    assert sound.shape == (4 * TINY.frame,)
    assert float(sound.abs().max()) <= np.float32(0.99)
    assert list(model.buffers()) == []
