"""A lenient parser for the song sheets a language model writes. No torch.

It goes line by line first: the model was trained on one line `name: value` per field, with
continuations indented. YAML would cut a caption at ` #`, and make a list of one in brackets. What
the lines do not give is then parsed as YAML: a mapping in braces, or JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from headroom.models.acestep.text.plain_text import unescaped

TEXTS = ("caption", "genres")  # free text, which may continue in lines that are not fields
NAMES: Mapping[str, str] = {
    "bpm": "bpm", "tempo": "bpm",
    "caption": "caption", "prompt": "caption", "description": "caption",
    "duration": "duration", "audio_duration": "duration", "length": "duration",
    "genres": "genres", "genre": "genres",
    "keyscale": "keyscale", "key_scale": "keyscale", "key": "keyscale",
    "language": "language", "vocal_language": "language", "lang": "language",
    "timesignature": "timesignature", "time_signature": "timesignature",
    "time_sig": "timesignature", "meter": "timesignature", "metre": "timesignature",
}  # fmt: skip
_LINE = re.compile(r"(?:[-*]\s+)?([*_`\"']{0,3})([^\W\d][\w \t-]{0,30}?)\1[ \t]*[:：][*_]{0,2}(.*)")
_ITEM = re.compile(r"[-*]\s+")
_BLOCK = re.compile(r"[|>][+-]?\d?")  # YAML's mark for a text on the lines below
_NOTHING = ("", "n/a", "null", "none", "~")


def fields_in(body: str) -> dict[str, str]:
    """The fields of a sheet, by their own names, as text."""
    body = "\n".join(line for line in body.splitlines() if not line.startswith("```"))
    lines, loaded = _fields(body), _yaml(body)
    read = {name: value for name, raw in lines.items() if (value := _value(raw))}
    together = {**read, **loaded} if body.lstrip().startswith("{") else {**loaded, **read}
    return {name: unescaped(value) for name, value in together.items()}


def field_of(name: str) -> str | None:
    """The field a name stands for, in any case and spacing; None: it is not the name of a field."""
    return NAMES.get(re.sub(r"[\s-]+", "_", name.strip().lower()))


def _fields(body: str) -> dict[str, list[str]]:
    """Each field's value and its continuation lines. The first of several equal names counts."""
    fields: dict[str, list[str]] = {}
    open_lines: list[str] | None = None
    free = False  # whether a line that is not indented may continue the field
    for line in body.splitlines():
        if line.startswith("<"):  # a special token; in an indented line it is text
            continue
        start = None if line[:1] in (" ", "\t") and fields else _LINE.fullmatch(line.strip())
        name = field_of(start[2]) if start is not None else None
        if start is not None and name is not None:
            lines = [start[3].strip()]
            open_lines = fields.setdefault(name, lines)
            if open_lines is not lines:
                open_lines = None
            free = name in TEXTS
        elif start is not None and not (free and " " in start[2]) and not _ITEM.match(line):
            open_lines = None  # an unknown field
        elif open_lines is not None and (free or not line.strip() or line[:1] in (" ", "\t")):
            open_lines.append(line)
    return fields


def _value(lines: list[str]) -> str:
    """A value without quotes, on one line; a list as its items with commas; empty for no value."""
    first, rest = lines[0], lines[1:]
    if " ".join(lines).strip().lower() in _NOTHING:
        return ""
    if first[:1] in ("'", '"'):
        scalar = _scalar("\n".join(lines).rstrip())
        return " ".join(lines) if scalar is None else scalar
    if _BLOCK.fullmatch(first):
        first = ""
    items = [line.strip() for line in rest if line.strip()]
    if not first and items and all(_ITEM.match(item) for item in items):
        return ", ".join(_unquoted(_ITEM.sub("", item, count=1)) for item in items)
    return " ".join([first, *items]).strip()


def _unquoted(text: str) -> str:
    scalar = _scalar(text) if text[:1] in ("'", '"') else None
    return text if scalar is None else scalar


def _scalar(text: str) -> str | None:
    """The content of YAML quotes; None if the quotes do not enclose the whole text."""
    try:
        value = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _yaml(body: str) -> dict[str, str]:
    """The fields as YAML parses them, if they are text there or a list of texts."""
    if not body.lstrip().startswith(("{", "[", "-", "?")):
        return {}
    if body.lstrip().startswith("{"):
        body = body[: body.rfind("}") + 1]
    try:
        value = yaml.load(body, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    fields: dict[str, str] = {}
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and item.strip().lower() in _NOTHING:
            continue
        field = field_of(name) if isinstance(name, str) else None
        text = ", ".join(item) if _is_texts(item) else item
        if field is not None and isinstance(text, str):
            fields.setdefault(field, text)
    return fields


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
