"""Semantic codes: the published layout, and parity with the graph written out in numpy."""

from __future__ import annotations

import numpy as np
import torch

from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.shapes import (
    SEMANTIC,
    SemanticSizes,
    Shapes,
    semantic_sizes,
)
from support.plain_math import Array, Weights, attention, conv, gelu, linear, norm
from support.real_sizes import numbers, randomised, shapes_of

TINY = SemanticSizes(5, 12, 3, 20, 2, 9, 7)


def test_the_published_graph_has_96_tensors() -> None:
    shapes = shapes_of(lambda: SemanticTokenizer(SEMANTIC))
    assert len(shapes) == 96
    assert numbers(shapes) == 130_629_120
    assert shapes["codebook"] == (4096, 1280)
    assert "blocks.0.attn.key.bias" not in shapes
    assert semantic_sizes(Shapes(shapes)) == SEMANTIC


def graph(w: Weights, mel: Array) -> Array:
    x = gelu(conv(mel, w["conv1.weight"], w["conv1.bias"], stride=2, left=1, right=1))
    x = gelu(conv(x, w["conv2.weight"], w["conv2.bias"], stride=2, left=1, right=1)).T
    x = x + w["positional_embedding"][: len(x)]
    for i in range(TINY.layers):
        b = w.below(f"blocks.{i}.")
        y = norm(x, b, "attn_ln", 1e-5)
        q, k, v = (linear(y, b, f"attn.{name}") for name in ("query", "key", "value"))
        x = x + linear(attention(q, k, v, TINY.heads), b, "attn.out")
        x = x + linear(gelu(linear(norm(x, b, "mlp_ln", 1e-5), b, "mlp.0")), b, "mlp.2")
    return x


def test_parity_with_the_graph() -> None:
    model = randomised(SemanticTokenizer(TINY), 2)
    assert isinstance(model, SemanticTokenizer)
    model.codebook.mul_(torch.linspace(0.3, 4, 7)[:, None])  # long codes are far from most
    for frames in (1, 4, 9, 31):
        mel = torch.randn(5, frames, generator=torch.Generator().manual_seed(frames))
        expected = graph(Weights(model), mel.double().numpy())
        ours = model.hidden(mel).double().numpy()
        assert ours.shape == expected.shape == ((frames + 1) // 2 // 2 + (frames + 1) // 2 % 2, 12)
        assert np.abs(ours - expected).max() < 1e-5
        unit = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
        book = model.codebook.double().numpy()
        far = ((unit[:, None] - book) ** 2).sum(-1)
        assert model(mel).tolist() == far.argmin(-1).tolist()
