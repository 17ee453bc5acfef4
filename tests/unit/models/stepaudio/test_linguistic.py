"""Linguistic codes: all windows at once are the stream they are defined by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer, rows_of, stacked
from headroom.models.stepaudio.networks.shapes import (
    LINGUISTIC,
    LinguisticSizes,
    Shapes,
    linguistic_sizes,
)
from headroom.models.stepaudio.sound.spectra import frames_of
from support.plain_math import Array, Weights, attention, conv, linear, norm
from support.real_sizes import numbers, randomised, shapes_of

TINY = LinguisticSizes(560, 8, 2, 12, 3, 11, 9)


def test_the_published_encoder_has_652_tensors() -> None:
    shapes = shapes_of(lambda: LinguisticTokenizer(LINGUISTIC))
    encoder = {name: shape for name, shape in shapes.items() if name.startswith("encoder.")}
    assert len(encoder) == 652 and len(shapes) == 655
    assert numbers(encoder) == 157_975_648
    assert shapes["encoder.encoders.48.self_attn.fsmn_block.weight"] == (512, 1, 11)
    assert shapes["encoder.encoders0.0.self_attn.linear_q_k_v.weight"] == (1536, 560)
    assert {name.split(".")[0] for name in shapes} == {"encoder", "shift", "scale", "codebook"}
    assert linguistic_sizes(Shapes(shapes)) == LINGUISTIC


def layer(w: Weights, x: Array, past: list[Array], first: bool) -> tuple[Array, Array]:
    """One window through a layer; `past` are the remembered keys and values."""
    y = norm(x, w, "norm1", 1e-12)
    q, k, v = np.split(linear(y, w, "self_attn.linear_q_k_v"), 3, -1)
    kv = np.concatenate([*past, np.stack((k, v))], 1) if past else np.stack((k, v))
    seen = linear(attention(q, kv[0], kv[1], TINY.heads), w, "self_attn.linear_out")
    memory = conv(v.T, w["self_attn.fsmn_block.weight"], left=5, right=5, groups=TINY.width).T + v
    y = seen + memory + (0 if first else x)
    z = linear(np.maximum(linear(norm(y, w, "norm2", 1e-12), w, "feed_forward.w_1"), 0), w,
               "feed_forward.w_2")  # fmt: skip
    return y + z, np.stack((k, v))


def stream(model: LinguisticTokenizer, rows: Array) -> Array:
    """The definition: window after window, each layer with a cache of its own."""
    w = Weights(model)
    rows = (rows + w["shift"]) * w["scale"]
    place = np.arange(1, len(rows) + 1)[:, None] * np.exp(-np.arange(280) * math.log(10_000) / 279)
    x = rows * math.sqrt(TINY.width) + np.concatenate((np.sin(place), np.cos(place)), 1)
    names = ["encoder.encoders0.0."] + [f"encoder.encoders.{i}." for i in range(TINY.layers - 1)]
    caches: list[list[Array]] = [[] for _ in names]
    overlap, out = np.zeros((5, 560)), []
    for a in range(0, len(x), 4):
        new = x[a : a + 4]
        y = np.concatenate((overlap, new))
        overlap = y[-5:]
        for i, name in enumerate(names):
            cache = caches[i]
            y, kv = layer(w.below(name), y, cache, i == 0)
            joined = np.concatenate([*cache, kv[:, :-5]], 1)
            caches[i] = [joined[:, -16:]]
        out.append(norm(y, w, "encoder.after_norm", 1e-12)[-len(new) :])
    return np.concatenate(out)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 23, 30])
def test_all_windows_at_once_are_the_stream(count: int) -> None:
    model = randomised(LinguisticTokenizer(TINY), count)
    assert isinstance(model, LinguisticTokenizer)
    rows = torch.randn(count, 560, generator=torch.Generator().manual_seed(count))
    ours = model.encoder((rows + model.shift) * model.scale).double().numpy()
    expected = stream(model, rows.double().numpy())
    assert np.abs(ours - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def by_stream(samples: int, bank: np.ndarray) -> np.ndarray:
    """Rows as the published program stacks them, from pieces of 3840 samples."""
    rows, kept = [], None
    pieces = samples // 3840 + 1
    for piece in range(pieces):
        last = piece == pieces - 1
        begun, end = piece * 3840, min(samples, (piece + 1) * 3840)
        if last and end - begun < 480:
            break
        frames = bank[frames_of(begun) : frames_of(end)]
        if kept is None:
            kept = np.repeat(frames[:1], 3, 0)
        if len(frames) + len(kept) < 7:
            kept = np.concatenate((kept, frames))
            continue
        current = np.concatenate((kept, frames))
        count = math.ceil((len(current) - 3) / 6)
        begin = count
        for row in range(count):
            piece_rows = current[6 * row : 6 * row + 7]
            if len(piece_rows) < 7:
                if not last:
                    begin = row
                    break
                piece_rows = np.concatenate(
                    (piece_rows, np.repeat(current[-1:], 7 - len(piece_rows), 0))
                )
            rows.append(piece_rows.ravel())
        kept = current[min(len(current) - 1, 6 * begin) :]
    return np.array(rows) if rows else np.zeros((0, 560))


@pytest.mark.parametrize(
    "samples",
    [0, 399, 479, 480, 1000, 1039, 1040, 2000, 3839, 3840, 3841, 4319, 4320, 4800, 4900, 5000,
     7680, 8159, 8400, 9000, 11_519, 11_520, 16_000],
)  # fmt: skip
def test_rows_are_those_of_the_stream(samples: int) -> None:
    frames = frames_of(samples)
    bank = torch.randn(frames, 80, generator=torch.Generator().manual_seed(1))
    ours = stacked(bank, samples)
    assert ours.shape == (rows_of(samples), 560)
    assert np.array_equal(ours.numpy(), by_stream(samples, bank.numpy()))


def test_codes_are_the_nearest_means() -> None:
    model = randomised(LinguisticTokenizer(TINY), 3)
    assert isinstance(model, LinguisticTokenizer)
    bank = torch.randn(frames_of(9000), 80, generator=torch.Generator().manual_seed(4))
    hidden = stream(model, stacked(bank, 9000).double().numpy())
    model.codebook.copy_(torch.from_numpy(hidden)[torch.arange(8, -1, -1)])
    model.codebook[3] += 100.0
    codes = model(bank, 9000)
    far = ((hidden[:, None] - model.codebook.double().numpy()) ** 2).sum(-1)
    assert codes.tolist() == far.argmin(-1).tolist()
    assert codes.tolist()[:5] == [8, 7, 6, codes[3], 4] and codes[5] != 3
    assert model(bank[:0], 300).tolist() == []
