"""Agreement of fp32 results, measured from float64 instead of by a fixed number.

How far two correct fp32 results lie apart depends on the processor: its vector width, its
libraries, the number of threads. How far each lies from the same computation in float64 does so
too, but for both alike. So a result is held to

    |ours − exact| ≤ TIMES · |reference − exact| + ULPS · ulp(largest exact value)

where `exact` is the reference evaluated in float64. A fault must exceed that by `FAULT` times.
In bf16 and fp16, where the largest of many errors says little, norms are compared instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

TIMES = 4.0
ULPS = 16.0
FAULT = 1000.0
HALF_TIMES = 1.5  # in norms, which are sums over all elements
ULP = torch.finfo(torch.float32).eps  # of a value of 1
# The furthest that a reference may itself be from float64, beside its largest value: more is no
# rounding, and would hide a fault of ours.
ROUNDING = 1e-4

T = TypeVar("T")


class Float64(TorchFunctionMode):
    """Computes in float64 whatever the code inside asks for in float32.

    Tensors that come from outside (weights, inputs) are converted where they are used, so modules
    are not changed and need no copy. What is made inside of plain numbers alone stays in float32
    until it meets one of those: times, positions and their angles are float32 by definition, and
    both sides round them alike. `table` marks such a tensor that a module brings along.

    Raises:
        TypeError: a result would be written into a float32 tensor, and so be rounded.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in ROOM:
            return _doubled(func(*args, **named))
        given = [*_tensors(args), *_tensors(named.values())]
        if name == "__get__" or not any(map(_exact, given)):
            made = func(*args, **named)
            for tensor in _tensors((made,)) if not any(map(_exact, given)) else ():
                table(tensor)
            return made
        if name == "__set__":
            return func(*args, **named)
        if _single(named.get("out")) or (_writes(name) and _single(args[0])):
            raise TypeError(f"{name} writes into a float32 tensor")
        if name == "float":
            func = Tensor.double
        return func(*map(_doubled, args), **{key: _doubled(value) for key, value in named.items()})


ROOM = frozenset({"zeros", "ones", "empty", "full"})  # room for results


def table(tensor: Tensor) -> Tensor:
    """The tensor, whose float32 values are exact by definition."""
    tensor._float32_by_definition = True  # type: ignore[attr-defined]
    return tensor


def _exact(value: object) -> bool:
    """Whether it takes part in the computation, rather than being made of plain numbers."""
    defined = getattr(value, "_float32_by_definition", False)
    return isinstance(value, Tensor) and (
        value.dtype == torch.float64 or (value.dtype == torch.float32 and not defined)
    )


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from _tensors(value)


def _writes(name: str) -> bool:
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or (name.startswith("__i") and name != "__invert__")


def _single(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _doubled(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    if value is torch.float32:
        return torch.float64
    if type(value) in (list, tuple):
        return type(value)(map(_doubled, value))
    return value


def bf16_time(t: float) -> float:
    """The time that a network in bf16 is given for `t`: it rounds 1000 · t."""
    return float(1000 * torch.tensor(t, dtype=torch.bfloat16)) / 1000


def exactly(call: Callable[[], T]) -> T:
    """What `call` returns when everything in it is computed in float64."""
    with Float64():
        return call()


def twice(call: Callable[[], T]) -> tuple[T, T]:
    """What `call` returns in fp32, and in float64."""
    return call(), exactly(call)


def distance(found: Tensor, exact: Tensor) -> float:
    """The largest absolute difference, in float64."""
    assert found.shape == exact.shape, (found.shape, exact.shape)
    return float((found.double() - exact.double()).abs().max())


def excess(ours: Tensor, theirs: Tensor, exact: Tensor, times: float = TIMES) -> float:
    """Our distance from `exact` in units of what is allowed: at most 1 is agreement."""
    assert exact.dtype == torch.float64, "the exact value was not computed in float64"
    largest, own = float(exact.abs().max()), distance(theirs, exact)
    assert own <= ROUNDING * largest, "the float64 evaluation is another computation"
    return distance(ours, exact) / (times * own + ULPS * ULP * largest)


def half_excess(ours: Tensor, theirs: Tensor, exact: Tensor) -> float:
    """The same of results in bf16 or fp16, in norms."""
    assert ours.dtype == theirs.dtype and ours.dtype in (torch.bfloat16, torch.float16)
    assert exact.dtype == torch.float64 and ours.shape == theirs.shape == exact.shape
    own, off = (float((found.double() - exact).norm()) for found in (theirs, ours))
    assert 0 < own <= 0.1 * float(exact.norm())
    return off / (HALF_TIMES * own)


def assert_agrees(
    ours: Tensor, theirs: Tensor, exact: Tensor, what: object = "", times: float = TIMES
) -> None:
    """`ours` is as near to `exact` as `theirs`; `what` names it in the message."""
    over = excess(ours, theirs, exact, times)
    assert over <= 1, (what, over, distance(ours, exact), distance(theirs, exact))


def assert_near(
    ours: Tensor, reference: Callable[[], Tensor], what: object = "", times: float = TIMES
) -> None:
    """`ours` is as near to the float64 evaluation of `reference` as its fp32 one."""
    assert_agrees(ours, *twice(reference), what, times)


def is_fault(ours: Tensor, reference: Callable[[], Tensor]) -> bool:
    """Whether `ours` is further off than rounding could be, by `FAULT` times."""
    return excess(ours, *twice(reference)) > FAULT
