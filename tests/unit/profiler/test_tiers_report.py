"""What a tier test prints and writes, and how it speaks with its processes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from headroom.engine.opening import Opening
from headroom.hardware.machine import card
from headroom.memory.policy import resolve_policy
from headroom.models.acestep.tiers import TIERS, tier_of
from headroom.profiler.options import TIERS as SIZES
from headroom.profiler.options import Options
from headroom.profiler.tiers import run
from headroom.profiler.tiers.child import environment
from headroom.profiler.tiers.report import printed, progress
from headroom.profiler.tiers.rows import BATCHES, Case, TierRow, TierTest, capabilities
from headroom.profiler.tiers.run import cases_of, tier_test
from headroom.profiler.tiers.table import detected, published
from headroom.settings import Options as EngineOptions
from headroom.settings import load
from headroom.units import GIB

ROW = TierRow(
    8, "tier4", "default", True, 1, 30.0, "ok", simulated=True, lm="0.6B", lm_backend="vllm",
    offload="cpu+dit", quantization="int8", tile=256, frames=750, measured_peak=7 * GIB, songs=1,
)  # fmt: skip

PRINTED = Path(__file__).with_name("printed")  # what the published guides show


FREE = EngineOptions()


def options(**said: object) -> Options:
    return Options(Opening(load({})), mode="tier-test", **said)  # type: ignore[arg-type]


# --- the table that is checked against --------------------------------------------------------


@pytest.mark.parametrize("size", [3, 4, 4.01, 6, 6.01, 7.49, 7.5, 8, 11.49, 11.5, 12, 15.49,
                                  15.5, 16, 19.49, 19.5, 20, 23.49, 23.5, 24, 80])  # fmt: skip
def test_both_tables_say_the_same_of_every_size(size: float) -> None:
    row, found = published(size), resolve_policy(card(size), "published", FREE, TIERS)
    assert row.name == tier_of(size).name
    assert list(detected(row, found)) == []


def test_every_column_is_compared() -> None:
    found = resolve_policy(card(8), "published", FREE, TIERS)
    assert found.tier is not None
    changes = (
        {"seconds": (480, 601)}, {"batch": (2, 5)}, {"lms": ("0.6B", "1.7B")}, {"name": "tier5"},
    )  # fmt: skip
    for change in changes:
        other = replace(found, tier=replace(found.tier, **change))
        assert len(list(detected(published(8), other))) == 1, change
    more = (
        {"lm": "1.7B"}, {"init_lm": False}, {"lm_loop": "pt"}, {"offload": False},
        {"offload_dit": False}, {"quantization": "none"},
    )  # fmt: skip
    for change in more:
        assert len(list(detected(published(8), replace(found, **change)))) == 1, change


# --- cases ---------------------------------------------------------------------------------


def test_what_is_tried_at_a_size() -> None:
    assert cases_of(4, options(tier_with_lm=True)) == (Case(),)  # it may load none
    assert cases_of(8, options(tier_with_lm=True)) == (Case("default", True),)
    names = [case.name for case in cases_of(4, options(tier_boundary=True))]
    assert names == ["default", "no-quant", "no-offload"]
    # Tier 6b converts nothing and keeps everything on the card as it is.
    assert [case.name for case in cases_of(20, options(tier_boundary=True))] == ["default"]
    both = cases_of(8, options(tier_batch_boundary=True))
    assert [c.songs for c in both] == [*BATCHES, *BATCHES]
    assert [c.use_lm for c in both] == [False] * 4 + [True] * 4
    assert len(cases_of(4, options(tier_batch_boundary=True))) == 4
    assert [tier_of(size).name for size in SIZES] == [
        t.name for t in TIERS.rows if t.name != "tier3"
    ]


def test_a_process_has_one_limit_and_it_is_that_of_its_size() -> None:
    around = {"HEADROOM_MAX_VRAM": "3", "ACESTEP_MEMORY_LIMIT_GB": "2", "HOME": "x"}
    settings = load(environment(7.5, around))
    assert settings.vram_for("cuda") == settings.vram_for("simulated") == 7.5
    assert environment(7.5, around)["MAX_CUDA_VRAM"] == "7.5"


# --- tables ---------------------------------------------------------------------------------


def test_the_tables_have_the_documented_columns_and_words() -> None:
    rows = (
        replace(ROW, vram_gb=4, tier="tier1", use_lm=False, lm=None, decoded_on_host=True),
        ROW,
        replace(ROW, test_variant="no-quant", quantization=None, promised=False),
        replace(ROW, test_variant="no-offload", status="does not fit", faults=("no room",),
                promised=False, measured_peak=0),
        replace(ROW, vram_gb=20, tier="tier6b", quantization=None, offload="none", lm="1.7B"),
    )  # fmt: skip
    text = printed(TierTest(rows, 61.0, boundary=True))
    lines = text.splitlines()
    assert lines[0] == "TIER TEST RESULTS" and set(lines[1]) == {"="}
    assert lines[2].split() == "VRAM Tier LM Duration Status Peak VRAM Notes".split()
    assert lines[4].split()[:7] == ["4GB", "tier1", "—", "30s", "✅", "OK", "7.0GB"]
    assert lines[4].endswith("simulated, VAE decoded on CPU, offload on")
    assert lines[5].endswith("simulated, vllm backend, tiled VAE chunk=256, offload on")
    assert "no-offload, no room" in lines[7] and "NO FIT" in lines[7]
    at = lines.index("BOUNDARY ANALYSIS")
    assert lines[at + 2].split() == ["Capability", "Min", "Tier", "VRAM"]
    assert lines[at + 4].split() == ["No", "INT8", "Quantization", "tier4", "8GB"]
    least = "No CPU Offload (all models on GPU)"
    assert lines[at + 5].split(least) == ["  ", lines[at + 5].split(least)[1]]
    assert lines[at + 5].split()[-2:] == ["tier6b", "20GB"]
    assert lines[-1] == "4 of 5 rows OK in 1:01. 1 have no room, where none is promised."


def test_the_tables_are_laid_out_as_they_were_published() -> None:
    """To the character, but for the notes, which the published guide has in Chinese."""
    published = (PRINTED / "tier_test.txt").read_text("utf-8").splitlines()
    rows = []
    for line in published[4:]:
        size, tier, lm, _, _, _, peak, *_ = line.split()
        rows.append(replace(
            ROW, vram_gb=float(size[:-2]), tier=tier, lm=None if lm == "—" else lm,
            measured_peak=round(float(peak[:-2]) * GIB),
        ))  # fmt: skip
    lines = printed(TierTest(tuple(rows), 1.0)).splitlines()
    notes = published[2].index("Notes")
    assert lines[:4] == published[:4]
    shown = [line[: notes - 1] for line in lines[4 : len(published)]]  # ✅ is two columns wide
    assert shown == [line[: notes - 1] for line in published[4:]]


def test_the_boundaries_are_laid_out_as_they_were_published() -> None:
    published = (PRINTED / "boundary.txt").read_text("utf-8").splitlines()
    row = replace(ROW, vram_gb=20, tier="tier6b", quantization=None, offload="none", lm="1.7B")
    lines = printed(TierTest((row,), 1.0, boundary=True)).splitlines()
    at = lines.index("BOUNDARY ANALYSIS")
    assert lines[at : at + len(published)] == published


def test_the_columns_line_up_whatever_the_status() -> None:
    bad = [replace(ROW, status=status, faults=("x",)) for status in ("failed", "does not fit")]  # type: ignore[arg-type]
    lines = printed(TierTest((ROW, *bad), 1.0)).splitlines()[4:7]
    assert len({cell_len(line[: line.index("7.0GB")]) for line in lines}) == 1


def test_batches_are_summed_up_with_and_without_a_language_model() -> None:
    def row(use_lm: bool, count: int, ok: bool) -> TierRow:
        name = Case("batch", use_lm, count).name
        status = "ok" if ok else "does not fit"
        return replace(ROW, test_variant=name, use_lm=use_lm, batch_size=count, status=status,
                       promised=count <= (2 if use_lm else 4), measured_peak=count * GIB)  # type: ignore[arg-type]  # fmt: skip

    rows = (row(False, 4, True), row(False, 8, False), row(True, 1, True), row(True, 2, False))
    test = TierTest(rows, 1.0, batch_boundary=True)
    (line,) = [one for one in printed(test).splitlines() if one.endswith("4 / 2")]
    assert line.split() == ["8GB", "tier4", "4", "4.0GB", "1", "1.0GB", "4", "/", "2"]
    assert [one.test_variant for one in test.broken] == ["batch-LM-2"]  # tier 4 promises two
    assert test.exit_code == 1
    assert TierTest((row(False, 8, False),), 1.0).exit_code == 0


def test_the_smallest_card_is_found_by_what_was_made() -> None:
    small = replace(ROW, vram_gb=6, test_variant="no-offload", quantization=None, offload="none")
    found = capabilities((ROW, small, replace(small, vram_gb=4, status="failed")))
    assert [c.least for c in found] == [small, small]
    assert [c.least for c in capabilities((ROW,))] == [None, None]


@pytest.mark.parametrize("status", ["failed", "does not fit"])
def test_a_tier_that_does_not_work_as_it_says_is_an_error(status: str) -> None:
    bad = replace(ROW, status=status, faults=("so and so",))  # type: ignore[arg-type]
    test = TierTest((ROW, bad), 1.0)
    assert not test.ok and test.exit_code == 1
    assert "NOT OK: 8GB tier4 default: so and so" in printed(test)
    assert progress(bad) == f"8GB default: {status}: so and so (0.0 s)"
    assert TierTest((ROW,), 1.0).exit_code == 0
    assert TierTest((), 1.0).exit_code == TierTest((ROW,), 1.0, interrupted=True).exit_code == 1


# --- processes -------------------------------------------------------------------------------

CHILD = """
import json, sys, time
work = json.load(sys.stdin)
row = json.loads(sys.argv[1])
def say(what):
    print("tier test: " + json.dumps(what), flush=True)
