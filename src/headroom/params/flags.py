"""Command-line flags generated from request parameters, and requests built from flags.

An absent flag leaves the field's default in force. This module knows no types, limits or defaults:
words are passed to the request as written, and the request validates them. Old spellings are
accepted but not shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from headroom import paths
from headroom.errors import InvalidFile, InvalidRequest, UnreadableFile
from headroom.files import read_text
from headroom.params.describe import TASK, Param, describe, groups
from headroom.params.read import Family, validate
from headroom.params.request import Request

NO_FAMILY: Family = MappingProxyType({})
R = TypeVar("R", bound=Request)
_TASK_FLAGS = ("--task_type", "--task-type")
_EXACT = 2**53  # below it a float that is whole equals its int exactly
_SHOWN = 8  # most choices shown beside a flag; longer lists go after its help text
_BASIC = "basic"  # attribute that marks the actions of basic flags


def add_flags(
    parser: argparse.ArgumentParser,
    params: Sequence[Param],
    family: Family = NO_FAMILY,
    shown: bool = True,
) -> None:
    """Add one flag per parameter, under its group's heading; without `shown`, hidden in the help.

    Pass `describe(model)`. For a command that accepts any request of a family, pass
    `union(family.values())` and the family: this adds `--task`, and the help of a flag that only
    some tasks have names those tasks.
    """
    if family:
        words = "|".join(family)
        mark_basic(
            parser.add_argument(
                "--task", default=argparse.SUPPRESS, metavar=words, help="What to do."
            )
        )
        parser.add_argument(
            *_TASK_FLAGS, dest=TASK, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    for title, members in groups(params).items():
        group = parser.add_argument_group(title)
        for param in members:
            words = caption(param, _only(family, param)) if shown else argparse.SUPPRESS
            _add(group, param, words)


def given(namespace: argparse.Namespace, params: Iterable[Param]) -> dict[str, object]:
    """The values given for these parameters (and the task), keyed by the spelling that was used.

    `@FILE` is replaced by the text of the file if the parameter allows it; `@@` stands for a
    literal `@`. Raises InvalidRequest for a file that cannot be read as UTF-8.
    """
    said = vars(namespace)
    found = {TASK: said[TASK]} if TASK in said else {}
    for param in params:
        for name in _names(param):
            if name in said:
                value = said[name]
                is_text = param.knob.file and isinstance(value, str)
                found[name] = text_of(name, value) if is_text else value
        found |= {old: said[old] for old, _ in param.knob.old_switches if old in said}
    return found


def parse(model: type[R], argv: Sequence[str], params: Sequence[Param] = ()) -> R:
    """The request given by flags. `params` are shown in the help instead of the model's own.

    Raises InvalidRequest for an unknown flag, naming the closest known one, and for a bad value.
    """
    shown = params or describe(model)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, shown)
    namespace, rest = parser.parse_known_args(list(argv))
    if rest:
        raise unknown_flag(rest[0], shown)
    return validate(model, given(namespace, shown))


def unknown_flag(word: str, params: Iterable[Param]) -> InvalidRequest:
    """The error for a word on the command line that matches no parameter."""
    flag, _, value = word.partition("=")
    known = [f"--{param.flag}" for param in params]
    close = get_close_matches(flag, known, n=1, cutoff=0.6)
    allowed = f"a known flag (did you mean {close[0]}?)" if close else "the flags --help lists"
    return InvalidRequest(flag, value or word, allowed)


def argv_of(request: Request) -> list[str]:
    """The flags that reproduce this request, including the task; defaults are omitted."""
    words = [f"--task={task}"] if (task := getattr(request, TASK, None)) else []
    for param in describe(type(request)):
        value = getattr(request, param.name)
        if value != param.default or param.required:
            words += _words(param, value)
    return words


def _words(param: Param, value: object) -> list[str]:
    flag = f"--{param.flag}"
    if isinstance(value, bool):
        return [flag if value else f"--{param.off}"]
    if isinstance(value, tuple):
        if not param.split:
            return [f"{flag}={item}" for item in value]
        return [f"{flag}={param.split[0].join(str(item) for item in value)}"]
    exact = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    text = str(int(value) if exact and isinstance(value, float) else value)
    return [f"{flag}=@{text}" if param.knob.file and text.startswith("@") else f"{flag}={text}"]


def _only(family: Family, param: Param) -> str:
    """The tasks of a family that have a parameter; empty if all of them have it."""
    tasks = [task for task, model in family.items() if param.name in model.model_fields]
    return "" if len(tasks) == len(family) else ", ".join(tasks)


def _add(group: argparse._ArgumentGroup, param: Param, words: str) -> None:
    flags = {param.name: [f"--{param.flag}"]}
    if param.kind is bool:
        flags[param.name].append(f"--{param.off}")
    shown = set(flags[param.name])
    hidden = {name: sorted(_spellings(param, name) - shown) for name in _names(param)}
    _argument(group, flags[param.name], param.name, param, words)
    for name, others in hidden.items():
        if others:
            _argument(group, others, name, param, argparse.SUPPRESS)
    for old, _ in param.knob.old_switches:
        group.add_argument(
            *sorted({*_hyphens(old), *_hyphens(f"no_{old}")}), dest=old, action=Switch,
            default=argparse.SUPPRESS, help=argparse.SUPPRESS,
        )  # fmt: skip


def _argument(
    group: argparse._ArgumentGroup, flags: Sequence[str], name: str, param: Param, words: str
) -> None:
    add: Callable[..., argparse.Action] = group.add_argument
    action: str | type[argparse.Action] = "store"
    if param.kind is bool:
        action = Switch
    elif param.many and not param.split:
        action = "append"
    more = {} if param.kind is bool else {"metavar": _metavar(param)}
    made = add(*flags, dest=name, action=action, default=argparse.SUPPRESS, help=words, **more)
    if param.knob.basic:
        mark_basic(made)


class Switch(argparse.Action):
    """A flag without a value: it means yes, or no if it begins with `--no-`."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Store the value in the namespace."""
        setattr(namespace, self.dest, not str(option_string).startswith(("--no-", "--no_")))


