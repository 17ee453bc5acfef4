"""What the comparisons rest on: a float64 evaluation that is one, and bounds that faults exceed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from support.near import (
    FAULT,
    TIMES,
    ULP,
    ULPS,
    Float64,
    assert_near,
    exactly,
    excess,
    half_excess,
    is_fault,
    twice,
)
from support.oracle import Tree
from support.ours import load_ours


class Rounded(TorchDispatchMode):
    """Operations that turn float64 into float32."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.doubles = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [t for t in (out if isinstance(out, tuple | list) else (out,)) if is_tensor(t)]
        if any(is_tensor(a) and a.dtype == torch.float64 for a in args):
            self.doubles += 1
            self.names |= {str(func) for t in made if t.dtype == torch.float32}
        return out


def is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("size", ["2b-like", "xl-like"])
def test_nothing_is_rounded_to_float32_on_the_way(size: str, trees: Callable[..., Tree]) -> None:
    tree = trees(size)
    ours, oracle = load_ours(tree), tree.oracle
    x, context, rows = random(1, 20, 8), random(1, 20, 16), random(1, 9, 48)
    codes = torch.arange(8).unsqueeze(0)
    calls = {
        "dit": lambda: oracle.dit(x, [0.4], context, rows),
        "ours": lambda: ours.velocity(x, [0.4], context, list(rows)),
        "text": lambda: oracle.text(torch.arange(12).unsqueeze(0)),
        "timbre": lambda: oracle.timbre(random(2, 30, 8)),
        "detokenizer": lambda: oracle.detokenize(oracle.decode_codes(codes)),
        "encoder": lambda: oracle.encode(random(1, 2, 4000))[0],
        "decoder": lambda: oracle.decode(random(1, 8, 3)),
    }
    for name, call in calls.items():
        seen = Rounded()
        with seen:
            exact = exactly(call)
        assert exact.dtype == torch.float64 and seen.doubles > 10, name
        assert seen.names == set(), name


def test_a_result_in_float32_memory_is_refused() -> None:
    kept, weight = torch.zeros(3), torch.ones(3)
    with Float64():
        for write in (
            lambda: kept.copy_(2 * weight),
            lambda: kept.__setitem__(0, 2 * weight[0]),
            lambda: torch.mul(weight, 2, out=kept),
        ):
            with pytest.raises(TypeError, match="float32"):
                write()
        room = torch.zeros(3)
        room += weight
        assert room.dtype == torch.float64


def test_numbers_and_angles_keep_their_float32_value() -> None:
    plain, exact = twice(lambda: (torch.arange(5) * torch.tensor(0.3)).cos() * torch.ones(5))
    assert exact.dtype == torch.float64 and torch.equal(plain.double(), exact)
    assert exactly(lambda: torch.ones(2) / 3).dtype == torch.float64


def test_agreement_is_counted_in_what_is_allowed() -> None:
    exact = random(50).double()
    unit = ULP * float(exact.abs().max())
    theirs = exact + 3 * unit
    for off, expected in ((0.0, 0.0), (TIMES * 3 + ULPS, 1.0), (10 * (TIMES * 3 + ULPS), 10.0)):
        assert excess(exact - off * unit, theirs, exact) == pytest.approx(expected)
    x, weight = random(7, 64), random(64, 5)
    assert_near(x @ weight, lambda: x @ weight)
    assert_near((weight.T @ x.T).T, lambda: x @ weight)
    wrong = weight.clone()
    wrong[3, 2] *= 1 + 1e-3 * FAULT  # one weight of all
    assert is_fault(x @ wrong, lambda: x @ weight)
    with pytest.raises(AssertionError):
        assert_near(x @ wrong, lambda: x @ weight)


def test_a_reference_that_computes_something_else_in_float64_is_refused() -> None:
    x = random(20)
    with pytest.raises(AssertionError, match="another computation"):
        excess(x, x, 1.01 * x.double())
    with pytest.raises(AssertionError, match="not computed in float64"):
        excess(x, x, x)


def test_half_precision_is_compared_in_norms() -> None:
    x, weight = random(40, 64), random(64, 30)
    exact = x.double() @ weight.double()
    rounded = x.bfloat16() @ weight.bfloat16()
    assert half_excess(rounded, rounded, exact) == pytest.approx(1 / 1.5)
    wrong = weight.clone()
    wrong[:, 4] *= 1.2
    assert half_excess(x.bfloat16() @ wrong.bfloat16(), rounded, exact) > 3
