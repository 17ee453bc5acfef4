"""The account that `benchmarks/offload.py` keeps, and the peer's hooks, on small modules."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from headroom.device.simulated import SimulatedRates

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
WIDE = 64
MATRIX, ROW = WIDE * WIDE * 4, WIDE * 4  # bytes in fp32
ROOMY = 1 << 30


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    """The folder of the benchmarks among those that are imported from."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def card(total: int = ROOMY) -> Any:
    import offload

    return offload.CountedDevice(total, fake=False)


class Net(nn.Module):
    """Three blocks of a matrix each, a matrix beside them; at the top a row and two buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(WIDE, WIDE, bias=False) for _ in range(3))
        self.head = nn.Linear(WIDE, WIDE, bias=False)
        self.row = nn.Parameter(torch.ones(WIDE))
        self.register_buffer("kept", torch.ones(WIDE))
        self.register_buffer("fixed", torch.ones(WIDE), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x).mul_(self.row).add_(self.kept).add_(self.fixed)


ALL = 4 * MATRIX + 3 * ROW


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    made = Net().requires_grad_(False)
    return made.eval()


@dataclass(frozen=True)
class Said:
    """A call on a card: bytes to it and back, live at most and afterwards, and the answer."""

    to_device: int
    to_host: int
    peak: int
    left: int
    answer: Tensor


def calls(device: Any, work: Callable[[Tensor], Tensor], times: int = 2) -> list[Said]:
    """The same input, given to `work` several times; an account of each."""
    found = []
    with torch.no_grad(), device.inside():
        x = torch.linspace(-1, 1, WIDE).view(1, WIDE).to(device.torch)
        for _ in range(times):
            device.enter("")
            device.enter("work")
            answer = work(x)
            moved = device.bytes_to_device, device.bytes_to_host
            peak, values = device.max_memory_allocated() - x.nbytes, answer.cpu()
            del answer
            left = device.memory_allocated() - x.nbytes
            found.append(Said(*moved, peak, left, values))
    return found


def plain() -> Tensor:
    with torch.no_grad():
        return net()(torch.linspace(-1, 1, WIDE).view(1, WIDE))


# --- the ways of the peer ------------------------------------------------------------------


def test_whole_models_come_when_called_and_go_back_when_the_next_one_is() -> None:
    from offload_peer import offload_models

    device, first, second = card(), net(0), net(1)
    with torch.no_grad(), device.inside():
        leave = offload_models([(first, "forward"), (second, "forward")], device.torch)

    def song(x: Tensor) -> Tensor:
        y = second(first(x))
        assert device.memory_allocated() - x.nbytes == ALL + y.nbytes, "the first has gone back"
        leave()
        return y

    for said in calls(device, song):
        assert (said.to_device, said.to_host) == (2 * ALL, 2 * ALL)
        assert said.left == 0
        # One model and the rows it is at work on: never both.
        assert ALL < said.peak < ALL + MATRIX
        with torch.no_grad():
            expected = net(1)(plain())
        torch.testing.assert_close(said.answer, expected)
    book = device.book["work"]
    assert list(device.book) == ["work"]
    assert (book.waiting, book.beside, book.back) == (2 * ALL, 0, 2 * ALL + ROW)  # and the answer


def test_a_model_that_is_called_again_is_not_copied_again() -> None:
    from offload_peer import offload_models

    device, only = card(), net()
    with torch.no_grad(), device.inside():
        offload_models([(only, "forward")], device.torch)
    first, again = calls(device, only)
    assert (first.to_device, first.to_host) == (ALL, 0)
    assert (again.to_device, again.to_host, again.left) == (0, 0, ALL)


def test_single_modules_come_and_are_dropped_at_each_call() -> None:
    from offload_peer import offload_sequentially

    device, only = card(), net()
    with torch.no_grad(), device.inside():
        offload_sequentially(only, device.torch)
    assert device.memory_allocated() == ROW, "a buffer no file has stays"
    for said in calls(device, only):
        assert (said.to_device, said.to_host) == (ALL - ROW, 0)
        # Both buffers, the row, one matrix, what it reads and what it makes.
        assert (said.peak, said.left) == (2 * ROW + ROW + MATRIX + 2 * ROW, ROW)
        torch.testing.assert_close(said.answer, plain())
    assert (device.book["work"].waiting, device.book["work"].beside) == (ALL - ROW, 0)


def test_all_buffers_of_a_network_without_parameters_at_its_top_stay() -> None:
    from offload_peer import offload_sequentially

    device, whole = card(), nn.Sequential(net())
    with torch.no_grad(), device.inside():
        offload_sequentially(whole, device.torch)
    (said,) = calls(device, whole, 1)
    assert (said.to_device, said.left) == (ALL - 2 * ROW, 2 * ROW)


@pytest.mark.parametrize("level", ["block_level", "leaf_level"])
def test_groups_pass_on_a_queue_of_their_own_one_ahead_of_the_work(level: str) -> None:
    from offload_peer import offload_groups, whole_tensors

    device, only = card(), net()
    with torch.no_grad(), whole_tensors(device), device.inside():
        offload_groups(only, device.torch, level)
        traced, *later = calls(device, only, 3)
    # What is in no block has no queue: it is waited for, stays during the call, and is copied back.
    rest = MATRIX + 3 * ROW if level == "block_level" else 0
    for said in (traced, *later):
        assert (said.to_device, said.to_host) == (ALL, rest)
        torch.testing.assert_close(said.answer, plain())
    book = device.book["work"]
    assert (book.waiting, book.beside) == (rest, ALL - rest)
    # Beside it and the two rows at work: a group, and once the order is known the next one too.
    beside = 2 * ROW + (rest or 3 * ROW)
    assert traced.peak == beside + MATRIX
    assert {said.peak for said in later} == {beside + 2 * MATRIX}


def test_a_cap_below_the_peak_refuses_and_the_peak_itself_does_not() -> None:
    from offload_peer import offload_sequentially

    def run(total: int) -> None:
        device, only = card(total), net()
        with torch.no_grad(), device.inside():
            offload_sequentially(only, device.torch)
        calls(device, only, 1)

    peak = 3 * ROW + MATRIX + 2 * ROW + ROW  # the input too
    run(peak)
    with pytest.raises(torch.OutOfMemoryError):
        run(peak - 1)


def test_the_hooks_done_again_are_those_of_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerate = pytest.importorskip("accelerate")
    from offload_peer import offload_models, offload_sequentially

    def put(module: nn.Module, name: str, where: Any, value: Any = None, **_: object) -> None:
        # The library builds parameters of the tensor's own type, which a simulated one has not.
        old = getattr(module, name)
        if torch.device(where).type == "meta":
            new: Tensor = torch.empty(old.shape, dtype=old.dtype, device="meta")
        else:
            new = (old if value is None else value).to(where)
        if name in module._parameters:
            new = nn.Parameter(new, requires_grad=False)
        (module._parameters if name in module._parameters else module._buffers)[name] = new

    monkeypatch.setattr(accelerate.hooks, "set_module_tensor_to_device", put)

    def theirs_sequential(nets: list[nn.Module], where: torch.device) -> None:
        for each in nets:
            accelerate.cpu_offload(each, where, offload_buffers=len(each._parameters) > 0)

    def theirs_model(nets: list[nn.Module], where: torch.device) -> None:
        hook = None
        for each in nets:
            _, hook = accelerate.cpu_offload_with_hook(each, where, prev_module_hook=hook)

    def ours_sequential(nets: list[nn.Module], where: torch.device) -> None:
        for each in nets:
            offload_sequentially(each, where)

    def ours_model(nets: list[nn.Module], where: torch.device) -> None:
        offload_models([(each, "forward") for each in nets], where)

    def account(offload: Callable[[list[nn.Module], torch.device], None]) -> list[Said]:
        device = card()
        nets: list[nn.Module] = [net(0), nn.Sequential(net(1), nn.Linear(WIDE, WIDE)).eval()]
        with torch.no_grad(), device.inside():
            offload(nets, device.torch)
        return calls(device, lambda x: nets[1](nets[0](x)))

    for ours, theirs in ((ours_model, theirs_model), (ours_sequential, theirs_sequential)):
        for mine, other in zip(account(ours), account(theirs), strict=True):
            assert (mine.to_device, mine.to_host) == (other.to_device, other.to_host)
            assert (mine.peak, mine.left) == (other.peak, other.left)
            torch.testing.assert_close(mine.answer, other.answer, rtol=0, atol=0)


# --- the time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        lambda x, w: F.conv1d(x, w(8, 4, 7), padding=3),
        lambda x, w: F.conv1d(x, w(8, 4, 7), padding=9, dilation=3),
        lambda x, w: F.conv1d(x, w(8, 4, 4), stride=2, padding=1),
        lambda x, w: F.conv_transpose1d(x, w(4, 6, 20), stride=10, padding=5),
        lambda x, w: F.linear(x, w(5, 30)),
        lambda x, w: x.transpose(1, 2) @ x,
    ],
    ids=["conv", "dilated", "strided", "transposed", "linear", "matmul"],
)
def test_operations_are_those_that_torch_counts(work: Callable[..., Tensor]) -> None:
    device = card()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work(torch.ones(1, 4, 30), torch.ones)
    with torch.no_grad(), device.inside():
        x = torch.ones(1, 4, 30).to(device.torch)
        device.enter("")
        work(x, lambda *shape: torch.ones(shape).to(device.torch))
    (done,) = device.book.values()
    assert sum(times * operations for (operations, _), times in done.products.items()) == (
        counter.get_total_flops()
    )


def test_copies_are_waited_for_or_go_on_beside_the_products() -> None:
    from offload import Booked

    rates = SimulatedRates(matrix=100.0, memory=10.0, link=2.0)
    products: Counter[tuple[float, int]] = Counter({(500.0, 20): 2, (10.0, 30): 1})
    computing = 2 * 5.0 + 3.0  # of operations twice, of bytes once
    assert Booked(products=products).seconds(rates) == computing
    assert Booked(4, 0, 6, products).seconds(rates) == 5.0 + computing
    assert Booked(0, 8, 0, products).seconds(rates) == computing
    assert Booked(4, 80, 0, products).seconds(rates) == 2.0 + 40.0


def test_writing_converted_weights_out_takes_its_bytes() -> None:
    device = card()
    with torch.no_grad(), device.inside():
        stored = torch.ones(4, 6, dtype=torch.int8).to(device.torch)
        device.enter("")
        stored.to(torch.bfloat16)
    assert device.book[""].products == Counter({(0.0, 4 * 6 * (1 + 2)): 1})


# --- the verdict ---------------------------------------------------------------------------


def turn(way: str, seconds: float, fits: bool = True, variant: str = "whole") -> Any:
    from offload import Turn

    return Turn(way, variant, fits, 1 << 30, 0, seconds)


def test_the_best_of_each_way_is_the_fastest_that_fits() -> None:
    from offload import best

    row = [turn("ours", 3.0), turn("group", 1.0, fits=False), turn("group", 2.0, variant="tiles")]
    assert [(each.way, each.variant) for each in best(row)] == [
        ("ours", "whole"),
        ("group", "tiles"),
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([("ours", 3.0, True), ("model", 3.0, True)], []),
        ([("ours", 3.0, True), ("model", 2.9, True)], ["takes 2.90 s, ours 3.00 s"]),
        ([("ours", 3.0, True), ("model", 2.9, False)], []),
        ([("ours", 3.0, False), ("model", 9.0, True)], ["fits, ours does not"]),
        ([("ours", 9.0, False), ("converted", 3.0, True), ("group", 4.0, True)], []),
        ([("ours", 3.0, True), ("converted", 5.0, True), ("group", 4.0, True)], ["converted 5.00"]),
        ([("ours", 3.0, True), ("no offload", 2.0, True)], []),
    ],
)
def test_ours_is_behind_where_a_peer_that_fits_is_faster_or_ours_does_not_fit(
    row: list[tuple[str, float, bool]], words: list[str]
) -> None:
    from offload import faults

    found = list(faults(8, [turn(*each) for each in row], 1.0))
    assert len(found) == len(words)
    assert all(word in fault for word, fault in zip(words, found, strict=True))
