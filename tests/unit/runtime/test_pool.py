from __future__ import annotations

import pytest
import torch
from torch import nn

from headroom.device.host import HostDevice
from headroom.memory.plan import Placement, Residency
from headroom.runtime.pool import Pool
from headroom.runtime.prepare import Cell


class Elsewhere(HostDevice):
    """A host that calls itself another device: tensors on `meta` stand for those on a card."""

    def __init__(self) -> None:
        super().__init__()
        self.torch = torch.device("meta")


class Thing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4.0))
        self.register_buffer("table", torch.ones(2))


def at(name: str, residency: Residency) -> Placement:
    return Placement(name, residency, "float32", 16)


def test_a_part_is_loaded_when_first_leased_and_kept():
    made = []
    pool = Pool(HostDevice(), {"a": lambda: made.append("a") or Thing(), "b": Thing})
    assert made == [] and pool.loaded == frozenset()
    first = pool.lease([at("a", Residency.HOST)])
    pool.give_back([at("a", Residency.HOST)])
    again = pool.lease([at("a", Residency.HOST)])
    assert made == ["a"] and first["a"] is again["a"]
    assert pool.loaded == {"a"}


def test_a_swapped_part_leaves_with_its_own_host_memory():
    pool = Pool(Elsewhere(), {"a": Thing})
    swapped = [at("a", Residency.SWAPPED)]
    part = pool.lease([at("a", Residency.HOST)]).of("a", Thing)
    pool.give_back([at("a", Residency.HOST)])
    address = part.weight.data_ptr()
    pool.lease(swapped)
    assert part.weight.device.type == part.table.device.type == "meta"
    assert pool.on_device == {"a"}
    pool.give_back(swapped)
    assert pool.on_device == frozenset()
    assert part.weight.data_ptr() == address
    assert part.weight.tolist() == [0, 1, 2, 3] and part.table.tolist() == [1, 1]


def test_a_tensor_in_two_places_is_one_on_the_device_too():
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    pool = Pool(Elsewhere(), {"a": lambda: tied})
    pool.lease([at("a", Residency.SWAPPED)])
    assert tied[0].weight.device.type == "meta"
    assert tied[0].weight is tied[1].weight
    pool.give_back([at("a", Residency.SWAPPED)])
    assert tied[0].weight is tied[1].weight and tied[0].weight.device.type == "cpu"


def test_a_resident_part_stays_until_another_plan_or_a_release():
    pool = Pool(Elsewhere(), {"a": Thing})
    resident = [at("a", Residency.RESIDENT)]
    part = pool.lease(resident).of("a", Thing)
    pool.give_back(resident)
    assert pool.on_device == {"a"}
    pool.lease([at("a", Residency.HOST)])
    pool.give_back([at("a", Residency.HOST)])
    assert pool.on_device == frozenset() and part.weight.device.type == "cpu"
    pool.lease(resident)
    pool.give_back(resident)
    pool.release()
    assert pool.on_device == pool.loaded == frozenset()
    assert part.weight.device.type == "cpu"


def test_a_loader_that_fails_leaves_nothing_on_the_device():
    def fails() -> object:
        raise OSError("torn")

    pool = Pool(Elsewhere(), {"a": Thing, "b": fails})
    with pytest.raises(OSError, match="torn"):
        pool.lease([at("a", Residency.SWAPPED), at("b", Residency.SWAPPED)])
    assert pool.on_device == frozenset()


def test_half_a_part_on_the_device_is_none(monkeypatch):
    pool = Pool(Elsewhere(), {"a": Thing})
    part = pool.lease([at("a", Residency.HOST)]).of("a", Thing)
    pool.give_back([at("a", Residency.HOST)])
    moves: list[object] = []
    empty = torch.empty

    def full(*sizes: object, **how: object) -> torch.Tensor:
        moves.append(sizes)
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(torch.OutOfMemoryError):
        pool.lease([at("a", Residency.RESIDENT)])
    monkeypatch.setattr(torch, "empty", empty)
    bind = Cell.bind

    def torn(cell: Cell, tensor: torch.Tensor) -> None:
        bind(cell, tensor)
        raise torch.OutOfMemoryError("full, halfway")

    monkeypatch.setattr(Cell, "bind", torn)
    with pytest.raises(torch.OutOfMemoryError, match="halfway"):
        pool.lease([at("a", Residency.RESIDENT)])
    assert moves
    assert pool.on_device == frozenset()
    assert part.weight.tolist() == [0, 1, 2, 3] and part.table.tolist() == [1, 1]


def test_parts_are_handed_out_as_what_they_are():
    parts = Pool(HostDevice(), {"a": Thing}).lease([at("a", Residency.HOST)])
    assert isinstance(parts.of("a", Thing), Thing)
    assert list(parts) == ["a"] and len(parts) == 1
    with pytest.raises(TypeError, match="'a' is a Thing, not a Linear"):
        parts.of("a", nn.Linear)
    with pytest.raises(KeyError):
        parts.of("b", Thing)
