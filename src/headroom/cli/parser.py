"""The base of the commands' parsers: one-line errors, spellings, and the engine's flags."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from headroom import paths
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest, UnreadableFile, one_line
from headroom.params.flags import is_basic, mark_basic
from headroom.settings import GROUP, Setting, settings_of
from headroom.settings.declaration import FOLDER, MAYBE, NAME

_LONG = 400  # characters above which the short help shortens a flag's help
_MESSAGE = 600  # characters of an argparse message, including the arguments it quotes
_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line on standard error and exit code 2.

    In two layers (`in_layers`) its `--help` lists the flags that most people need, and `--help-all`
    every flag.
    """

    _brief = False

    def in_layers(self) -> None:
        """Make `--help` list the flags marked as basic, and `--help-all` all flags."""
        self._brief = True
        mark_basic(self.add_argument("--help-all", action=_HelpAll, help="list every flag"))

    def whole_help(self) -> str:
        """The help with every flag."""
        return super().format_help()

    def format_help(self) -> str:
        """The help that `--help` prints."""
        if not self._brief:
            return self.whole_help()
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        words = [action.help for action in shown]
        later = [a for a in shown if not (is_basic(a) or a.dest == "help")]
        try:
            for action in shown:
                action.help = argparse.SUPPRESS if action in later else _short(action.help or "")
            text = self.whole_help()
        finally:
            for action, said in zip(shown, words, strict=True):
                action.help = said
        return f"{text}\n`{self.prog} --help-all` lists {len(later)} more flags.\n"

    def unknown(self, word: str) -> InvalidRequest:
        """The error for an argument that matches no flag, with the nearest flag."""
        flag, _, value = word.partition("=")
        actions = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [name for action in actions for name in action.option_strings]
        close = get_close_matches(flag, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        where = f"{self.prog} --help{'-all' if self._brief else ''}"
        return InvalidRequest(flag, value or word, f"the flags `{where}` lists{hint}")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and where the flags are listed."""
        said = one_line(message, _MESSAGE)
        sys.stderr.write(f"error: {said}; `{self.prog} --help` lists the flags.\n")
        raise SystemExit(2)


def _short(words: str) -> str:
    """A flag's help, with only the first few of very many choices."""
    if len(words) < _LONG:
        return words
    return re.sub(r"\[one of: ((?:[^,\]]+, ){3})[^\]]*\]", r"[one of: \1…]", words)


class _HelpAll(argparse.Action):
    """Print the help with every flag, and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        more.update(nargs=0, default=argparse.SUPPRESS)
        super().__init__(option_strings, "help", **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and exit."""
        if isinstance(parser, Parser):
            sys.stdout.write(parser.whole_help())
        parser.exit()


def spelt(words: Sequence[str]) -> list[str]:
    """Normalize flags to hyphens, and join negative values to their flags.

    argparse would take `-1e3`, `-inf` and `-1,2` for flags.
    """
    found: list[str] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word.partition("=")
            found.append(name.replace("_", "-") + equals + value)
        elif _NEGATIVE.match(word) and found and _is_open_flag(found[-1]):
            found[-1] += "=" + word
        else:
            found.append(word)
    return found


def _is_open_flag(word: str) -> bool:
    return word.startswith("--") and len(word) > 2 and "=" not in word


def add_engine_flags(parser: argparse.ArgumentParser, older_shown: bool = False) -> None:
    """Add the flags of every command that runs a model; `older_shown`: the help also lists
    ACE-Step's names for some of them."""
    group = parser.add_argument_group(GROUP)
    for option in settings_of(EngineOptions).values():
        action = group.add_argument(_spelt(option.dest), *_same(option), **_form(option))
        if option.basic:
            mark_basic(action)
    _add_older_flags(parser, older_shown)


def _spelt(name: str) -> str:
    return "--" + name.replace("_", "-")


def _same(option: Setting) -> Iterable[str]:
    """The older names of a switch; those of other flags have a group of their own."""
    return () if option.metavar else map(_spelt, option.old)


def _form(option: Setting) -> dict[str, Any]:
    """How argparse reads a flag, and its help."""
    words = f"{option.help} (left open: {option.left_open})" if option.left_open else option.help
    if not option.metavar:
        return {"action": argparse.BooleanOptionalAction, "default": None, "help": words}
    bare = {"nargs": "?", "const": option.bare} if option.bare else {}
    return {"metavar": option.metavar, "help": words, **bare}


def _add_older_flags(parser: argparse.ArgumentParser, shown: bool) -> None:
    group = parser.add_argument_group(f"{GROUP}, as they were called")
    named = [one for one in settings_of(EngineOptions).values() if one.metavar and one.old]
    for option in sorted(named, key=lambda option: bool(option.bare)):
        words = _spelt(option.dest) if shown and option.field != "lm_model" else argparse.SUPPRESS
        for old in map(_spelt, option.old):
            if option.bare:
                group.add_argument(
                    old, dest=option.dest, action="store_const", const=option.bare, help=words
                )
            else:
                group.add_argument(old, dest=option.dest, metavar=option.metavar, help=words)


def engine_flags(args: argparse.Namespace) -> EngineOptions:
    """Read these flags. Raises InvalidRequest for errors that can be found without torch."""
    options = settings_of(EngineOptions)
    words = {name: getattr(args, one.dest) for name, one in options.items()}
    said = {name: _read(options[name], word) for name, word in words.items() if word is not None}
    return EngineOptions.model_validate(said)


def _read(option: Setting, text: str | bool) -> object:
    """The value of an option from its text on the command line; a switch already has its value."""
    if isinstance(text, bool):
        return text
    if option.takes is FOLDER:
        return _folder(option.field, text)
    if text == "" and option.takes is NAME:
        return None
    try:
        return option.takes.read(text)
    except ValueError as error:
        allowed = "auto, on or off" if option.takes is MAYBE else option.takes.allowed
        raise InvalidRequest(option.field, text, allowed) from error


def _folder(name: str, text: str) -> Path:
    folder = paths.expanded(text, name)
    if not paths.is_dir(folder):
        why = "is not a folder" if paths.exists(folder) else "is not there"
        raise UnreadableFile(name, text, why, "a folder that is there")
    return folder
