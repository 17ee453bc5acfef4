"""The profiler's flags as tables, from its parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from docs.words import Words, table
from headroom.cli import profile
from headroom.cli.profile import FIELDS, FLAGS, SHOWN
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.models.acestep.catalogue import USUAL_LM
from headroom.models.acestep.requests import examples
from headroom.models.acestep.requests.songs import TASKS
from headroom.params.describe import TASK, Param, plain, union
from headroom.profiler import matrix
from headroom.profiler.options import MODES, QUERY, TIER_SECONDS, TIERS, Mode, Options
from headroom.settings import AUTO, Settings, settings_of

# Older spellings that are shown: the published guide has them.
OLDER = {
    "--task": "--task-type",
    "--source": "--src-audio",
}
OPEN = re.compile(r" \(left open: (.*)\)$")
LISTED = re.compile(r" \([\d. ]+\)$")
TEXTS = ("caption", "lyrics")  # of the example; too long for a cell


@dataclass(frozen=True, slots=True)
class Row:
    """A flag. `default` and `help` in English; a default in `code` is the same everywhere."""

    group: str
    flags: tuple[str, ...]
    values: tuple[str, ...]
    limits: tuple[str, str]
    default: tuple[str, str]
    help: str
    modes: tuple[Mode, ...]


def tables_of_flags(say: Words) -> str:
    """A table for each group of flags, under its heading."""
    head = [say(word) for word in ("Flag", "Values", "Default", "What it does", "Modes")]
    found: dict[str, list[list[str]]] = {}
    for row in rows():
        found.setdefault(row.group, []).append(_cells(row, say))
    return "\n\n".join(
        f"### {say(group)}\n\n{table(head, cells)}" for group, cells in found.items()
    )


def table_of_axes(say: Words) -> str:
    """What a benchmark goes through, and the flag that says one value instead."""
    axes = {
        "Length, s": (matrix.DURATIONS, "--duration"),
        "Songs at once": (matrix.BATCHES, "--batch-size"),
        "Language model": (matrix.WITH_AND_WITHOUT, "--thinking"),
        "Steps": (matrix.STEPS, "--inference-steps"),
    }
    cells = []
    for name, (values, flag) in axes.items():
        shown = [say("on" if v else "off") if isinstance(v, bool) else f"{v:g}" for v in values]
        cells.append([say(name), ", ".join(shown), f"`{flag}`"])
    return table([say("Axis"), say("Values"), say("One value of your own")], cells)


@cache
def rows() -> tuple[Row, ...]:
    """Every flag that is shown, in the order of the parser."""
    first = ("Profiling", "Input")
    return tuple(
        sorted(_rows(), key=lambda row: first.index(row.group) if row.group in first else 9)
    )


def _rows() -> Iterator[Row]:
    params = {p.name: p for p in union(TASKS.values()) if p.name not in profile._OWN}
    shown = frozenset(SHOWN).union(*FIELDS.values())
    parser = profile._parser(tuple(params.values()))
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.help == argparse.SUPPRESS or action.dest == "help":
                continue
            if action.dest == TASK:
                yield _row("Input", action, None, parser)
            elif action.dest not in params or action.dest in shown:
                yield _row(str(group.title), action, params.get(action.dest), parser)


def _row(
    group: str,
    action: argparse.Action,
    param: Param | None,
    parser: argparse.ArgumentParser,
) -> Row:
    flags = tuple(action.option_strings)
    older = OLDER.get(flags[0])
    if older is not None:
        if older not in parser._option_string_actions:
            raise ValueError(f"{older} is no flag any more")
        flags += (older,)
    values = tuple(str(action.metavar).split("|")) if action.metavar else ()
    if action.nargs == "+":
        values = tuple(f"{value} …" for value in values)
    if param is None:
        words = LISTED.sub("", OPEN.sub("", str(action.help)))
        return Row(group, flags, values, ("", ""), _default(action), words, _modes(action.dest))
    modes = tuple(
        mode for mode in MODES if mode not in FIELDS or action.dest in FIELDS[mode]
    )  # fmt: skip
    limits = _limits(param)
    return Row(group, flags, values, limits, _default_of(param), param.knob.help, modes)


def _modes(name: str) -> tuple[Mode, ...]:
    if name == TASK:
        return tuple(mode for mode in MODES if mode not in FIELDS)
    found = FLAGS.get(name, MODES)
    return tuple(m for m in found if m != "tier-test" or name not in profile._OF_TIER)


def _limits(param: Param) -> tuple[str, str]:
    """Smallest to largest, and the unit."""
    limit = param.limit
    if limit is None or param.many or param.kind not in (int, float) or limit.most is not None:
        return "", ""
    return f"{plain(limit.minimum)}–{plain(limit.maximum)}", param.knob.unit


def _default(action: argparse.Action) -> tuple[str, str]:
    """What holds without a flag of the program: as it is typed, and in words."""
    known = {
        "benchmark_output": ("", "none"),
        "plot": ("", "none"),
        "example": (examples.USUAL, ""),
        "sample_query": (QUERY, ""),
        "audio_codes": ("", "those of a song that is thought out first"),
        "tiers": (" ".join(f"{size:g}" for size in TIERS), ""),
        "tier_duration": (f"{TIER_SECONDS:g}", ""),
        "lm_model": (USUAL_LM, "{} where it is installed, else as the policy says"),
        TASK: (str(next(iter(TASKS))), ""),
    }
    if action.dest in known:
        return known[action.dest]
    open_ = OPEN.search(str(action.help))
    if open_ is not None:
        return (AUTO, "") if open_[1] == AUTO else ("", open_[1])
    if action.default is False:
        return "", "off"
    if action.default is not None:
        return str(action.default), ""
    options = settings_of(EngineOptions).values()
    option = next(option for option in options if option.dest == action.dest)
    if option.left_open:  # an older name, whose help does not say it
        return "", option.left_open
    return ("", "off") if option.default is False else (option.usual, "")


def _default_of(param: Param) -> tuple[str, str]:
    """What holds without a flag of a request: what the profiler asks for by itself."""
    options = Options(Opening(Settings()))
    value = getattr(options.request(True), param.name, None)
    if param.name == "thinking":
        value = options.request().thinking
    told = examples.fields(options.example or examples.USUAL)
    if param.name in told and param.name != "thinking":
        shown = "" if param.name in TEXTS else _typed(param, value)
        return shown, "{}, the example's" if shown else "the example's"
    if isinstance(value, bool):
        return "", "on" if value else "off"
    if value is None and param.optional:
        return "", param.left_open
    if value in (None, (), ""):
        return "", "none"
    return _typed(param, value), ""


def _typed(param: Param, value: object) -> str:
    """A value as it is written on the command line."""
    return param.shown(value).removesuffix(f" {param.knob.unit}")


def _cells(row: Row, say: Words) -> list[str]:
    range_, unit = row.limits
    typed, words = row.default
    shown = f"`{typed}`" if typed else ""
    default = say(words).format(shown) if words else shown
    values = ", ".join(f"`{value}`" for value in row.values)
    if range_:
        values = " ".join(filter(None, (values, range_, _unit(unit, say))))
    same = row.help.startswith("--")
    told = say("The same as {}.").format(f"`{row.help}`") if same else _sentence(say(row.help))
    return [
        ", ".join(f"`{flag}`" for flag in row.flags),
        values,
        default,
        told,
        _told(row.modes, say),
    ]


def _told(modes: tuple[Mode, ...], say: Words) -> str:
    others = [f"`{mode}`" for mode in MODES if mode not in modes]
    if len(others) > 1:
        return ", ".join(f"`{mode}`" for mode in modes)
    return say("all but {}").format(others[0]) if others else say("all")


def _unit(unit: str, say: Words) -> str:
    return unit if unit in ("", "s") else say(unit)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
