from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from headroom.cli import main as program
from headroom.cli.main import COMMANDS, STOPPED, main
from headroom.errors import Cancelled, DoesNotFit, InvalidRequest
from headroom.hardware.host import Processor, remember
from headroom.processor import cpu_name
from unit.cli.conftest import Cli


def measured(words: list[str], folder: Path) -> tuple[int, int, set[str]]:
    """Exit code, modules loaded, and the big packages among them, of a fresh process."""
    code = (
        "import sys\n"
        "from headroom.cli.main import main\n"
        f"code = main({words!r})\n"
        "big = {'torch', 'pydantic', 'rich', 'numpy'} & {*sys.modules}\n"
        "print('\\n@', code, len(sys.modules), *big)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    _, number, modules, *big = done.stdout.splitlines()[-1].split()
    return int(number), int(modules), set(big)


def test_help_is_there_at_once_and_loads_nothing(tmp_path: Path) -> None:
    code, modules, loaded = measured(["--help"], tmp_path)
    assert (code, loaded) == (0, set())
    assert modules < 300  # an interpreter has some 50, rich 300 more


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
    code, _, loaded = measured(["generate", *text, *words], tmp_path)
    assert code == 2
    assert "torch" not in loaded


def test_generates_help_loads_no_torch(tmp_path: Path) -> None:
    code, _, loaded = measured(["generate", "--help"], tmp_path)
    assert code == 0
    assert "torch" not in loaded


def test_without_a_command_comes_the_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Sequence[str]] = []
    monkeypatch.setattr("headroom.cli.ui.run", lambda words: opened.append(words) or 0)
    assert cli().code == 0
    assert [list(words) for words in opened] == [[]]


def test_the_help_names_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert (done.code, done.err) == (0, "")
    assert done == cli("-h")
    assert all(f"  {name} " in done.out for name in COMMANDS)


@pytest.mark.parametrize("flag", ["--version", "-V"])
@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("bin/headroom", "headroom"),
        ("Scripts\\headroom.exe" if sys.platform == "win32" else "headroom.exe", "headroom"),
        ("src/headroom/__main__.py", "headroom"),
        ("src/acestep/__main__.py", "acestep"),
        ("acestep", "acestep"),
        ("", "acestep"),
    ],
)
def test_the_version_is_the_installed_one_under_the_name_that_was_called(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, flag: str, called: str, name: str
) -> None:
    from importlib.metadata import version

    monkeypatch.setattr(sys, "argv", [called])
    assert cli(flag).out == f"{name} {version('headroom-audio')}\n"
    assert cli("--help").out.startswith(f"usage: {name} COMMAND")


def test_the_package_says_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    import headroom

    assert headroom.__version__ == importlib.metadata.version("headroom-audio")
    assert "__version__" in dir(headroom)

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert headroom.__version__ == "0+unknown"


def test_help_is_a_command_too(cli: Cli) -> None:
    assert cli("help") == cli("--help")
    assert cli("help", "settings").out == cli("settings", "--help").out
    assert cli("--help", "settings").out.startswith("usage: acestep settings")
    assert "did you mean settings?" in cli("help", "setings").err


def test_the_old_name_is_a_module_that_can_be_run() -> None:
    import acestep.__main__

    assert acestep.__main__.main is main


@pytest.mark.parametrize(
    "words",
    [
        ["settings"],
        ["models", "list"],
        ["doctor", "--help"],
        ["generate", "--help"],
        ["plan", "--help"],
        ["compose"],
        ["generate", "x", "--duration=nan"],
    ],
)
def test_a_misspelt_setting_is_said_once_by_every_command(
    cli: Cli, home: Path, words: list[str]
) -> None:
    (home / ".env").write_text("HEADROOM_POLCY=adaptive\n")
    done = cli(*words)
    said = "WARNING: HEADROOM_POLCY (.env) is no setting, did you mean HEADROOM_POLICY?\n"
    assert done.err.count("HEADROOM_POLCY") == 1
    assert said in done.err


def test_a_bad_setting_does_not_keep_the_help_from_being_read(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", "toaster")
    assert cli("settings", "--help").code == 0
    assert cli("help").code == 0


@pytest.mark.parametrize("words", [["\x1b[31mred\x07"], ["models", "\x1b]0;title\x07"]])
def test_what_is_said_of_what_was_said_steers_no_terminal(cli: Cli, words: list[str]) -> None:
    done = cli(*words)
    assert done.code == 2
    assert "\x1b" not in done.err and "\x07" not in done.err
    assert r"\x1b" in done.err


def test_an_error_s_own_words_steer_no_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: object) -> int:
        logging.getLogger("headroom").warning("of %s", "\x1b[2J")
        raise InvalidRequest("x\x9b1m", 1, "what \x1b[8mhides\u202e it")

    monkeypatch.setattr(program, "_command", lambda word: fail)
    done = cli("generate")
    assert done.err == (
        "WARNING: of \\x1b[2J\nerror: x\\u009b1m: 1 is not allowed; allowed: "
        "what \\x1b[8mhides\\u202e it.\n"
    )


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


def test_commands_that_compute_nothing_load_nothing_that_computes(home: Path) -> None:
    """Once torch has told of the processor, as the first run on a machine makes it do."""
    remember(Processor(cpu_name(), ("avx2",), "sdpa"), home.parent / "cache")
    commands = [
        ["plan", "slow bossa nova"], ["doctor"], ["models", "list"], ["settings"],
        ["plan", "--help"], ["models", "--help"],
    ]  # fmt: skip
    code = (
        "import sys\n"
        "from headroom.cli.main import main\n"
        "slow = ('torch', 'numpy', 'soundfile', 'soxr', 'mutagen', 'safetensors')\n"
        f"for words in {commands!r}:\n"
        "    code = main(words)\n"
        "    print('\\n@', *words, code, [name for name in slow if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=home
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("@")]
    assert told == [f"@ {' '.join(words)} 0 []" for words in commands]
