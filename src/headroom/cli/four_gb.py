"""`acestep 4gb`: the page, the API or both within 4 GB, and a test of the settings, from a menu.

It writes the `.env` of the mode into a folder that has none. What neither the environment nor
`.env` sets is as the mode has it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.serve import Flags, add_settings, page, serve, with_flags
from headroom.engine.options import EngineOptions
from headroom.errors import Cancelled, InvalidOutput, InvalidRequest
from headroom.log import log
from headroom.settings import FOUR_GB, MODE, Settings, load, write_env

FLAGS: Flags = MappingProxyType(
    {
        "service_host": ("host", "ADDRESS"),
        "ui_port": ("page-port", "NUMBER"),
        "service_port": ("port", "NUMBER"),
        "ui_language": ("language", "LANGUAGE"),
    }
)
PAGE, API, BOTH, TEST = CHOICES = ("page", "api", "both", "test")
_MENU = """headroom in the 4 GB mode

  1  the page         http://{host}:{page}
  2  the API          http://{host}:{api}
  3  both
  4  a test of the memory settings

"""
_QUESTION = f"1 to {len(CHOICES)}, or q to quit: "
_QUIT = ("q", "quit", "0")
_WRITTEN = ".env was written, with the settings of the 4 GB mode.\n"


def parser() -> Parser:
    """The flags of `acestep 4gb`."""
    about = "Serve within the limits of the 4 GB mode. Without a choice it shows a menu."
    made = Parser("acestep 4gb", description=about, allow_abbrev=False)
    made.add_argument("choice", nargs="?", metavar="|".join(CHOICES), help="or its number, from 1")
    group = made.add_argument_group("Service")
    add_settings(group, FLAGS)
    add_engine_flags(made)
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep 4gb …`; the exit code: 1 if the test finds no plan. Raises HeadroomError."""
    args = parser().parse_args(spelt(words))
    options = engine_flags(args)
    choice = None if args.choice is None else _chosen(args.choice)
    if args.choice is not None and choice is None:
        allowed = f"one of {', '.join(CHOICES)}, or a number from 1 to {len(CHOICES)}"
        raise InvalidRequest("choice", args.choice, allowed)
    _write_env()
    settings = with_flags(load(mode=(MODE, FOUR_GB)).under(options), FLAGS, args)
    if choice is None:
        choice = _asked(settings)
    if choice is None:
        return 0
    return _carry_out(choice, settings, options)


def _write_env() -> None:
    try:
        written = write_env(Path())
    except InvalidOutput as error:  # the mode holds without it
        log.warning("%s", error)
        return
    if written:
        sys.stdout.write(_WRITTEN)


def menu(settings: Settings) -> str:
    """The choices, with the addresses at which they serve."""
    return _MENU.format(
        host=settings.service_host, page=settings.ui_port, api=settings.service_port
    )


def _asked(settings: Settings) -> str | None:
    """The choice made in the menu; None: to quit. Raises Cancelled where nobody answers."""
    sys.stdout.write(menu(settings))
    while True:
        sys.stdout.write(_QUESTION)
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stdout.write("\n")
            raise Cancelled("nothing was chosen")
        if line.strip().lower() in _QUIT:
            return None
        choice = _chosen(line)
        if choice is not None:
            return choice


def _chosen(text: str) -> str | None:
    """The choice that a number or a word stands for."""
    word = text.strip().lower()
    numbers = {str(number): choice for number, choice in enumerate(CHOICES, 1)}
    return word if word in CHOICES else numbers.get(word)


def _carry_out(choice: str, settings: Settings, options: EngineOptions) -> int:
    if choice == TEST:
        from headroom.cli.memory_test import tested

        return tested(settings, options)
    from headroom.service.config import from_settings  # with what the extra `ui` brings

    config = from_settings(settings, options.family)
    if choice == PAGE:
        config = replace(config, page=page(), port=settings.ui_port)
    elif choice == BOTH:
        config = replace(config, page=page(), page_port=settings.ui_port)
    return serve(config, options)
