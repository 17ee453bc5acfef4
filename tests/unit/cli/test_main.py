from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from headroom.cli import main as program
from headroom.cli.main import COMMANDS, STOPPED, main
from headroom.errors import Cancelled, DoesNotFit, InvalidRequest
from unit.cli.conftest import Cli


def measured(words: list[str], folder: Path) -> tuple[int, float, set[str]]:
    """Exit code, seconds of processor time, and the big packages loaded, of a fresh process."""
    code = (
        "import sys, time\n"
        "from headroom.cli.main import main\n"
        f"code = main({words!r})\n"
        "big = {'torch', 'pydantic', 'rich', 'numpy'} & {*sys.modules}\n"
        "print('\\n@', code, time.process_time(), *big)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    _, number, seconds, *big = done.stdout.splitlines()[-1].split()
    return int(number), float(seconds), set(big)


def test_help_is_there_at_once_and_loads_nothing(tmp_path: Path) -> None:
    code, seconds, loaded = measured(["--help"], tmp_path)
    assert (code, loaded) == (0, set())
    assert seconds < 0.5


@pytest.mark.parametrize(
    "words",
    [
        ["--duration=nan"],
        ["-o", "x.txt"],
        ["--task", "cover", "--source", "absent.wav"],
        ["--reference-audio", "absent.wav"],
        ["--replay", "absent.json"],
        ["--device", "toaster"],
        ["--checkpoint-dir", "absent"],
    ],
)
def test_bad_input_is_refused_before_torch_is_loaded(tmp_path: Path, words: list[str]) -> None:
    text = [] if "--replay" in words else ["x"]
    code, seconds, loaded = measured(["generate", *text, *words], tmp_path)
    assert code == 2
    assert "torch" not in loaded
    assert seconds < 2


def test_generates_help_loads_no_torch(tmp_path: Path) -> None:
    code, _, loaded = measured(["generate", "--help"], tmp_path)
    assert code == 0
    assert "torch" not in loaded


def test_without_a_command_comes_the_help(cli: Cli) -> None:
    done = cli()
    assert (done.code, done.err) == (0, "")
    assert done == cli("--help") == cli("-h")
    assert all(f"  {name} " in done.out for name in COMMANDS)


def test_the_version_is_the_installed_one(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version").out == f"acestep {version('headroom-audio')}\n"


def test_an_unknown_command_is_a_sentence_with_the_nearest(cli: Cli) -> None:
    done = cli("genrate", "x")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: command: 'genrate' is not allowed; allowed: generate, ")
    assert "did you mean generate?" in done.err


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (InvalidRequest("bpm", -1, "more"), 2, "error: bpm: -1 is not allowed; allowed: more.\n"),
        (DoesNotFit(3 << 30, 2 << 30), 1, "error: this request needs at least 3.00 GiB"),
        (Cancelled("stopped in stage 'denoise'"), STOPPED, "stopped.\n"),
        (KeyboardInterrupt(), STOPPED, "stopped.\n"),
    ],
)
def test_every_end_has_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, said: str
) -> None:
    def fail(words: object) -> int:
        raise fault

    monkeypatch.setattr(program, "_command", lambda word: fail)
    done = cli("generate")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(said)


def test_a_fault_of_the_program_shows_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(program, "_command", lambda word: fail)
    with pytest.raises(ZeroDivisionError):
        main(["generate"])


def test_warnings_of_libraries_are_shown_only_when_wished_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(words: object) -> int:
        warnings.warn("old and slow", FutureWarning, stacklevel=2)
        logging.getLogger("headroom").info("what is going on")
        return 0

    monkeypatch.setattr(program, "_command", lambda word: warn)
    with warnings.catch_warnings(record=True) as heard:
        assert cli("generate").err == ""
    assert heard == []
    with pytest.warns(FutureWarning, match="old and slow"):
        assert "what is going on" in cli("generate", "--verbose").err


def test_the_models_command_is_mounted(cli: Cli) -> None:
    done = cli("models", "list")
    assert done.code == 0
    assert "acestep-v15-nano" in done.out
    wrong = cli("models", "fetch")
    assert wrong.code == 2
    assert "'fetch'" in wrong.err
    assert "download" in wrong.err
