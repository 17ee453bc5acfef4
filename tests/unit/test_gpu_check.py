"""`scripts/gpu_check` end to end on the host, with the bundled checkpoint's sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch):
    """Its modules, as the program itself finds them."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from gpu_check import bench, main, sizes, step

    return bench, main, sizes, step


@pytest.mark.ci
def test_a_dry_run_goes_through_every_section(tmp_path: Path):
    out = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check"), "--small", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text("utf-8"))
    assert report["failed"] == [] and report["sizes"] == "nano"
    sections = report["sections"]
    names = ["card", "parity", "sampler", "attention", "kernels", "step", "decode", "codes"]
    names.append("song")
    assert list(sections) == names and all(sections[name]["rows"] for name in names)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    checks = {row["check"]: row for row in sections["parity"]["rows"]}
    assert checks["dit, ragged, guided, float32"]["distance"] <= 1e-6
    assert checks["vae decoder, bfloat16"]["distance"] > 1e-3  # it really was another type
    for row in sections["step"]["rows"]:
        assert 0 < row["floor_seconds"] and row["ratio"] > 0
    stages = sections["song"]["rows"][0]["stages"]
    assert [s["stage"] for s in stages] == ["condition", "schedule", "denoise", "decode"]


def test_operations_of_a_step_are_the_published_ones(program):
    """ACE-Step 1.5 2B, 800 condition rows, the cached keys and values (0.161) taken off."""
    from headroom.models.acestep.networks.dit import DiT

    _, _, sizes, step = program
    with torch.device("meta"):
        dit = DiT(sizes.real().config)
    for tokens, published in ((375, 1.30), (750, 2.47), (1500, 4.88)):
        assert step.operations(dit, tokens, 800) / 1e12 == pytest.approx(
            published - 0.161, rel=0.015
        )
    assert step.weight_bytes(dit) / 4 == pytest.approx(1.5e9, rel=0.1)


def test_a_section_that_breaks_off_is_recorded_and_fails_the_program(
    program, monkeypatch, tmp_path: Path
):
    _, main, _, _ = program

    def broken(bench: object) -> list[dict[str, object]]:
        raise torch.OutOfMemoryError("no room")

    def wrong(bench: object) -> list[dict[str, object]]:
        return [{"check": "velocity", "ok": False}, {"check": "kept", "ok": True}]

    monkeypatch.setitem(main.SECTIONS, "step", broken)
    monkeypatch.setitem(main.SECTIONS, "parity", wrong)
    out = tmp_path / "report.json"
    arguments = ["--small", "--device", "cpu", "--out", str(out)]
    assert main.main([*arguments, "--only", "step", "--only", "parity"]) == 1
    report = json.loads(out.read_text("utf-8"))
    assert report["failed"] == ["parity: velocity", "step: OutOfMemoryError: no room"]
    assert report["sections"]["step"]["error"] == "OutOfMemoryError: no room"


def test_a_mistake_of_ours_is_not_caught(program, monkeypatch, tmp_path: Path):
    _, main, _, _ = program

    def mistaken(bench: object) -> list[dict[str, object]]:
        raise KeyError("stage")

    monkeypatch.setitem(main.SECTIONS, "step", mistaken)
    with pytest.raises(KeyError):
        main.main(
            ["--small", "--device", "cpu", "--out", str(tmp_path / "r.json"), "--only", "step"]
        )


def test_nan_is_never_near(program):
    bench, _, _, _ = program
    ours = torch.tensor([1.0, float("nan")])
    assert not bench.near("x", ours, torch.ones(2), 1.0)["ok"]
    assert bench.near("x", torch.ones(2), torch.ones(2), 0.0)["ok"]


def test_without_a_card_the_full_sizes_are_refused(program, tmp_path: Path, capsys):
    _, main, _, _ = program
    assert main.main(["--device", "cpu", "--out", str(tmp_path / "r.json")]) == 2
    assert "--small" in capsys.readouterr().out
    assert main.main(["--device", "gpu", "--out", str(tmp_path / "r.json")]) == 2
    assert list(tmp_path.iterdir()) == []