print("somebody else's line", flush=True)
say({"card": {"name": "x", "real": False, "free": 0}})
if work["vram"] == 6:
    print("warning\\nRuntimeError: no such kernel", file=sys.stderr)
    sys.exit(3)
if work["vram"] == 12:
    time.sleep(600)
for case in work["cases"][:2]:
    name = case["variant"]
    say({"row": {**row, "vram_gb": work["vram"], "test_variant": name}})
if work["vram"] == 8:
    sys.exit("torn off")
"""


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that say what they are to say and compute nothing."""
    from dataclasses import asdict

    program = tmp_path / "child.py"
    program.write_text(CHILD, "utf-8")
    said = json.dumps(asdict(ROW))
    monkeypatch.setattr(run, "CHILD", (sys.executable, str(program), said))


@pytest.mark.usefixtures("processes")
def test_a_process_that_dies_is_a_row_with_its_last_words() -> None:
    heard: list[str] = []
    test = tier_test(options(tiers=(4.0, 6.0, 8.0), tier_boundary=True), heard.append)
    assert [(row.vram_gb, row.test_variant, row.status) for row in test.rows] == [
        (4, "default", "ok"), (4, "no-quant", "ok"),
        (6, "default", "failed"), (6, "no-quant", "failed"), (6, "no-offload", "failed"),
        (8, "default", "ok"), (8, "no-quant", "ok"), (8, "no-offload", "failed"),
    ]  # fmt: skip
    first, second, third, fourth = [r.faults[0] for r in test.rows if r.status == "failed"]
    assert len(heard) == len(test.rows) and not test.ok
    assert first == "its process ended with 3: RuntimeError: no such kernel"
    assert second == third == "not tried: its process had ended"
    assert fourth == "its process ended with 1: torn off"


@pytest.mark.usefixtures("processes")
def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LIMIT", 1.0)
    (row,) = tier_test(options(tiers=(12.0,)), lambda line: None).rows
    assert row.status == "failed" and row.faults == ("its process was not done within 1 s",)


@pytest.mark.usefixtures("processes")
def test_an_interruption_keeps_what_was_measured_and_leaves_no_process() -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    test = tier_test(options(tiers=(4.0, 12.0)), interrupt)
    assert test.interrupted and test.exit_code == 1
    assert [row.vram_gb for row in test.rows] == [4]
    assert "Interrupted" in printed(test)


@pytest.mark.ci
def test_a_size_in_a_process_of_its_own() -> None:
    test = tier_test(options(tiers=(24.0,)), lambda line: None)
    (row,) = test.rows
    assert row.ok and row.songs == 1 and row.measured_peak == row.planned_peak
    written = json.loads(json.dumps(test.json()))["results"][0]
    assert written["tier_gb"] == 24 and written["gen_success"] and written["error"] is None
    assert written["peak_vram_gb"] == pytest.approx(row.measured_peak / GIB)
    assert [stage["stage"] for stage in written["stages"]][-1] == "decode"
