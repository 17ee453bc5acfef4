"""`acestep completion SHELL`: prints a script for completing commands, flags and values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import shtab

from headroom.cli import compile as compile_command
from headroom.cli import (
    doctor,
    four_gb,
    generate,
    mcp,
    models,
    plan,
    profile,
    serve,
    settings,
    sheet_flags,
    speech,
    ui,
    wizard,
)
from headroom.cli.parser import Parser
from headroom.errors import InvalidRequest
from headroom.models.family import Family
from headroom.models.registry import USUAL, family_named
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
    parser = Parser(
        "acestep completion",
        description="Print a script that lets a shell complete what is typed.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", nargs="?", metavar="|".join(SHELLS), help="the shell")
    parser.add_argument("--family", default=USUAL, metavar="NAME", help="family of models")
    return parser


# The commands' own parsers; `models` has subcommands and adds itself.
PARSERS: Mapping[str, Callable[[Family], Parser] | None] = MappingProxyType(
    {
        "generate": generate.whole_parser,
        "speech": lambda family: generate.whole_parser(speech.speaking_family()),
        "compose": lambda family: sheet_flags.parser(sheet_flags.COMPOSE),
        "understand": lambda family: sheet_flags.parser(sheet_flags.UNDERSTAND),
        "score": lambda family: sheet_flags.parser(sheet_flags.SCORE),
        "encode": lambda family: sheet_flags.parser(sheet_flags.ENCODE),
        "align": lambda family: sheet_flags.parser(sheet_flags.ALIGN),
        "serve": lambda family: serve.parser(),
        "ui": lambda family: ui.parser(),
        "4gb": lambda family: four_gb.parser(),
        "mcp": lambda family: mcp.parser(),
        "profile": profile.whole_parser,
        "plan": plan.parser,
        "compile": lambda family: compile_command.parser(),
        "models": None,
        "settings": lambda family: settings.parser(),
        "doctor": lambda family: doctor.parser(),
        "wizard": lambda family: wizard.parser(),
        "completion": lambda family: parser(),
    }
)


def run(words: Sequence[str]) -> int:
    """Run `acestep completion SHELL`; returns the exit code. Raises InvalidRequest."""
    from headroom.cli.main import program_name

    args = parser().parse_args(words)
    shell, family = args.shell, family_named(args.family)
    if shell not in SHELLS:
        raise InvalidRequest("shell", shell or "", "one of " + ", ".join(SHELLS))
    sys.stdout.write(shtab.complete(whole(program_name(), family), shell) + "\n")
    return 0


def whole(name: str, family: Family | None = None) -> Parser:
    """A parser of the whole program with all its commands, and the possible values of each flag,
    for the default family unless one is given.
    """
    from headroom.cli.main import COMMANDS

    family = family or family_named()

    parser = Parser(name)
    parser.add_argument("-V", "--version", action="store_true", help="the version")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    commands: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
        dest="command", parser_class=Parser
    )
    for command, (_, about) in COMMANDS.items():
        build = PARSERS[command]
        if build is None:
            models.add_parser(commands)
        else:
            commands.add_parser(command, help=about, parents=[build(family)], add_help=False)
    choices = {param.name: param.choices for param in union(family.requests.values())}
    _add_values(parser, choices)
    return parser


def _add_values(parser: argparse.ArgumentParser, choices: Mapping[str, Sequence[str]]) -> None:
    """Set the possible values of each flag: words, a file, a folder."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _add_values(below, choices)
        elif action.nargs != 0 and action.choices is None:
            _add_value(action, choices.get(action.dest, ()))


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
