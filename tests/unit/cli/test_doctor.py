from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from headroom.cli import doctor
from headroom.hardware.holders import Holder, gpu_processes
from headroom.models.acestep.model import BUNDLED
from headroom.runtime.arbiter.account import Card, Member
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account, place_of
from unit.cli.conftest import Cli


def test_it_names_what_is_here(cli: Cli) -> None:
    done = cli("doctor", "--json")
    value = json.loads(done.out)
    assert (done.code, done.err, value["problems"]) == (0, "", [])
    assert value["packages"]["torch"]
    assert "diffusers" not in value["packages"]  # a tool of the tests
    assert value["device"]["kinds"][-1] == "cpu"
    assert 0 < value["device"]["budget"] < value["device"]["total"]
    assert value["model"] == "acestep-v15-nano"
    assert any("only the small bundled model" in sentence for sentence in value["remarks"])


def test_a_damaged_model_is_named_with_its_fault(cli: Cli, home: Path) -> None:
    place = home / "checkpoints" / "acestep-v15-turbo"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    value = json.loads(cli("doctor", "--json").out)
    (turbo,) = [m for m in value["models"] if m["name"] == "acestep-v15-turbo"]
    assert not turbo["ready"]
    assert any("silence_latent.pt: missing" in fault for fault in turbo["faults"])
    assert any(str(place) in sentence for sentence in value["remarks"])


def test_what_keeps_a_song_from_being_made_is_a_problem(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("HEADROOM_OUTPUT_DIR", str(home / "file"))
    monkeypatch.setenv("HEADROOM_MODEL", "acestep-v15-sft")
    monkeypatch.setattr(doctor, "_packages", lambda: iter([("torch", "2"), ("soxr", None)]))
    done = cli("doctor")
    assert done.code == 1
    problems = [line for line in done.out.splitlines() if line.startswith("PROBLEM")]
    assert ["soxr" in problems[0], "sft" in problems[1], "output folder" in problems[2]] == [
        True
    ] * 3
    assert done.out.endswith("A song cannot be made here.\n")


def test_of_a_card_it_tells_the_tier_the_kernel_and_the_rates(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", "simulated")
    monkeypatch.setenv("MAX_CUDA_VRAM", "12")
    two = (("cuda:0", "a card", 12 << 30), ("cuda:1", "another", 24 << 30))
    monkeypatch.setattr("headroom.device.cards", lambda: two)
    device = json.loads(cli("doctor", "--json").out)["device"]
    assert device["tier"] == "tier 5" and device["attention"]
    assert device["rates"]["copy"] > 1e9 and device["rates"]["matrix"] > 1e12
    assert [one["word"] for one in device["cards"]] == ["cuda:0", "cuda:1"]
    said = cli("doctor").out
    assert "tier       tier 5" in said and "GB/s to the device" in said
    assert "card       cuda:1: another, 24.00 GiB" in said


def test_of_a_group_it_tells_of_each_card(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", "simulated,simulated")
    monkeypatch.setenv("MAX_CUDA_VRAM", "12")
    (other,) = json.loads(cli("doctor", "--json").out)["device"]["beside"]
    assert other["total"] == 12 << 30 > other["budget"] > 0
    assert "with it    card 1: a simulated card, 12.00 GiB of 12.00 GiB free" in cli("doctor").out


def test_for_people_it_is_text(cli: Cli) -> None:
    done = cli("doctor")
    assert done.code == 0
    assert str(BUNDLED) in done.out
    assert "ffmpeg     not needed" in done.out
    assert done.out.endswith("A song can be made here.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_processes_on_the_card_are_read_from_its_driver(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\nprintf '%s\\n' \"77, /usr/bin/a, b, 2048\" '78, game, [N/A]' 'none'\n"
    )
    tool.chmod(0o755)
    assert gpu_processes(str(tool)) == (Holder(77, "/usr/bin/a, b", 2048), Holder(78, "game", None))
    assert gpu_processes(str(tmp_path / "absent")) is None
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_processes(str(tool)) is None


@pytest.mark.parametrize("device", ["cpu", "simulated"])
def test_a_card_that_a_setting_names_is_said_with_its_tier(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", device)
    monkeypatch.setenv("MAX_CUDA_VRAM", "8")
    said = cli("doctor").out
    assert "card: asked 8 GB by MAX_CUDA_VRAM, used tier 4" in said and "tier       tier 4" in said
    found = json.loads(cli("doctor", "--json").out)["device"]
    assert found["tier"] == "tier 4" and "MAX_CUDA_VRAM" in found["notes"][0]
    own = found["total"] if device == "cpu" else 8 << 30
    assert found["total"] == own and (found["budget"] < 8 << 30) == (device == "simulated")


def test_processes_that_share_a_card_are_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_CARDS_DIR", str(tmp_path))
    place = place_of(tmp_path, "cuda ab-cd")
    card = Card(8 << 30, 8 << 30, 1 << 30, 1 << 30)
    holds = Arbiter(Account(place), lambda: card, lambda wanted: None, Member("", "song"))
    holds.refresh()
    (line,) = [line for line in cli("doctor").out.splitlines() if line.startswith("shared ")]
    assert "cuda-ab-cd" in line and f"song (process {holds.me.pid} of " in line
    assert "1.00 GiB idle" in line
    (told,) = json.loads(cli("doctor", "--json").out)["sharing"]
    assert told["idle"] == 1 << 30 and told["leased"] == 0
    holds.close()
    assert not [line for line in cli("doctor").out.splitlines() if line.startswith("shared ")]