def mark_basic(*actions: argparse.Action) -> None:
    """Mark flags as basic, that is, needed by most users."""
    for action in actions:
        setattr(action, _BASIC, True)


def is_basic(action: argparse.Action) -> bool:
    """Whether a flag is marked as basic."""
    return getattr(action, _BASIC, False)


def _names(param: Param) -> tuple[str, ...]:
    return (param.name, *param.knob.old)


def _spellings(param: Param, name: str) -> set[str]:
    found = set(_hyphens(name))
    return found | set(_hyphens(f"no_{name}")) if param.kind is bool else found


def _hyphens(name: str) -> tuple[str, str]:
    return f"--{name}", f"--{name.replace('_', '-')}"


def caption(param: Param, only: str = "") -> str:
    """The help text of a flag: its effect, its limits, its default, and the tasks that have it."""
    parts = [param.knob.help]
    limit = param.limit
    if limit is not None and param.kind is str:
        parts.append(f"[up to {param.shown(limit.maximum)} characters]")
    elif limit is not None and not param.many and limit.most is None:
        unit = f" {param.knob.unit}" if param.knob.unit else ""
        parts.append(
            f"[{param.shown(limit.minimum).removesuffix(unit)}..{param.shown(limit.maximum)}]"
        )
    if len(param.choices) > _SHOWN:
        typed = [word for word in param.choices if word.isascii()]
        parts.append(f"[one of: {', '.join(typed or param.choices)}]")
    if param.required:
        parts.append("(needed)")
    elif param.optional:
        parts.append(f"(left open: {param.left_open})")
    elif param.default not in ("", ()):
        parts.append(f"(default: {param.shown(param.default)})")
    if only:
        parts.append(f"(only: {only})")
    return " ".join(parts).replace("%", "%%")


def _metavar(param: Param) -> str:
    if param.choices:
        word = "|".join(param.choices) if len(param.choices) <= _SHOWN else "WORD"
    elif param.kind is Path:
        word = "FILE"
    elif param.kind is str:
        word = "TEXT|@FILE" if param.knob.file else "TEXT"
    else:
        word = {"s": "S", "dB": "DB"}.get(param.knob.unit, "N" if param.kind is int else "X")
    return f"{word}{param.split[0]}…" if param.many and param.split else word


def text_of(name: str, value: str) -> str:
    """The value of a flag: the text of the file for `@FILE`, a literal `@` for `@@`, else the word.

    Raises InvalidRequest for a file that cannot be read as UTF-8 text of at most 1 MiB.
    """
    if not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    try:
        return read_text(paths.expanded(value[1:], name))
    except InvalidFile as error:
        allowed = "text, or @ and a file of UTF-8 text"
        raise UnreadableFile(name, value, error.why, allowed) from error
