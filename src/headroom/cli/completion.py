"""`acestep completion SHELL`: prints a script for completing commands, flags and values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import shtab

from headroom.cli import compile as compile_command
from headroom.cli import doctor, generate, models, plan, profile, settings, sheet_flags, wizard
from headroom.cli.parser import Parser
from headroom.errors import InvalidRequest
from headroom.models.registry import family_named
from headroom.params.describe import union

SHELLS: tuple[str, ...] = tuple(shtab.SUPPORTED_SHELLS)
_HOW = """Where the script goes:
  bash        acestep completion bash >> ~/.bashrc
  zsh         acestep completion zsh > ~/.zfunc/_acestep   (a folder of $fpath)
  fish        acestep completion fish > ~/.config/fish/completions/acestep.fish
  tcsh        acestep completion tcsh >> ~/.tcshrc
  powershell  acestep completion powershell >> $PROFILE"""


def parser() -> Parser:
    """The flags of `acestep completion`."""
    made = Parser(
        "acestep completion",
        description="Print a script that lets a shell complete what is typed.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("shell", nargs="?", metavar="|".join(SHELLS), help="the shell")
    return made


# The commands' own parsers; `models` has subcommands and adds itself.
PARSERS: Mapping[str, Callable[[], Parser] | None] = MappingProxyType(
    {
        "generate": generate.whole_parser,
        "compose": lambda: sheet_flags.parser(sheet_flags.COMPOSE),
        "understand": lambda: sheet_flags.parser(sheet_flags.UNDERSTAND),
        "score": lambda: sheet_flags.parser(sheet_flags.SCORE),
        "profile": profile.whole_parser,
        "plan": plan.parser,
        "compile": compile_command.parser,
        "models": None,
        "settings": settings.parser,
        "doctor": doctor.parser,
        "wizard": wizard.parser,
        "completion": parser,
    }
)


def run(words: Sequence[str]) -> int:
    """Run `acestep completion SHELL`; returns the exit code. Raises InvalidRequest."""
    from headroom.cli.main import program_name

    shell = parser().parse_args(words).shell
    if shell not in SHELLS:
        raise InvalidRequest("shell", shell or "", "one of " + ", ".join(SHELLS))
    sys.stdout.write(shtab.complete(whole(program_name()), shell) + "\n")
    return 0


def whole(name: str) -> Parser:
    """A parser of the whole program with all its commands, and the possible values of each flag."""
    from headroom.cli.main import COMMANDS

    made = Parser(name)
    made.add_argument("-V", "--version", action="store_true", help="the version")
    made.add_argument("-v", "--verbose", action="store_true", help="say more")
    commands: argparse._SubParsersAction[argparse.ArgumentParser] = made.add_subparsers(
        dest="command", parser_class=Parser
    )
    for command, (_, about) in COMMANDS.items():
        build = PARSERS[command]
        if build is None:
            models.add_parser(commands)
        else:
            commands.add_parser(command, help=about, parents=[build()], add_help=False)
    _add_values(made)
    return made


def _add_values(parser: argparse.ArgumentParser) -> None:
    """Set the possible values of each flag: words, a file, a folder."""
    known = {param.name: param.choices for param in union(family_named().requests.values())}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _add_values(below)
        elif action.nargs != 0 and action.choices is None:
            _add_value(action, known.get(action.dest, ()))


def _add_value(action: argparse.Action, choices: Sequence[str]) -> None:
    shown = str(action.metavar or "")
    words = choices or (shown.split("|") if "|" in shown and "FILE" not in shown else ())
    if words:
        # Shells split at spaces, and characters that cannot be typed are useless.
        action.choices = [
            w for w in words if w.isascii() and " " not in w and not w.isupper()
        ] or None
    elif "FILE" in shown:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif "FOLDER" in shown:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
