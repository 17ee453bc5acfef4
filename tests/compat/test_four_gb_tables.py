"""The tables of the 4 GB mode's guide, row by row: limits, functions, troubleshooting, tiers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from acestep import memory_manager as m
from acestep.gpu_config import get_gpu_config
from headroom.cli.main import main
from headroom.cli.memory_test import MemoryTest
from headroom.engine.options import NO_OPTIONS
from headroom.settings import FOUR_GB, MODE, declared, load, write_env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the mode's `.env`, in which nothing else is set."""
    for _, setting in declared():
        for name in (setting.name, *setting.replaces):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert write_env(tmp_path)
    return tmp_path


# --- limits --------------------------------------------------------------------------------------

LIMITS = [  # of the guide: what is wanted; whether it works; what is said of it
    ("songs from a description", "works", "180 s"),
    ("lyrics of your own", "works", "180 s"),
    ("language model (--thinking)", "off", "ACESTEP_INIT_LM_DEFAULT is false"),
    ("several songs at once", "limited", "1: ACESTEP_MAX_BATCH_SIZE is 1"),
    ("songs beyond 3 minutes", "limited", "180: ACESTEP_MAX_DURATION is 180"),
    ("cover of a recording", "works", "180 s"),
    ("several models", "limited", "one on the card at a time"),
]


@pytest.mark.parametrize(("what", "status", "why"), LIMITS, ids=[row[0] for row in LIMITS])
def test_a_row_of_the_limits(place: Path, what: str, status: str, why: str) -> None:
    rows = {row.what: row for row in MemoryTest(load(), NO_OPTIONS).rows()}
    assert list(rows) == [row[0] for row in LIMITS]
    assert rows[what].status == status
    assert why in rows[what].why


def test_what_works_takes_the_same_memory_and_less_than_the_card_has(place: Path) -> None:
    test = MemoryTest(load(), NO_OPTIONS)
    peaks = {row.why for row in test.rows() if row.status == "works"}
    longest = test.longest()
    assert len(peaks) == 1 and longest.plan is not None
    assert longest.plan.peak < test.machine.budget < 4 << 30


def test_the_tiers_of_the_compatibility_guide_hold_above_the_mode_s_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two texts differ: 4 and 6 minutes there, 3 here. The setting alone makes them 3."""
    config = get_gpu_config(4)
    assert config.tier == "tier1"
    assert (config.max_duration_with_lm, config.max_duration_without_lm) == (180, 180)
    (place / ".env").unlink()
    config = get_gpu_config(4)
    assert (config.max_duration_with_lm, config.max_duration_without_lm) == (240, 360)
    for size, seconds, songs in ((5, (480, 600), (1, 1)), (7, (480, 600), (1, 2))):
        config = get_gpu_config(size)
        assert (config.max_duration_with_lm, config.max_duration_without_lm) == seconds
        assert (config.max_batch_size_with_lm, config.max_batch_size_without_lm) == songs


# --- functions of the memory manager -------------------------------------------------------------


def monitors(manager: m.MemoryManager) -> None:
    usage = manager.get_current_memory_usage()
    assert 0 < usage["ram_available"] <= usage["ram_total"] and usage["process_memory"] > 0
    assert json.loads(json.dumps(manager.get_status()))["current_usage"].keys() == usage.keys()


def validates(manager: m.MemoryManager) -> None:
    assert manager.validate_generation_params(240, 2)[:2] == (180, 1)
    assert manager.validate_generation_params(180, 1) == (180, 1, "")


def collects_garbage_after_each_song(manager: m.MemoryManager) -> None:
    cleaned: list[int] = []
    manager.force_memory_cleanup = lambda: cleaned.append(1)  # type: ignore[method-assign]
    for made in (1, 2):
        with manager.generation_context(0.0):
            pass
        assert manager.generation_count == len(cleaned) == made


def has_the_same_limits_everywhere(manager: m.MemoryManager) -> None:
    """The manager, the tiers' table, the service and its page read the same settings."""
    from headroom.service.config import from_settings

    limits = manager.get_generation_constraints()
    assert (limits["max_duration_seconds"], limits["max_batch_size"]) == (180, 1)
    assert get_gpu_config(4).max_duration_without_lm == 180
    served = from_settings(load()).settings
    assert (served.max_duration, served.max_batch_size, served.max_vram) == (180, 1, 4)
    assert m.get_memory_manager() is m.get_memory_manager()


def limits_a_function(manager: m.MemoryManager) -> None:
    @m.memory_limit_decorator(required_gb=0.0)
    def make(duration: float, batch_size: int) -> tuple[float, int]:
        return duration, batch_size

    assert make(600, 4) == (180, 1)


@pytest.mark.parametrize(
    "function",
    [
        monitors,
        validates,
        collects_garbage_after_each_song,
        has_the_same_limits_everywhere,
        limits_a_function,
    ],
)
def test_a_function_of_the_memory_manager(
    place: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[m.MemoryManager], None]
) -> None:
    monkeypatch.setattr(m, "_manager", [])
    function(m.get_memory_manager())


# --- troubleshooting -----------------------------------------------------------------------------


def test_out_of_memory_ends_nobody_s_processes() -> None:
    """The published advice was to end every process that has the card open, strangers' too."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in listed.stdout.decode("utf-8").split("\0") if name]
    files = [ROOT / name for name in names] or [*ROOT.glob("*.*"), *ROOT.glob("[dse]*/**/*.*")]
    killer = re.compile(rb"\b(?:fu[s]er|pk[i]ll|kill[a]ll)\b")  # this file is searched too
    found = [file for file in files if file.is_file() and killer.search(file.read_bytes())]
    assert len(files) > 100 and found == []


def test_a_slow_server_s_offload_is_seen_in_the_file(place: Path) -> None:
    lines = [line for line in (place / ".env").read_text().splitlines() if "OFFLOAD" in line]
    assert lines == ["ACESTEP_OFFLOAD_TO_CPU=true", "ACESTEP_OFFLOAD_DIT_TO_CPU=true"]


def test_the_lighter_mode_is_one_edited_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / ".env"
    file.write_text(file.read_text().replace("DURATION=180", "DURATION=120  # 2 minutes"))
    settings = load(mode=(MODE, FOUR_GB))
    assert settings.max_duration == 120
    assert m.MemoryConfig.read().max_duration_seconds == 120
    assert main(["4gb", "test"]) == 0
    assert "1 song of 120 s" in capsys.readouterr().out
