from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headroom.device.host import HostDevice
from headroom.memory.plan import Placement, Residency
from headroom.nn.attention import MLP, Attention
from headroom.nn.rope import rope_table
from headroom.runtime.pool import Pool
from headroom.runtime.prepare import bring, cells, enter, leave, piece, slots, twins
from support.near import assert_agrees, twice

CPU, META = torch.device("cpu"), torch.device("meta")
SWAPPED = [Placement("block", Residency.SWAPPED, "float32", 1)]


class Elsewhere(HostDevice):
    """A host that calls itself another device: tensors on `meta` stand for those on a card."""

    def __init__(self) -> None:
        super().__init__()
        self.torch = META


class Block(nn.Module):
    """An attention, an MLP, a matrix that is also somewhere else, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(32, 4, 2, 8, 1e-6)
        self.mlp = MLP(32, 48)
        self.tied = nn.Linear(32, 48, bias=False)
        self.register_buffer("table", torch.randn(3))
        for parameter in self.parameters():
            nn.init.normal_(parameter)
        self.tied.weight = self.mlp.up_proj.weight
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        rope = rope_table([len(x)], 8, 1e4, x.dtype, x.device)
        return self.mlp(x + self.attention(x, rope, [len(x)])) + self.mlp.down_proj(self.tied(x))


class HostCopies(TorchDispatchMode):
    """Counts bytes of host memory that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                given = [a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)]
                if tensor.untyped_storage().data_ptr() not in given:
                    self.bytes += tensor.nbytes
        return out


def device_bytes(part: nn.Module) -> int:
    held: dict[int, int] = {}
    for tensor in (*part.parameters(), *part.buffers()):
        held[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
    return sum(held.values())


def addresses(part: nn.Module) -> dict[str, int]:
    return {name: t.data_ptr() for name, t in part.state_dict(keep_vars=True).items()}


def test_joined_projections_give_what_single_ones_give_and_take_no_more_room():
    torch.manual_seed(1)
    block, x = Block(), torch.randn(7, 32)
    (before, exact), size, where = twice(lambda: block(x)), device_bytes(block), addresses(block)
    places = slots(block)
    made = cells(places)
    same = twins(places, made)
    enter(piece(made), same, CPU)
    assert block.attention.qkv is not None and block.mlp.gate_up is not None
    assert device_bytes(block) == size
    assert_agrees(block(x), before, exact)
    leave(made, same)
    assert block.attention.qkv is None and block.mlp.gate_up is None
    assert addresses(block) == where
    assert torch.equal(block(x), before)


def test_the_joined_matrix_is_what_is_computed_with():
    block, x = Block(), torch.randn(5, 32)
    before = block(x)
    bring(block, CPU)
    block.attention.qkv.data.zero_()  # a member is a view of it, so either way it would show
    assert block.attention.k_proj.weight.abs().max() == 0
    assert not torch.allclose(block(x), before)


def test_an_upload_copies_nothing_on_the_host_and_leaving_copies_nothing_at_all():
    pool = Pool(Elsewhere(), {"block": Block})
    host = [Placement("block", Residency.HOST, "float32", 1)]
    part = pool.lease(host).of("block", Block)
    pool.give_back(host)
    where = addresses(part)
    with HostCopies() as copies:
        pool.lease(SWAPPED)
        assert {t.device for t in (*part.parameters(), *part.buffers())} == {META}
        assert part.attention.qkv.shape == (64, 32) and part.mlp.gate_up.shape == (96, 32)
        assert part.tied.weight is part.mlp.up_proj.weight
        pool.give_back(SWAPPED)
    assert copies.bytes == 0
    assert addresses(part) == where and part.tied.weight is part.mlp.up_proj.weight


def test_matrices_that_do_not_go_together_stay_apart():
    mlp = MLP(8, 8)
    mlp.up_proj.weight = nn.Parameter(mlp.up_proj.weight.detach().half(), requires_grad=False)
    bring(mlp, META)
    assert mlp.gate_up is None and mlp.up_proj.weight.dtype == torch.float16
    assert mlp.up_proj.weight.device == META


def test_an_upload_that_fails_inside_a_join_is_undone(monkeypatch: pytest.MonkeyPatch):
    pool = Pool(Elsewhere(), {"block": Block})
    host = [Placement("block", Residency.HOST, "float32", 1)]
    part = pool.lease(host).of("block", Block)
    pool.give_back(host)
    reference = copy.deepcopy(part.state_dict())
    calls, copy_ = [], Tensor.copy_

    def full(self: Tensor, *args: object, **named: object) -> Tensor:
        calls.append(self)
        if len(calls) == 4:  # the first three rows of the MLP's turn
            raise torch.OutOfMemoryError("full")
        return copy_(self, *args, **named)

    monkeypatch.setattr(Tensor, "copy_", full)
    with pytest.raises(torch.OutOfMemoryError):
        pool.lease(SWAPPED)
    assert part.attention.qkv is None and part.mlp.gate_up is None
    assert pool.on_device == frozenset()
    for name, tensor in part.state_dict().items():
        assert torch.equal(tensor, reference[name])
