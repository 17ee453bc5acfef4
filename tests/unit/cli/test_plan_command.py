from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headroom.cli.main import main
from headroom.cli.plan import LENGTHS, SIZES
from unit.cli.conftest import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")  # no settings and no log of another test


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
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
    rows = capsys.readouterr().out.splitlines()[2:]
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
    assert "acestep-5Hz-lm-0.6B" in {p["component"] for p in value["placements"]}
    large = planned(
        capsys, "--vram", "8", "--policy", "adaptive", "--lm-model", "acestep-5Hz-lm-4B"
    )
    (lm,) = [p for p in large["placements"] if p["component"] == "acestep-5Hz-lm-4B"]
    assert (large["language_model"], lm["precision"]) == ("4B", "int8")
    assert large["peak_bytes"] <= large["budget_bytes"]


def test_a_tier_without_a_language_model_says_how_to_have_one(capsys) -> None:
    value = planned(capsys, "--vram", "4")
    (note,) = [n for n in value["notes"] if n["field"] == "thinking"]
    assert value["language_model"] is None and "--init-lm" in note["why"]
    assert planned(capsys, "--vram", "4", "--init-lm")["language_model"] == "0.6B"


def said_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", *words]) == 0
    return str(capsys.readouterr().out)


def test_what_is_planned_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    line = said_of(capsys, "x", "--vram", "8", "--duration", "1:30", "--batch-size", "2")
    assert line.startswith(
        "acestep-v15-turbo (2B, its published sizes): text2music, 2 songs at once of 90 s, "
        "computed in bfloat16\n"
    )
    named = said_of(
        capsys, "x", "--vram", "24", "--model", "acestep-v15-xl-base", "--dtype", "float32",
        "--thinking", "--lm-model", "0.6B",
    )  # fmt: skip
    assert named.startswith(
        "acestep-v15-xl-base (4B, its published sizes): text2music, 1 song of 30 s, computed in "
        "float32, planned by a language model (0.6B)\n"
    )
    found = plan(capsys, "x", "--vram", "8", "--batch-size", "2")
    keys = ("model", "model_folder", "task", "duration", "songs", "dtype")
    assert [found[key] for key in keys] == [
        "acestep-v15-turbo", None, "text2music", 30.0, 2, "bfloat16",
    ]  # fmt: skip


