"""The voice of a recording: parity with CAM++ written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headroom.models.stepaudio.networks.shapes import SPEAKER, Shapes, SpeakerSizes, speaker_sizes
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from support.plain_math import Array, Weights, conv
from support.real_sizes import numbers, randomised, shapes_of

TINY = SpeakerSizes(2, 6, 4, 8, (2, 1, 2), 5)


def test_the_sizes_are_those_of_the_shapes() -> None:
    shapes = shapes_of(lambda: SpeakerNetwork(SPEAKER))
    assert speaker_sizes(Shapes(shapes)) == SPEAKER
    assert 6.5e6 < numbers(shapes) < 7.5e6
    assert shapes["dense.weight"] == (192, 1024, 1)
    assert shapes_of(lambda: SpeakerNetwork(TINY))["head.conv2.weight"] == (2, 2, 3, 3)


def conv2(x: Array, w: Weights, name: str, step: int = 1) -> Array:
    """x [C, bands, T]: a convolution over bands and time, row of the kernel by row."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    reach = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (0, 0)))
    bands = range(0, x.shape[1], step)
    out = []
    for band in bands:
        rows = [
            conv(padded[:, band + k], weight[:, :, k], left=reach, right=reach)
            for k in range(weight.shape[2])
        ]
        out.append(sum(rows) + bias[:, None])
    return np.stack(out, 1)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def affine(x: Array, w: Weights, name: str) -> Array:
    return x * w[f"{name}.weight"][:, None] + w[f"{name}.bias"][:, None]


def by_hand(w: Weights, bank: Array) -> Array:
    x = relu(conv2(bank.T[None], w, "head.conv1"))
    for part in ("head.layer1", "head.layer2"):
        for i, step in ((0, 2), (1, 1)):
            y = conv2(relu(conv2(x, w, f"{part}.{i}.conv1", step)), w, f"{part}.{i}.conv2")
            x = relu(y + (conv2(x, w, f"{part}.{i}.shortcut", step) if step == 2 else x))
    x = relu(conv2(x, w, "head.conv2", 2))
    x = x.reshape(-1, x.shape[-1])
    x = relu(conv(x, w["tdnn.weight"], w["tdnn.bias"], stride=2, left=2, right=2))
    for b, (count, far) in enumerate(zip(TINY.blocks, (1, 2, 2), strict=True)):
        for i in range(count):
            at = w.below(f"blocks.{b}.{i}.")
            y = conv(relu(affine(x, at, "norm")), at["linear.weight"], at["linear.bias"])
            y = relu(y)
            around = np.zeros_like(y)
            for a in range(0, y.shape[1], 100):
                around[:, a : a + 100] = y[:, a : a + 100].mean(1, keepdims=True)
            around += y.mean(1, keepdims=True)
            gate = relu(conv(around, at["context1.weight"], at["context1.bias"]))
            gate = conv(gate, at["context2.weight"], at["context2.bias"])
            local = conv(y, at["local.weight"], dilation=far, left=far, right=far)
            x = np.concatenate((x, local / (1 + np.exp(-gate))))
        y = relu(affine(x, w, f"transits.{b}.norm"))
        x = conv(y, w[f"transits.{b}.linear.weight"], w.get(f"transits.{b}.linear.bias"))
    x = relu(x)
    described = np.concatenate((x.mean(1), x.std(1, ddof=1)))[:, None]
    return affine(conv(described, w["dense.weight"]), w, "out")[:, 0]


@pytest.mark.parametrize("frames", [5, 230, 401])
def test_parity_with_the_network_written_out(frames: int) -> None:
    model = randomised(SpeakerNetwork(TINY), frames)
    bank = torch.randn(frames, 80, generator=torch.Generator().manual_seed(frames))
    ours = model(bank).double().numpy()
    expected = by_hand(Weights(model), bank.double().numpy())
    assert np.abs(ours - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
