"""The host is known without torch, once a process that loaded torch has examined it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from headroom.device.host import HostDevice
from headroom.hardware import host, probe
from headroom.hardware.here import host_without_torch, machine_here
from headroom.hardware.host import FILE, Processor, host_machine, remember, remembered
from headroom.hardware.probe import machine_of, open_probed, probe_device
from headroom.settings import load
from headroom.units import GIB

SEEN = Processor(HostDevice().name, ("avx2", "bfloat16"), "an attention")
ASK = (  # exit code 1: torch was loaded
    "import sys; from headroom.cli.main import main; "
    "main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
)


def settled(machine):
    """The machine without what changes from one moment to the next."""
    return replace(machine, free=0, host_free=0)


@pytest.mark.parametrize("cap", [None, 6])
def test_the_machine_is_the_same_with_and_without_torch(tmp_path, cap):
    values = {"HEADROOM_CACHE_DIR": str(tmp_path), "HEADROOM_DEVICE": "cpu"}
    settings = load(values if cap is None else {**values, "HEADROOM_MAX_VRAM": f"{cap}"})
    assert host_without_torch(settings) is None
    examined = machine_of(open_probed(settings), settings)
    assert host_without_torch(settings) is not None
    assert settled(machine_here(settings)) == settled(examined)


def test_it_holds_for_one_torch_and_one_processor(tmp_path, monkeypatch):
    remember(SEEN, tmp_path)
    assert remembered(tmp_path) == SEEN
    monkeypatch.setattr(host, "cpu_name", lambda: "another processor")
    assert remembered(tmp_path) is None
    monkeypatch.undo()
    monkeypatch.setattr(host, "_torch_build", lambda: "another torch")
    assert remembered(tmp_path) is None


def test_a_torch_that_could_use_a_card_is_asked_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "built_for_cards", lambda: True)
    probe_device(HostDevice(), tmp_path)
    assert remembered(tmp_path) is None


@pytest.mark.parametrize("word", ["cuda", "simulated", "cuda:1", "nonsense"])
def test_another_device_is_asked_of_torch(tmp_path, word):
    remember(SEEN, tmp_path)
    settings = load({"HEADROOM_CACHE_DIR": str(tmp_path)})
    assert host_without_torch(settings) == SEEN
    assert host_without_torch(settings, word) is None


@pytest.mark.parametrize(
    "change",
    [{"features": "avx2"}, {"features": [1]}, {"name": None}, {"attention": 3}, {"torch": None}],
)
def test_a_file_that_another_wrote_is_not_believed(tmp_path, change):
    remember(SEEN, tmp_path)
    path = tmp_path / FILE
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    assert remembered(tmp_path) is None
    path.write_text("[]", "utf-8")
    assert remembered(tmp_path) is None
    remember(SEEN, tmp_path)
    assert remembered(tmp_path) == SEEN


def test_features_and_memory_are_of_the_host():
    machine = host_machine(SEEN, 2 * GIB)
    assert machine.kind == "cpu" and machine.cap == 2 * GIB
    assert machine.features.bfloat16 and machine.features.isa == ("avx2",)
    assert not machine.features.float16
    assert 0 < machine.free <= machine.total


@pytest.mark.parametrize("words", [["plan", "a song", "--device", "cpu"], ["doctor"]])
def test_commands_load_no_torch_where_it_is_known(tmp_path, words):
    if torch.version.cuda is not None:
        pytest.skip("this torch could use a card, so it is asked each time")
    probe_device(HostDevice(), tmp_path)
    environment = {**os.environ, "HEADROOM_CACHE_DIR": str(tmp_path), "HEADROOM_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "(cpu" in done.stdout
