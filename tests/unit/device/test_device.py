from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from headroom.device import Device, open_device, present, upload_tensor
from headroom.device.host import HostDevice, Peak
from headroom.errors import InvalidRequest
from headroom.units import MIB


def test_the_host_is_always_there_and_auto_takes_the_first():
    assert present()[-1] == "cpu"
    assert open_device("cpu").kind == "cpu"
    assert open_device().kind == present()[0]


@pytest.mark.parametrize("word", ["gpu", "", "cpu:0", "auto:1", "cuda:99", "cuda:", "xpu:-1"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(word):
    with pytest.raises(InvalidRequest, match=r"device: .* one that is here: .*cpu") as caught:
        open_device(word)
    assert caught.value.field == "device" and caught.value.value == word


def test_the_peak_of_the_host_sees_memory_that_is_gone_again():
    # In a process of its own: in one that has run many tests the system takes back idle pages
    # meanwhile, and the resident set falls while the block makes it grow.
    program = (
        "import threading, torch\n"
        "from headroom.device.host import HostDevice\n"
        "class Told(HostDevice):\n"
        "    samples = threading.Semaphore(0)\n"
        "    def memory_allocated(self):\n"
        "        size = super().memory_allocated()\n"
        "        self.samples.release()\n"
        "        return size\n"
        "device = Told()\n"
        "before = device.memory_allocated()\n"
        "device.reset_peak()\n"
        "block = torch.ones(1 << 25)\n"
        "while device.samples.acquire(blocking=False):\n"
        "    pass\n"
        "for _ in range(2):  # the first may have begun before\n"
        "    assert device.samples.acquire(timeout=60)\n"
        "del block\n"
        "print(device.max_memory_allocated() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) > 96 * MIB  # of 128


def test_a_peak_counts_from_its_last_start_and_leaves_no_thread():
    values, exhausted = iter([5, 4, 3]), threading.Event()

    def read() -> int:
        value = next(values, 2)
        if value == 2:
            exhausted.set()
        return value

    peak = Peak(read)
    threads = threading.active_count()
    peak.start()
    assert threading.active_count() == threads + 1
    assert exhausted.wait(60)
    assert peak.stop() == 5
    peak.start()
    assert peak.stop() == 2
    assert threading.active_count() == threads


def test_a_peak_counts_what_is_there_when_it_ends():
    values = iter([1, 9])
    peak = Peak(lambda: next(values))
    peak.start()
    assert peak.stop() == 9


def test_the_host_answers_the_whole_seam():
    device: Device = HostDevice()
    stream, event, calls = device.stream(), device.event(), []
    with stream.use():
        event.record(stream)
    event.wait(device.current_stream())
    event.synchronize()
    stream.synchronize()
    device.synchronize()
    device.release()
    tensor = torch.ones(3)
    assert device.pin(tensor) is tensor
    assert not device.can_capture()
    graph = device.capture(lambda: calls.append(1))
    assert calls == []
    graph.replay()
    graph.replay()
    assert calls == [1, 1]
    assert device.cap is None
    device.set_cap(5)
    assert device.cap == 5
    assert 0 < device.free_memory() <= device.total_memory()
    assert device.memory_reserved() > 0


def test_an_upload_to_a_host_is_no_copy_and_elsewhere_one():
    tensor = torch.ones(3)
    assert upload_tensor(tensor, torch.device("cpu")) is tensor
    assert upload_tensor(tensor, torch.device("meta")).device.type == "meta"


@pytest.mark.gpu
def test_an_upload_to_a_card_arrives_whole_while_the_host_goes_on():
    card, tensor = torch.device("cuda"), torch.randn(1 << 20)
    sent = [
        upload_tensor(tensor + i, card) for i in range(20)
    ]  # each page-locked copy is let go at once
    for i, there in enumerate(sent):
        assert torch.equal(there.cpu(), tensor + i)
