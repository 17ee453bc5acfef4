"""The fields of requests as controls: made from their declarations, and read back as JSON.

A field that stands as its declaration has it is not sent, so that the service decides, as for a
request from anywhere else. Bounds are shown, not enforced: the service clamps, with a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import JsonValue

from headroom.models.family import Family
from headroom.params.describe import Param, describe, groups, plain, union
from headroom.ui.drop import drop
from headroom.ui.texts import Texts
from headroom.ui.words import Words

OPEN, ON, OFF = "", "on", "off"  # the choices of a field that may be left open
_EXACT = 2**53  # beyond it a browser's numbers are not exact
Bounds = Mapping[str, Mapping[str, JsonValue]]
"""The limits of fields, as the service answers them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of requests, its control, and the tasks that have it."""

    param: Param
    control: Component | None
    tasks: frozenset[str]

    def read(self, shown: object) -> JsonValue:
        """The value that the control shows, as a request has it; None: it is not sent."""
        param = self.param
        if shown is None or shown == OPEN or shown == []:
            return None
        if param.kind is bool and param.optional:
            value: object = shown == ON
        elif param.kind in (int, float) and not isinstance(shown, str):
            value = int(shown) if param.kind is int else shown  # type: ignore[call-overload]
        elif param.kind is Path:
            names = str(shown).split()
            value = names if param.many else names[0]
        else:
            value = shown
        default = list(param.default) if isinstance(param.default, tuple) else param.default
        return None if value == default else value  # type: ignore[return-value]

    def show(self, value: JsonValue | None) -> object:
        """What the control shows for a value; for None, what it begins with."""
        param = self.param
        if value is None:
            value = None if param.optional else param.default  # type: ignore[assignment]
        if param.kind is bool:
            return value if not param.optional else OPEN if value is None else ON if value else OFF
        if param.kind is Path:
            return " ".join(map(str, value)) if isinstance(value, list) else value or OPEN
        if param.many and not param.choices:
            return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value or OPEN
        if param.many:
            return list(value or ())  # type: ignore[arg-type]
        if param.choices and param.required and value is None:
            return None  # nothing is chosen, and nothing is no choice
        if isinstance(value, float) and self.is_text:
            return plain(value)
        if param.kind is str or self.is_text:
            return OPEN if value is None else str(value)
        return value

    @property
    def has_bounds(self) -> bool:
        """Whether bounds are shown with it."""
        limit = self.param.limit
        return limit is not None and not (self.param.many or self.param.kind is str)

    @property
    def is_text(self) -> bool:
        """Whether a number is typed as text: one that may be left out, or be too large for the
        numbers of a browser."""
        return typed(self.param)


def typed(param: Param) -> bool:
    """Whether the number of a field is typed as text."""
    if param.kind not in (int, float) or param.many:
        return False
    return param.optional or (param.limit is not None and param.limit.maximum > _EXACT)


def headings(family: Family) -> dict[str, tuple[Param, ...]]:
    """Every field of every request of a family, by headings, in order."""
    return groups(union(family.requests.values()))


def tasks_of(family: Family) -> dict[str, frozenset[str]]:
    """The tasks that have each field."""
    found: dict[str, set[str]] = {}
    for task, kind in family.requests.items():
        for param in describe(kind):
            found.setdefault(param.name, set()).add(task)
    return {name: frozenset(tasks) for name, tasks in found.items()}


def control(param: Param, texts: Texts, shown: Mapping[str, Any]) -> Component:
    """The control of a field, with these properties."""

    def said(words: Words) -> Mapping[str, Any]:
        return {"label": words.label(param), "info": about(param, words)}

    def listed(words: Words) -> Mapping[str, Any]:
        return {**said(words), "choices": choices(param, words)}

    def opened(words: Words) -> Mapping[str, Any]:
        inside = words.example(param) or (words("open") if param.optional else None)
        return {**said(words), "placeholder": inside} if inside else said(words)

    more: dict[str, Any] = {"elem_id": f"field-{param.name}", **shown}
    if param.kind is Path:
        return drop(texts, said, param.many, more)
    value = Field(param, None, frozenset()).show(None)
    if param.kind is bool and not param.optional:
        return texts.made(gr.Checkbox, said, value=value, **more)
    if param.kind is bool or param.choices:
        many = {"multiselect": True} if param.many else {}
        return texts.made(gr.Dropdown, listed, value=value, **many, **more)
    if param.kind in (int, float) and not param.many and not typed(param):
        if param.kind is int:
            more["precision"] = 0
        return texts.made(gr.Number, said, value=value, step=param.knob.step or 1, **more)
    lines = param.knob.lines
    most = 4 * lines if lines > 1 else 1
    return texts.made(gr.Textbox, opened, value=value, lines=lines, max_lines=most, **more)


def choices(param: Param, words: Words) -> list[tuple[str, str]]:
    """The choices of a field with their labels; an open one first."""
    if param.kind is bool:
        named = [(words("on"), ON), (words("off"), OFF)]
    else:
        named = [(words.choice(one), one) for one in param.choices]
    return [(words("open"), OPEN), *named] if param.optional else named


def same(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices that are their own labels."""
    return [(name, name) for name in names]


def about(param: Param, words: Words, bounds: Bounds | None = None) -> str:
    """What a field is for, and its bounds: those of this machine where they are known."""
    said = words.help(param)
    limit = (bounds or {}).get(param.name) or (
        None
        if param.limit is None
        else {"minimum": param.limit.minimum, "maximum": param.limit.maximum}
    )
    if limit is None or param.many or param.kind is str or _endless(limit):
        return said
    low, high = (_number(limit[name]) for name in ("minimum", "maximum"))
    unit = f" {words.unit(param.knob.unit)}" if param.knob.unit else ""
    between = " – " if "−" in low else "–"
    return f"{said} ({low}{between}{high}{unit})" if said else f"{low}{between}{high}{unit}"


def _endless(limit: Mapping[str, JsonValue]) -> bool:
    most = limit["maximum"]
    return not isinstance(most, int | float) or most > _EXACT


def _number(value: JsonValue) -> str:
    return plain(value).replace("-", "−") if isinstance(value, int | float) else "…"


def sent(fields: Sequence[Field], task: str, shown: Sequence[object]) -> dict[str, JsonValue]:
    """The request of a task that the controls show."""
    made: dict[str, JsonValue] = {"task": task}
    for field, value in zip(fields, shown, strict=True):
        if task in field.tasks and (read := field.read(value)) is not None:
            made[field.param.name] = read
    return made
