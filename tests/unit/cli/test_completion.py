"""`acestep completion`: scripts for shells, from the parsers that the commands use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headroom.cli.completion import PARSERS, SHELLS, whole
from headroom.cli.main import COMMANDS
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_with_all_commands_and_flags(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    for word in (*COMMANDS, "vocal-language" if shell != "tcsh" else "generate"):
        assert word in done.out, word
    assert "lm-model-path" not in done.out and "manual-seed" not in done.out


def test_a_shell_that_is_none_is_refused(cli: Cli) -> None:
    for words in (("completion",), ("completion", "cmd")):
        done = cli(*words)
        assert (done.code, done.out) == (2, "")
        assert "one of bash, zsh, tcsh, fish, powershell" in done.err
    assert "~/.bashrc" in cli("completion", "--help").out


def test_every_command_is_completed() -> None:
    assert set(PARSERS) == set(COMMANDS)


def test_values_are_those_of_the_flags() -> None:
    (commands,) = (a for a in whole("acestep")._actions if a.dest == "command")
    flags = {
        name: action
        for action in commands.choices["generate"]._actions  # type: ignore[index, call-overload]
        for name in action.option_strings
    }
    assert flags["--task"].choices[:2] == ["text2music", "cover"]
    assert "pt" in flags["--vocal-language"].choices and flags["--timesignature"].choices
    assert flags["--keyscale"].choices is None  # shells split at spaces
    assert flags["--policy"].choices == ["published", "adaptive"]
    assert hasattr(flags["--source"], "complete") and hasattr(flags["--checkpoint-dir"], "complete")
    assert flags["--lyrics"].choices is None and hasattr(flags["--lyrics"], "complete")
    assert flags["--instrumental"].choices is None


def test_parsers_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from headroom.cli.completion import PARSERS, whole; whole('acestep'); "
        "assert 'torch' not in sys.modules, 'torch is loaded'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("acestep gen", {"generate"}),
        ("acestep generate --vocal-", {"--vocal-language"}),
        ("acestep generate --task rep", {"repaint"}),
        ("acestep models dow", {"download"}),
    ],
)
def test_bash_completes(cli: Cli, home: Path, line: str, expected: set[str]) -> None:
    script = home / "acestep.bash"
    script.write_text(cli("completion", "bash").out, encoding="utf-8")
    words = " ".join(f"'{word}'" for word in line.split())
    code = (
        f". {script}; COMP_WORDS=({words}); COMP_CWORD={len(line.split()) - 1}; "
        'name=$(complete -p acestep | sed "s/.*-F \\([^ ]*\\).*/\\1/"); '
        '$name acestep; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr
