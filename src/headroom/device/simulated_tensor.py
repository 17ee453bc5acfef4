"""Tensors of the simulated card: a torch device `simulated:0`, backed by host or meta tensors.

A simulated tensor reports the device `simulated:0` and wraps the tensor that backs it: one in host
memory, so that a small model really computes, or one on `meta`, which has a shape but no values, so
that the real sizes run in seconds. Every operation is reported to `Card`, which does the
accounting. Torch's hook for devices written in Python registers the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from headroom.errors import InvalidRequest

TYPE = "simulated"
UNKNOWN = 0.25  # read in place of a value that was not computed: finite, and not silence
_HOOK = "_setup_privateuseone_for_python_backend"
_INDEXING = ("index", "index_put", "index_put_", "index_select")  # accept indices on the host
_aten: Any = torch.ops.aten
_IN_PLACE = frozenset({_aten.clamp_.default, _aten.round_.default})  # with scalars: shapes stay
_ARITHMETIC = frozenset({_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor})


class Card(Protocol):
    """The accounting of a simulated device, as tensors see it."""

    @property
    def fake(self) -> bool:
        """Whether tensors have shapes only."""

    def allocate(self, storage: torch.UntypedStorage) -> None:
        """A storage was allocated; raises torch.OutOfMemoryError if there is no room."""

    def moved(self, tensor: Tensor, to_device: bool) -> None:
        """A tensor was copied over the link."""

    def worked(self, function: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """A kernel ran."""


@cache
def torch_device() -> torch.device:
    """`simulated:0`, registered with torch once. Raises InvalidRequest if torch is too old."""
    setup = getattr(backend_registration, _HOOK, None)
    if setup is None:
        raise InvalidRequest(
            "device", TYPE, f"a torch that knows devices written in Python ({_HOOK})"
        )
    setup(TYPE)
    return torch.device(TYPE, 0)


class SimulatedTensor(Tensor):
    """A tensor on the simulated device; `held` is the tensor that backs it."""

    held: Tensor
    card: Card

    @staticmethod
    def __new__(cls, inner: Tensor, card: Card) -> SimulatedTensor:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch_device(),
            requires_grad=False,
        )
        wrapper.held, wrapper.card = inner, card
        card.allocate(inner.untyped_storage())
        result: SimulatedTensor = wrapper
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"simulated({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        card = next(x.card for x in _leaves((args, kwargs or {})) if isinstance(x, SimulatedTensor))
        return run(card, func, args, kwargs or {})


class _Lifting:
    """Makes torch create tensors from numbers on the host, then move them by a visible operation.

    Torch has one switch for the whole process; it stays on while any `Inside` is active.
    """

    inside: ClassVar[set[int]] = set()  # ids of the active modes

    @classmethod
    def enter(cls, mode: Inside) -> None:
        cls.inside.add(id(mode))
        cls._switch()

    @classmethod
    def leave(cls, mode: Inside) -> None:
        cls.inside.discard(id(mode))
        cls._switch()

    @classmethod
    def _switch(cls) -> None:
        while True:  # another thread may enter or leave meanwhile
            anybody = bool(cls.inside)
            torch._C._set_only_lift_cpu_tensors(anybody)
            if anybody == bool(cls.inside):
                return


class Inside(TorchDispatchMode):
    """While this mode is active, tensors can be created on the device and moved to it.

    Enter it where it is created: exiting restores the stack of modes to its depth at creation. It
    may be exited more than once, and before it was entered; modes that were entered inside it and
    never exited are exited too. `then` is called last.
    """

    def __init__(self, card: Card, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.card, self._then = card, then
        self._below = len(_get_current_dispatch_mode_stack())

    def __enter__(self) -> Inside:
        _Lifting.enter(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *why: Any) -> None:
        # Modes are counted: torch takes a mode off its stack while that mode is running, so a mode
        # that was entered meanwhile and never exited lies below it.
        while len(_get_current_dispatch_mode_stack()) > self._below:
            last = _get_current_dispatch_mode_stack()[-1]
            TorchDispatchMode.__exit__(last, None, None, None)
            if isinstance(last, Inside):
                _Lifting.leave(last)
        _Lifting.leave(self)
        self._then()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return run(self.card, func, args, kwargs or {})


def run(card: Card, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation, on the host or the device. Raises RuntimeError if its tensors are on
    different devices, two simulated cards included: between those the way is through the host."""
    leaves = [*_leaves(args), *_leaves(kwargs)]
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    there = {id(x.card): x.card for x in tensors if isinstance(x, SimulatedTensor)}
    on_card = bool(there)
    if len(there) > 1:
        raise RuntimeError(f"{func}: its tensors are apart, on {len(there)} simulated cards")
    card = next(iter(there.values()), card)  # an operation runs where its tensors are
    target = next((x.type for x in leaves if isinstance(x, torch.device)), None)
    if func is _aten._to_copy.default:
        return _copied(card, args[0], target, kwargs)
    if func is _aten.copy_.default:
        return _written(card, *args[:2])
    if (on_card or target == TYPE) and _is_compound(func):
        with Inside(card):
            return func.decompose(*args, **kwargs)
    if on_card or target == TYPE:
        return _on_device(card, func, args, kwargs, tensors, target)
    if card.fake and any(x.is_meta for x in tensors):
        # Weights on the host without values: results computed from them have no values either.
        if func in _IN_PLACE:
            return args[0]
        if target is not None:
            kwargs = {**kwargs, "device": torch.device("meta")}
        return func(*_mapped(_shape_only, args), **_mapped(_shape_only, kwargs))
    return func(*args, **kwargs)


