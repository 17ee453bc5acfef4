"""Arithmetic of tensors without values, where it is plain and worked out here: as torch has it."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from headroom.device.simulated_tensor import _ARITHMETIC, _plainly

TYPES = (torch.float32, torch.bfloat16, torch.int64)


def drawn(rng: random.Random, shape: list[int], dtype: torch.dtype) -> Tensor:
    """A tensor on meta: a piece of a larger one, turned around, or with a dimension more."""
    whole = torch.empty([n * rng.choice((1, 1, 2)) for n in shape], dtype=dtype, device="meta")
    for dim, size in enumerate(shape):
        whole = whole.narrow(dim, 0, size)
    if rng.random() < 0.3 and whole.dim() > 1:
        whole = whole.transpose(0, -1)
    return whole[None] if rng.random() < 0.2 else whole


def laid_out(x: Tensor) -> tuple[object, ...]:
    steps = [step for size, step in zip(x.shape, x.stride(), strict=True) if size > 1]
    return x.shape, x.dtype, steps


def test_what_is_worked_out_here_is_what_torch_works_out() -> None:
    rng, plain = random.Random(0), 0
    functions = sorted(_ARITHMETIC, key=str)
    for _ in range(3000):
        shape = [rng.choice((1, 2, 3, 5)) for _ in range(rng.randint(0, 4))]
        other = [n if rng.random() < 0.7 else 1 for n in shape]
        other = other[1:] if rng.random() < 0.1 else other
        dtype = rng.choice(TYPES)
        a = drawn(rng, shape, dtype)
        b = drawn(rng, other, dtype if rng.random() < 0.8 else torch.float32)
        args = (a, rng.choice((2, 0.5))) if rng.random() < 0.2 else (a, b)
        function = rng.choice(functions)
        try:
            expected = function(*args)
        except RuntimeError:  # shapes that do not go together
            continue
        found = _plainly(args)
        if found is not None:
            plain += 1
            assert laid_out(found) == laid_out(expected), (a.stride(), b.stride())
    assert plain > 500
