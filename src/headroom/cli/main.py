"""The program's entry point: runs a command and returns its exit code.

Exit codes: 0, 1 (failed), 2 (wrong usage), 130 (stopped by Ctrl-C).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import cast

import headroom
from headroom import terminal
from headroom.errors import Cancelled, HeadroomError, InvalidRequest
from headroom.log import log, show

PROGRAM = "acestep"
STOPPED = 130
_PAGE = "ui"  # the command that no command means
VERBOSE = ("--verbose", "-v")
Run = Callable[[Sequence[str]], int]

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "generate": ("headroom.cli.generate:run", "make a song from words, or from a recording"),
        "speech": ("headroom.cli.speech:run", "clone a voice, or edit speech"),
        "compose": ("headroom.cli.sheets:compose", "a song sheet out of a line of text"),
        "understand": ("headroom.cli.sheets:understand", "what a recording is, as a song sheet"),
        "score": ("headroom.cli.sheets:score", "how well a recording fits words"),
        "encode": ("headroom.cli.sheets:encode", "the audio codes of a recording"),
        "align": ("headroom.cli.sheets:align", "when words are sung in a recording"),
        "ui": ("headroom.cli.ui:run", "the page in a browser; what no command means"),
        "serve": ("headroom.cli.serve:run", "the service: jobs over HTTP, on every card"),
        "4gb": ("headroom.cli.four_gb:run", "page and API within 4 GB, from a menu"),
        "mcp": ("headroom.cli.mcp:run", "tools for agents: the same jobs, by the protocol MCP"),
        "profile": ("headroom.cli.profile:run", "where the time and the memory of a run go"),
        "plan": ("headroom.cli.plan:run", "what a song would take, on this card or on any"),
        "compile": ("headroom.cli.compile:run", "compile what runs often, and see if it pays"),
        "models": ("headroom.cli.main:models", "list, download and verify model folders"),
        "settings": ("headroom.cli.settings:run", "every setting, its value, where it came from"),
        "doctor": ("headroom.cli.doctor:run", "what this machine has, and what is missing"),
        "wizard": ("headroom.cli.wizard:run", "a few questions, and the command they come to"),
        "completion": ("headroom.cli.completion:run", "what a shell needs to complete commands"),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: `argv` without its name; returns the exit code. Raises only on bugs."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in arguments if word not in VERBOSE]
    quiet = words == arguments
    _forgive_old_terminals()
    with terminal.guarded():
        if words in (["-h"], ["--help"], ["help"]) or not (words or find_spec("gradio")):
            sys.stdout.write(help_text(program_name()))
            return 0
        if words[:1] in (["--version"], ["-V"]):
            sys.stdout.write(f"{program_name()} {headroom.__version__}\n")
            return 0
        if words[:1] in (["help"], ["-h"], ["--help"]):  # of a command
            words = [*words[1:], "--help"]
        elif not words or words[0].startswith("--"):
            words = [_PAGE, *words]
        return _guarded(lambda: _run(words), quiet, argv is None)


def download(argv: Sequence[str] | None = None) -> int:
    """Run `acestep-download`, with its old flags."""
    from headroom.cli.models import download_main

    _forgive_old_terminals()

    def work() -> int:
        _warn_about_settings()
        return download_main(argv)

    with terminal.guarded():
        return _guarded(work, quiet=True, alone=argv is None)


def models(words: Sequence[str]) -> int:
    """Run `acestep models …`."""
    from headroom.cli import models as command
    from headroom.cli.parser import Parser

    parser = Parser(prog=PROGRAM, allow_abbrev=False)
    command.add_parser(parser.add_subparsers(parser_class=Parser))
    return command.run(parser.parse_args(["models", *words]))


def help_text(name: str = PROGRAM) -> str:
    """The help of the program without a command, under the name it was called by."""
    width = max(map(len, COMMANDS))
    rows = "".join(f"  {word:<{width}}  {about}\n" for word, (_, about) in COMMANDS.items())
    return (
        f"usage: {name} COMMAND …\n\n{rows}\n"
        f'  {name} generate "slow bossa nova, nylon guitar" --duration 30 -o bossa.flac\n\n'
        f"`{name} help COMMAND` lists a command's flags; --verbose works with all of them.\n"
    )


def program_name() -> str:
    """The name that the program was called by: `headroom`, else `acestep`."""
    called = Path(sys.argv[0])
    name = called.parent.name if called.name == "__main__.py" else called.stem
    return "headroom" if name.startswith("headroom") else PROGRAM


def _run(words: Sequence[str]) -> int:
    run = _command(words[0])
    _warn_about_settings()
    return run(words[1:])


def _warn_about_settings() -> None:
    """Warn about settings that are not used."""
    from headroom.settings import load  # with pydantic, which `--help` does without

    with suppress(InvalidRequest):  # a bad value is reported by the command that needs it
        for sentence in load().warnings:
            log.warning(sentence)


def _command(word: str) -> Run:
    """The command a word names. Raises InvalidRequest."""
    if word not in COMMANDS:
        close = get_close_matches(word, COMMANDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InvalidRequest("command", word, ", ".join(COMMANDS) + hint)
    module, _, name = COMMANDS[word][0].partition(":")
    return cast("Run", getattr(import_module(module), name))


def _guarded(work: Callable[[], int], quiet: bool, alone: bool) -> int:
    """The exit code of `work`; expected errors become a sentence, others propagate.

    `alone`: the process ends with this work, so a repeated Ctrl-C need not disturb its end.
    """
    try:
        with _speaking(quiet):
            return work()
    except SystemExit as leaving:  # argparse's exit, after help and after an error
        return leaving.code if isinstance(leaving.code, int) else 0
    except (Cancelled, KeyboardInterrupt):
        if alone:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.write("stopped.\n")
        return STOPPED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except HeadroomError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


@contextmanager
def _speaking(quiet: bool) -> Iterator[None]:
    """Show our own log on standard error; `quiet` hides the warnings that libraries write for
    developers."""
    show("WARNING" if quiet else "DEBUG")
    root = logging.getLogger()
    if quiet and not root.handlers:
        root.addHandler(logging.NullHandler())
    with warnings.catch_warnings(action="ignore" if quiet else "default"):
        yield


def _forgive_old_terminals() -> None:
    """Print an escape for characters a terminal cannot show, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
