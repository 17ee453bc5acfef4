"""`acestep 4gb`: its menu, its `.env`, and settings that stand above the mode's."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headroom.cli import four_gb
from headroom.cli.memory_test import MemoryTest, settings_table
from headroom.engine.options import NO_OPTIONS
from headroom.errors import InvalidRequest
from headroom.settings import FOUR_GB, MODE, load, write_env

from .conftest import Cli

ROOT = Path(__file__).resolve().parents[3]
# As they stand in the mode's published `.env`.
PUBLISHED = """
MAX_CUDA_VRAM=4
ACESTEP_INIT_LM_DEFAULT=false
ACESTEP_OFFLOAD_TO_CPU=true
ACESTEP_OFFLOAD_DIT_TO_CPU=true
ACESTEP_MAX_DURATION=180
ACESTEP_MAX_BATCH_SIZE=1
PYTORCH_CUDA_ALLOC_CONF=garbage_collection_threshold:0.6,max_split_size_mb:128
"""


@dataclass
class Started:
    """What would have been served."""

    config: Any = None

    def __call__(self, config: Any, options: Any) -> int:
        self.config = config
        return 0


@pytest.fixture
def started(home: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    made = Started()
    monkeypatch.setattr(four_gb, "serve", made)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.mark.parametrize(
    ("answers", "ports", "has_page"),
    [
        (["1"], (7860,), True),
        (["2"], (8001,), False),
        (["3"], (8001, 7860), True),
        (["5", "", " Page "], (7860,), True),
    ],
)
def test_the_menu_starts_what_is_chosen(
    started: Started,
    answers: Sequence[str],
    ports: tuple[int, ...],
    has_page: bool,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, *answers)
    done = cli("4gb")
    assert done.code == 0, done.err
    assert started.config.ports == ports and (started.config.page is not None) == has_page
    assert started.config.host == "127.0.0.1" and started.config.key is None
    assert done.out.count("1 to 4") == len(answers)
    settings = started.config.settings
    assert (settings.max_vram, settings.max_duration, settings.max_batch_size) == (4, 180, 1)
    assert (settings.init_lm, settings.offload, settings.offload_dit) == (False, True, True)
    assert settings.alloc_conf == FOUR_GB["PYTORCH_CUDA_ALLOC_CONF"]


@pytest.mark.parametrize(("word", "number"), [("page", "1"), ("api", "2"), ("both", "3")])
def test_a_choice_on_the_command_line_needs_no_menu(
    started: Started, cli: Cli, word: str, number: str
) -> None:
    flags = ("--host", "0.0.0.0", "--page-port", "7000", "--port", "8000", "--language", "pt")
    made = []
    for choice in (word, number):
        done = cli("4gb", choice, *flags)
        assert done.code == 0 and "1 to 4" not in done.out
        made.append((started.config.ports, started.config.host))
    assert made[0] == made[1] and made[0][1] == "0.0.0.0"
    assert set(made[0][0]) <= {7000, 8000}
    assert started.config.settings.ui_language == "pt"


def test_who_quits_starts_nothing(
    started: Started, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "q")
    assert cli("4gb").code == 0
    answer(monkeypatch)
    assert cli("4gb").code == 130  # nobody is there to answer
    assert started.config is None


def test_a_choice_that_is_none_is_refused_before_anything_is_written(home: Path) -> None:
    with pytest.raises(InvalidRequest, match="page, api, both, test"):
        four_gb.run(["everything"])
    assert not (home / ".env").exists()


# --- .env --------------------------------------------------------------------------------------


def test_the_published_file_is_written_where_there_is_none(home: Path) -> None:
    assert write_env(home)
    lines = (home / ".env").read_text("utf-8").splitlines()
    assert [line for line in lines if line and line[0] != "#"] == PUBLISHED.split()
    assert all(load().source(name) == ".env (MAX_CUDA_VRAM)" for name in ("max_vram",))


@pytest.mark.parametrize("text", ["", "ACESTEP_MAX_DURATION=120\n", "# nothing\r\n"])
def test_a_file_that_is_there_stays_as_it_is(home: Path, cli: Cli, text: str) -> None:
    (home / ".env").write_bytes(text.encode())
    assert cli("4gb", "4").code == 0
    assert (home / ".env").read_bytes() == text.encode()


def test_a_folder_that_takes_no_file_has_the_mode_all_the_same(
    cli: Cli, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    done = cli("4gb", "2")
    assert done.code == 0 and "No space left on device" in done.err
    assert started.config.settings.max_duration == 180


@pytest.mark.parametrize(
    ("environ", "env_file", "expected", "source"),
    [
        ({}, "", 180, f"{MODE} (ACESTEP_MAX_DURATION)"),
        ({}, "ACESTEP_MAX_DURATION=120", 120, ".env (ACESTEP_MAX_DURATION)"),
        ({}, "HEADROOM_MAX_DURATION=110", 110, ".env"),
        ({"ACESTEP_MAX_DURATION": "60"}, "ACESTEP_MAX_DURATION=120", 60,
         "environment (ACESTEP_MAX_DURATION)"),
        ({"HEADROOM_MAX_DURATION": "50"}, "", 50, "environment"),
        ({"ACESTEP_MAX_DURATION": ""}, "", 180, f"{MODE} (ACESTEP_MAX_DURATION)"),
    ],
)  # fmt: skip
def test_what_is_set_elsewhere_stands_above_the_mode(
    home: Path, environ: dict[str, str], env_file: str, expected: float, source: str
) -> None:
    (home / ".env").write_text(env_file)
    settings = load(environ, mode=(MODE, FOUR_GB))
    assert settings.max_duration == expected
    assert settings.source("max_duration") == source
    assert settings.max_batch_size == 1 and settings.unknown == ()


# --- the test of the settings --------------------------------------------------------------------


def test_the_test_tells_settings_with_their_source_and_the_longest_song(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text("ACESTEP_MAX_DURATION=120\n")
    monkeypatch.setenv("MAX_CUDA_VRAM", "3.5")
    answer(monkeypatch, "4")
    done = cli("4gb")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    told = {line.split()[0]: line for line in lines if line.split()[:1] and line[0].isupper()}
    assert set(FOUR_GB) <= set(told)
    assert "environment (MAX_CUDA_VRAM)" in told["MAX_CUDA_VRAM"]
    assert ".env (ACESTEP_MAX_DURATION)" in told["ACESTEP_MAX_DURATION"]
    assert told["PYTORCH_CUDA_ALLOC_CONF"].endswith(MODE)
    assert "1 song of 120 s" in done.out and "3.50 GiB" in done.out and "peak " in done.out


def test_a_card_too_small_for_any_song_fails_the_test(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "0.4")
    done = cli("4gb", "test")
    assert done.code == 1 and "does not fit" in done.out


def test_every_setting_of_the_mode_is_told(home: Path) -> None:
    table = settings_table(load(mode=(MODE, FOUR_GB)))
    assert [line.split()[0] for line in table.splitlines()[1:]] == list(FOUR_GB)
    assert table.count(MODE) == len(FOUR_GB)


def test_what_a_larger_card_allows_is_said_too(home: Path) -> None:
    environ = {"MAX_CUDA_VRAM": "24", "ACESTEP_INIT_LM_DEFAULT": "true"}
    test = MemoryTest(load(environ), NO_OPTIONS)
    assert {row.what: row.status for row in test.rows()} == {
        row.what: "works" for row in test.rows()
    }
    assert test.longest().seconds == 600


# --- the scripts at the root ---------------------------------------------------------------------


def test_the_scripts_leave_everything_to_the_program() -> None:
    shell = (ROOT / "start_4gb_mode.sh").read_bytes()
    batch = (ROOT / "start_4gb_mode.bat").read_bytes()
    assert b"\r" not in shell and batch.count(b"\r\n") == batch.count(b"\n")
    for script, every, goes_on in ((shell, b'"$@"', b"4gb"), (batch, b"%*", b"4gb")):
        calls = [line for line in script.splitlines() if b" 4gb " in line and every in line]
        assert len(calls) >= 2 and all(goes_on in call for call in calls)
        assert b"180" not in script and b"7860" not in script  # no default stands here