@cache
def _is_compound(func: Any) -> bool:
    """Whether an operation is composed of others: torch decomposes it too late without autograd."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def _on_device(
    card: Card,
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tensors: Sequence[Tensor],
    target: str | None,
) -> Any:
    name = func.overloadpacket.__name__
    strangers = [x for x in tensors if x.dim() and not isinstance(x, SimulatedTensor)]
    if strangers and name not in _INDEXING:
        where = {str(x.device) for x in tensors if x.dim()}
        raise RuntimeError(f"{name}: its tensors are apart, on {sorted(where)}")
    wrappers = {id(x.held): x for x in tensors if isinstance(x, SimulatedTensor)}
    if target is not None:
        place = "meta" if card.fake and target == TYPE else "cpu"
        kwargs = {**kwargs, "device": torch.device(place)}
    if card.fake and func is _aten._local_scalar_dense.default:
        # Values read on the host are replaced by a constant.
        return UNKNOWN if args[0].dtype.is_floating_point else 0
    if card.fake:
        args, kwargs = _mapped(_stand_in_fake, args), _mapped(_stand_in_fake, kwargs)
    else:
        args, kwargs = _mapped(_stand_in, args), _mapped(_stand_in, kwargs)
    plain = _plainly(args) if card.fake and func in _ARITHMETIC else None
    result = func(*args, **kwargs) if plain is None else plain
    if target not in (None, TYPE):
        return result

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return wrappers[id(x)] if id(x) in wrappers else SimulatedTensor(x, card)

    whole = _mapped(wrapped, result)
    card.worked(func, tensors, list(_tensors(whole)))
    return whole


def _plainly(args: Sequence[Any]) -> Tensor | None:
    """The result of arithmetic on tensors without values in the simple case: one type, strides in
    order, one operand with the shape of the result. None in any other case.

    Torch's own meta computation runs in Python and takes half a millisecond per operation.
    """
    tensors = [x for x in args if not isinstance(x, (int, float))]
    largest: Tensor = max(tensors, key=Tensor.numel)
    if not largest.is_floating_point() or not _is_in_order(largest) or 0 in largest.stride():
        return None
    for x in tensors:
        if not x.is_meta or not x.dim() or x.dtype != largest.dtype or not _is_in_order(x):
            return None
        if x.shape != largest.shape and torch.broadcast_shapes(x.shape, largest.shape) != (
            largest.shape
        ):
            return None
    return torch.empty(largest.shape, dtype=largest.dtype, device="meta")


def _is_in_order(x: Tensor) -> bool:
    """Whether the strides never increase from one dimension to the next."""
    steps = [step for size, step in zip(x.shape, x.stride(), strict=True) if size > 1 and step]
    return all(a >= b for a, b in pairwise(steps))


def _copied(card: Card, source: Tensor, target: str | None, kwargs: dict[str, Any]) -> Tensor:
    """`aten::_to_copy`: a change of type, and of device if one is given."""
    on_card = isinstance(source, SimulatedTensor)
    inner = source.held if isinstance(source, SimulatedTensor) else source
    to_device = on_card if target is None else target == TYPE
    rest = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    if not to_device and on_card and inner.is_meta:
        dtype = rest.get("dtype") or inner.dtype
        card.moved(source, to_device=False)
        return torch.full(inner.shape, UNKNOWN if dtype.is_floating_point else 0, dtype=dtype)
    if card.fake and to_device and not inner.is_meta:
        inner = torch.empty_like(inner, device="meta")
    place = {} if target is None or inner.is_meta else {"device": torch.device("cpu")}
    copy: Tensor = _aten._to_copy.default(inner, **rest, **place)
    if on_card != to_device:
        card.moved(source, to_device=to_device)
    if not to_device:
        return copy
    result = SimulatedTensor(copy, card)
    if on_card:
        card.worked(_aten._to_copy.default, [source], [result])
    return result


def _written(card: Card, target: Tensor, source: Tensor) -> Tensor:
    """`aten::copy_`, also between the host and the device."""
    to = target.held if isinstance(target, SimulatedTensor) else target
    values = source.held if isinstance(source, SimulatedTensor) else source
    crosses = isinstance(target, SimulatedTensor) != isinstance(source, SimulatedTensor)
    if to.is_meta or values.is_meta:
        if to.shape != torch.broadcast_shapes(to.shape, values.shape):
            raise RuntimeError(f"copy_: {tuple(values.shape)} does not go into {tuple(to.shape)}")
    else:
        to.copy_(values)
    if crosses:
        card.moved(source, to_device=isinstance(target, SimulatedTensor))
    else:
        card.worked(_aten.copy_.default, [source], [target])
    return target


def _stand_in(x: Any) -> Any:
    return x.held if isinstance(x, SimulatedTensor) else x


def _stand_in_fake(x: Any) -> Any:
    return _shape_only(_stand_in(x))


def _shape_only(x: Any) -> Any:
    if isinstance(x, Tensor) and not x.is_meta and x.dim():
        return torch.empty_like(x, device="meta")
    return x


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (x for x in _leaves((tree,)) if isinstance(x, Tensor))


# Operations take and return tensors, and tuples, lists and dicts of them. Torch's own tree
# traversal supports more kinds of nodes, but took half of the time of a run over fake tensors.
_BRANCHING = (tuple, list, dict)


def _leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = []
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(branch, _BRANCHING):
            leaves += _leaves(branch)
        else:
            leaves.append(branch)
    return leaves


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _mapped(function, branch) for name, branch in tree.items()}
    if isinstance(tree, _BRANCHING):
        branches = [
            _mapped(function, branch) if isinstance(branch, _BRANCHING) else function(branch)
            for branch in tree
        ]
        return tuple(branches) if isinstance(tree, tuple) else branches
    return function(tree)
