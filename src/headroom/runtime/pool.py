"""The parts of a model between runs: on the device, in host memory, or not there yet.

Weights never change. A part that leaves the device drops its copy there and takes up its host
tensors again; nothing is copied back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from headroom.device import Device
from headroom.memory.plan import Placement, Residency
from headroom.runtime.prepare import Slot, enter, leave, slots

T = TypeVar("T")
Loaders: TypeAlias = Mapping[str, Callable[[], object]]


class Parts(Mapping[str, object]):
    """The parts a stage leased, by component name."""

    def __init__(self, parts: Mapping[str, object]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> object:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, name: str, kind: type[T]) -> T:
        """A part as what it is. KeyError: it was not leased; TypeError: it is something else."""
        part = self._parts[name]
        if not isinstance(part, kind):
            raise TypeError(f"part {name!r} is a {type(part).__name__}, not a {kind.__name__}")
        return part


class Pool:
    """Loads each part when it is first leased, and keeps it in host memory until `release`.

    `floor` is what the device held before the first part, in bytes.
    """

    def __init__(self, device: Device, loaders: Loaders) -> None:
        self._device, self._loaders = device, loaders
        self._loaded: dict[str, object] = {}
        self._on_device: dict[str, tuple[Slot, ...]] = {}  # name -> its host tensors
        self.floor = device.memory_allocated()

    @property
    def loaded(self) -> frozenset[str]:
        """The parts that are in memory at all."""
        return frozenset(self._loaded)

    @property
    def on_device(self) -> frozenset[str]:
        """The parts whose weights are on the accelerator now."""
        return frozenset(self._on_device)

    def lease(self, placements: Iterable[Placement]) -> Parts:
        """The parts, each where its placement wants it. On failure none is left behind."""
        wanted = tuple(placements)
        try:
            return Parts({p.component: self._bring(p) for p in wanted})
        except BaseException:
            self.give_back(wanted)
            raise

    def give_back(self, placements: Iterable[Placement]) -> None:
        """Take off the device all of these that are not resident."""
        for placement in placements:
            if placement.residency is not Residency.RESIDENT:
                self._leave(placement.component)

    def release(self) -> None:
        """Forget every part: nothing stays on the device or in host memory."""
        for name in tuple(self._on_device):
            self._leave(name)
        self._loaded.clear()
        self._device.release()

    def _bring(self, placement: Placement) -> object:
        name = placement.component
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        part = self._loaded[name]
        if placement.residency is Residency.HOST:
            self._leave(name)
        elif name not in self._on_device and self._device.torch.type != "cpu":
            self._enter(name, part)
        return part

    def _enter(self, name: str, part: object) -> None:
        """Put a copy on the device in the place of every tensor of the part."""
        places = self._on_device[name] = slots(part)
        try:
            enter(part, places, self._device.torch)
        except BaseException:  # half a part is none
            self._leave(name)
            raise

    def _leave(self, name: str) -> None:
        """Put the host tensors back."""
        leave(self._on_device.pop(name, ()))
