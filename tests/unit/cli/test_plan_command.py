from __future__ import annotations

import json
import subprocess
import sys

import pytest

from headroom.cli.main import main
from headroom.cli.plan import LENGTHS, SIZES


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["plan", *words, "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_json_has_what_programs_ask_for(capsys) -> None:
    found = plan(capsys, "slow bossa", "--vram", "8", "--duration", "120")
    assert found["fits"] is True and found["tier"] == "tier4"
    for stage in found["stages"]:
        assert sum(share["bytes"] for share in stage["shares"]) == stage["peak"]
    assert found["peak_bytes"] == max(stage["peak"] for stage in found["stages"])
    assert found["peak_bytes"] <= found["budget_bytes"]
    assert len(found["alternatives"]) >= 2
    assert {p["component"] for p in found["placements"]} >= {"dit", "vae decoder"}


def test_the_text_says_where_everything_is_and_what_would_change(capsys) -> None:
    assert main(["plan", "slow bossa", "--vram", "4", "--policy", "adaptive"]) == 0
    said = capsys.readouterr().out
    assert "policy adaptive, tier 1" in said and "work of denoise" in said
    assert "to spare" in said and " it would take " in said


def test_limits_of_the_tier_are_said(capsys) -> None:
    found = plan(capsys, "x", "--vram", "4", "--duration", "600", "--batch-size", "4")
    notes = {note["field"]: note for note in found["notes"]}
    assert notes["duration"]["used"] == 360 and "tier 1" in notes["duration"]["why"]
    assert notes["batch_size"]["used"] == 1
    free = plan(capsys, "x", "--vram", "4", "--duration", "600", "--policy", "adaptive")
    assert free["notes"] == [] and free["fits"]


def test_the_table_has_every_card_and_length(capsys) -> None:
    assert main(["plan", "--all"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == len(SIZES) * len(LENGTHS)
    assert all("GiB" in row for row in rows)


def test_what_cannot_fit_says_how_much_is_missing(capsys) -> None:
    assert main(["plan", "x", "--vram", "0.5"]) == 1
    assert "are missing" in capsys.readouterr().err
    assert plan(capsys, "x", "--vram", "0.5")["fits"] is False


@pytest.mark.parametrize("size", ["-4", "0", "nan", "eight"])
def test_a_size_that_is_none_is_refused(capsys, size: str) -> None:
    assert main(["plan", "x", f"--vram={size}"]) == 2
    assert "vram" in capsys.readouterr().err


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys; from headroom.cli.main import main; "
        "main(['plan', 'x', '--vram', '8', '--json']); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def planned(capsys, *words: str) -> dict[str, object]:
    assert main(["plan", "x", "--thinking", "--duration", "240", "--json", *words]) == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def test_thinking_is_planned_with_the_language_model_of_the_tier(capsys) -> None:
    value = planned(capsys, "--vram", "8")
    assert value["language_model"] == "0.6B"
    assert [s["stage"] for s in value["stages"]][:2] == ["think", "write codes"]
    assert "language model" in {p["component"] for p in value["placements"]}
    large = planned(
        capsys, "--vram", "8", "--policy", "adaptive", "--lm-model", "acestep-5Hz-lm-4B"
    )
    (lm,) = [p for p in large["placements"] if p["component"] == "language model"]
    assert (large["language_model"], lm["precision"]) == ("4B", "int8")
    assert large["peak_bytes"] <= large["budget_bytes"]


def test_a_tier_without_a_language_model_says_how_to_have_one(capsys) -> None:
    value = planned(capsys, "--vram", "4")
    (note,) = [n for n in value["notes"] if n["field"] == "thinking"]
    assert value["language_model"] is None and "--init-lm" in note["why"]
    assert planned(capsys, "--vram", "4", "--init-lm")["language_model"] == "0.6B"
