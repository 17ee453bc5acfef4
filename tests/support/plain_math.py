"""Layers of networks written out in numpy and double precision: second statements for parity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import special
from torch import nn

Array = npt.NDArray[np.float64]


class Weights:
    """The tensors of a network, by name below a prefix."""

    def __init__(self, module: nn.Module | Mapping[str, Array], prefix: str = "") -> None:
        if isinstance(module, nn.Module):
            state = module.state_dict()
            self._all: Mapping[str, Array] = {n: t.double().numpy() for n, t in state.items()}
        else:
            self._all = module
        self._prefix = prefix

    def __getitem__(self, name: str) -> Array:
        return self._all[self._prefix + name]

    def below(self, prefix: str) -> Weights:
        return Weights(self._all, self._prefix + prefix)

    def get(self, name: str) -> Array | float:
        return self._all.get(self._prefix + name, 0.0)


def linear(x: Array, w: Weights, name: str) -> Array:
    return np.asarray(x @ w[f"{name}.weight"].T + w.get(f"{name}.bias"))


def norm(x: Array, w: Weights | None, name: str, eps: float) -> Array:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return y if w is None else y * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def attention(q: Array, k: Array, v: Array, heads: int) -> Array:
    """[Tq, H·D], [Tk, H·D] → [Tq, H·D]."""
    parts = []
    for a, b, c in zip(*(np.split(y, heads, -1) for y in (q, k, v)), strict=True):
        parts.append(softmax(a @ b.T / np.sqrt(a.shape[-1])) @ c)
    return np.concatenate(parts, -1)


def conv(
    x: Array, weight: Array, bias: Array | float = 0.0, *, stride: int = 1, dilation: int = 1,
    left: int = 0, right: int = 0, groups: int = 1,
) -> Array:  # fmt: skip
    """x [C, T] → [out, T'], tap by tap."""
    x = np.pad(x, ((0, 0), (left, right)))
    out, each, taps = weight.shape
    count = (x.shape[1] - (taps - 1) * dilation - 1) // stride + 1
    y = np.zeros((out, count))
    inputs = x.reshape(groups, each, -1)
    w = weight.reshape(groups, out // groups, each, taps)
    for tap in range(taps):
        part = inputs[:, :, tap * dilation :: stride][:, :, :count]
        y += np.einsum("goc,gct->got", w[..., tap], part).reshape(out, -1)
    return y + (np.asarray(bias)[:, None] if np.ndim(bias) else bias)


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + special.erf(x / np.sqrt(2))))


def silu(x: Array) -> Array:
    return np.asarray(x * special.expit(x))


def leaky(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)
