"""Networks at released sizes without values, and what their state dictionaries hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from torch import nn

from headroom.weights.meta_modules import shapes_only


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network, by name; nothing is allocated."""
    with shapes_only():
        module = build()
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def numbers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers these tensors hold."""
    return sum(prod(shape) for shape in shapes.values())


def randomised(module: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    """The network with every tensor drawn at random, its buffers too; variances stay positive."""
    import torch

    drawn = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        value = torch.randn(tensor.shape, generator=drawn) * scale
        if name.endswith("running_var"):
            value = value.abs() + 0.5
        elif name.endswith(("norm.weight", "layernorm.weight", "alpha")):
            value = value + 1
        tensor.copy_(value)
    return module.requires_grad_(False).eval()