def test_the_bundled_model_is_planned_by_its_own_sizes(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    from headroom import Engine, Text2Music
    from headroom.models.acestep.model import BUNDLED

    ours = plan(capsys, "x", "--device", "cpu", "--model", "acestep-v15-nano", "--thinking")
    assert ours["model_folder"] == str(BUNDLED / "acestep-v15-nano")
    engine = Engine("cpu", model="acestep-v15-nano")
    theirs = engine.plan(Text2Music(caption="x", thinking=True))
    found = {p["component"]: p["bytes"] for p in ours["placements"]}
    assert {p.component: found[p.component] for p in theirs.placements} == {
        p.component: p.bytes for p in theirs.placements
    }
    assert set(found) == {p.component for p in theirs.placements}
    assert ours["dtype"] == engine.model.numerics().dtype
    large = plan(capsys, "x", "--vram", "24")
    assert large["model"] == "acestep-v15-turbo"
    assert large["peak_bytes"] > 10 * ours["peak_bytes"]


def test_a_folder_of_a_name_that_nobody_released_is_planned(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    from headroom.models.acestep.model import BUNDLED

    for name in ("vae", "Qwen3-Embedding-0.6B"):
        shutil.copytree(BUNDLED / name, home / "mine" / name)
    shutil.copytree(BUNDLED / "acestep-v15-nano", home / "mine" / "my-tune")
    words = ("x", "--vram", "8", "--checkpoint-dir", "mine", "--model")
    assert plan(capsys, *words, "my-tune")["model"] == "my-tune"
    assert main(["plan", *words, "my-tun"]) == 2
    error = capsys.readouterr().err
    assert "acestep-v15-turbo, " in error and "did you mean my-tune?" in error


def test_a_size_may_have_its_unit_and_the_end_of_a_name_is_a_hint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for size in ("8GB", "8 gib", "8g", "8.0"):
        assert "a card of 8 GiB" in said_of(capsys, "x", "--vram", size)
    assert main(["plan", "x", "--vram", "8", "--model", "nano"]) == 2
    assert "did you mean acestep-v15-nano?" in capsys.readouterr().err


def test_a_time_that_nobody_knows_is_said_to_be_unknown(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    here = ("x", "--device", "cpu", "--model", "acestep-v15-nano")
    line = said_of(capsys, *here)
    assert " ms" not in line and "time unknown" in line.splitlines()[-1]
    found = plan(capsys, *here)
    assert found["seconds"] is None and {s["seconds"] for s in found["stages"]} == {None}
    known = plan(capsys, "x", "--vram", "8")
    assert known["seconds"] > 0 and all(s["seconds"] > 0 for s in known["stages"])


def test_what_would_be_faster_without_the_tier_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "\n--policy adaptive would take " in said_of(capsys, "x", "--vram", "8")
    assert "1." in str(plan(capsys, "x", "--vram", "8")["advice"])
    for words in (("--vram", "24"), ("--vram", "8", "--policy", "adaptive")):
        assert plan(capsys, "x", *words)["advice"] is None


def test_a_size_and_a_device_are_both_heard(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a card of 8 GiB (mps)" in said_of(capsys, "x", "--vram", "8", "--device", "mps")
    assert "a card of 8 GiB (cuda)" in said_of(capsys, "x", "--vram", "8", "--device", "cuda:1")
    assert "(mps)" not in said_of(capsys, "x", "--all", "--device", "simulated")
    for words, field in (
        (("--vram", "8", "--device", "cpu"), "vram: '8'"),
        (("--all", "--device", "cpu"), "all: True"),
        (("--all", "--vram", "8"), "vram: '8'"),
    ):
        assert main(["plan", "x", *words]) == 2
        assert field in capsys.readouterr().err


def test_sizes_and_devices_with_commas_make_a_group_of_cards(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = ("--thinking", "--policy", "adaptive", "--lm-model", "acestep-5Hz-lm-1.7B")
    alone = plan(capsys, "x", "--vram", "8", *large)
    assert {stage["card"] for stage in alone["stages"]} == {0} and alone["copied_bytes"] > 0
    monkeypatch.setenv("MAX_CUDA_VRAM", "8")
    for words in (
        ("--vram", "8,8"), ("--vram", "8", "--device", "cuda:0,cuda:1"),
        ("--device", "simulated,simulated"),
    ):  # fmt: skip
        made = plan(capsys, "x", *words, *large)
        assert {stage["stage"]: stage["card"] for stage in made["stages"]} == {
            "think": 1, "write codes": 1, "condition": 0, "schedule": 0, "denoise": 0, "decode": 0,
        }  # fmt: skip
        assert made["copied_bytes"] == 0 and made["seconds"] < alone["seconds"]
        (other,) = made["alternatives"]
        assert other["sentence"].startswith("on one card alone it would take ")
        assert (other["kind"], other["bytes"]) == ("one card", 0)
        budgets = {stage["card"]: stage["budget_bytes"] for stage in made["stages"]}
        shares = [
            (s["peak"] / s["budget_bytes"], s["peak"], s["budget_bytes"]) for s in made["stages"]
        ]
        assert max(shares)[1:] == (made["peak_bytes"], made["budget_bytes"]) and len(budgets) == 2
    said = said_of(capsys, "x", "--vram", "8,8", *large)
    assert "card 1: a card of 8 GiB" in said and "write codes: 3.80 GiB" in said
    assert "tier 6b" in said_of(capsys, "x", "--vram", "8,20")  # the larger one's
    for words, field in (
        (("--vram", "8,8", "--device", "cuda:0,cuda:1,cuda:2"), "vram: '8,8'"),
        (("--vram", "8,x"), "vram: 'x'"),
        (("--vram", ",".join("8" * 9)), "vram: '8,8,8"),
        (("--all", "--device", "cuda:0,cuda:1"), "device: 'cuda:0,cuda:1'"),
        (("--device", "cuda:0,cuda:0"), "device: 'cuda:0,cuda:0'"),
    ):
        assert main(["plan", "x", *words]) == 2
        assert field in capsys.readouterr().err


def test_a_cap_for_simulated_cards_leaves_a_named_device_alone(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "8")
    assert "a card of 8 GiB" in said_of(capsys, "x")
    small = ("--model", "acestep-v15-nano")
    assert "(cpu)" in said_of(capsys, "x", "--device", "cpu", *small).splitlines()[1]


def test_the_table_says_what_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    line = said_of(capsys, "x", "--all", "--batch-size", "2").splitlines()[0]
    assert line == "acestep-v15-turbo (2B, its published sizes): text2music, 2 songs at once"


def test_the_table_has_a_language_model_where_one_plans_the_songs(capsys) -> None:
    rows = said_of(capsys, "x", "--all", "--thinking", "--policy", "adaptive").splitlines()[2:]
    assert len(rows) == len(SIZES) * len(LENGTHS)
    assert "LM 0.6B" in rows[0] and "LM 4B resident" in rows[-1]
