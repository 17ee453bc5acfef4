"""Every text of the page, by key and language; notes and errors of the service by their codes.

A table of a language is `locales/<language>.json`. What the declarations of requests say in English
is not repeated there in English: their help, and the texts of notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import JsonValue

from headroom.files import parse_json
from headroom.params.describe import Param
from headroom.settings import Settings
from headroom.settings.serving import LANGUAGES

LOCALES = Path(__file__).parent / "locales"
SOURCE = "en"
RIGHT_TO_LEFT = ("he",)
Table = Mapping[str, Mapping[str, str]]
_ASKED = re.compile(r"([a-z]{2,3})(?:-[\w-]+)?(?:\s*;\s*q=([\d.]+))?", re.IGNORECASE)


@cache
def table(language: str) -> Table:
    """The texts of a language, by section and key."""
    read = parse_json((LOCALES / f"{language}.json").read_bytes())
    assert isinstance(read, dict)
    return read


@dataclass(frozen=True, slots=True)
class Words:
    """The texts in one language."""

    language: str = SOURCE

    @classmethod
    def of(cls, language: object) -> Words:
        """Those of a language by its code; of an unknown one, the English ones."""
        return cls(str(language) if language in LANGUAGES else SOURCE)

    @classmethod
    def wanted(cls, header: str | None, settings: Settings) -> Words:
        """Those of the language that a browser prefers, or that the settings name."""
        asked = [(float(q or 1), name.lower()) for name, q in _ASKED.findall(header or "")]
        for _, name in sorted(asked, key=lambda one: -one[0]):
            if name in LANGUAGES:
                return cls(name)
        return cls.of(settings.ui_language)

    @property
    def direction(self) -> str:
        return "rtl" if self.language in RIGHT_TO_LEFT else "ltr"

    def isolated(self, text: str) -> str:
        """A figure with its unit, kept in its order among words that run from the right."""
        return f"\u2066{text}\u2069" if self.direction == "rtl" else text

    def find(self, section: str, key: str) -> str | None:
        """The text under a key, in this language or in English; None: there is none."""
        return table(self.language).get(section, {}).get(key) or table(SOURCE).get(section, {}).get(
            key
        )

    def __call__(self, key: str, /, section: str = "ui", **values: object) -> str:
        """The text under a key. Raises KeyError for an unknown one."""
        text = self.find(section, key)
        if text is None:
            raise KeyError(f"{section}.{key}")
        return text.format_map(values) if values else text

    def label(self, param: Param) -> str:
        """The name of a field, as its label."""
        return self.field(param.name)

    def field(self, name: str) -> str:
        """The same by the field's name."""
        found = self.find("params", name) or self.find("settings", name)
        return found or name.replace("_", " ").capitalize()

    def help(self, param: Param) -> str:
        """What a field is for; nothing where its name or an example says as much."""
        said = table(self.language).get("help", {}).get(param.name) or param.knob.help
        return "" if self.example(param) or _plain(said) == _plain(self.label(param)) else said

    def example(self, param: Param) -> str | None:
        """What might stand in a field."""
        return self.find("examples", param.name)

    def group(self, name: str) -> str:
        """A heading of fields."""
        return self.find("groups", name) or name

    def task(self, name: str) -> str:
        """A task, as people call it."""
        return self.find("tasks", name) or name.replace("_", " ").capitalize()

    def task_help(self, name: str) -> str:
        """What a task does."""
        return self.find("task_help", name) or ""

    def tier(self, name: str) -> str:
        """A tier, by the name in its table."""
        number = name.removeprefix("tier")
        return self("tier_unlimited") if number == name else self("tier_number", number=number)

    def component(self, name: str) -> str:
        """A part of a model, by its name in plans."""
        return self.find("components", name) or name

    def unit(self, name: str) -> str:
        """The unit of a field."""
        return self.find("units", name) or name

    def choice(self, value: str) -> str:
        """A choice of a field."""
        return self.find("choices", value) or value

    def reason(self, code: str, values: Mapping[str, JsonValue], text: str) -> str:
        """A reason by its code; one that the table lacks as the service has written it."""
        if code == "several" and isinstance(given := values.get("reasons"), list):
            return "; ".join(str(self._nested(one)) for one in given)
        template = table(self.language).get("reasons", {}).get(code)
        if template is None:
            return text
        try:
            return template.format_map({name: self._nested(v) for name, v in values.items()})
        except (KeyError, ValueError, IndexError):  # a value in another form than it used to have
            return text

    def note(self, note: Mapping[str, JsonValue]) -> str:
        """A note of the service as a sentence."""
        why = self.reason(str(note["code"]), _object(note["values"]), str(note["why"]))
        key = "note_unused" if note["used"] is None else "note_used"
        field = self.field(str(note["field"]))
        used, asked = self.value(note["used"]), self.value(note["asked"])
        return self(key, field=field, asked=asked, used=used, why=why)

    def error(self, form: Mapping[str, JsonValue]) -> str:
        """An error of the service as a sentence."""
        code, values = str(form.get("code", "")), _object(form.get("values"))
        text = str(form.get("message", code))
        if code == "invalid_request" and values.get("value", "") is None:
            return self("field_needed", field=self.field(str(values.get("field"))))
        template = table(self.language).get("errors", {}).get(code)
        if template is None or self.language == SOURCE:
            return text
        said = {name: self._nested(value) for name, value in values.items()}
        if "field" in said:
            said["field"] = self.field(str(said["field"]))
        try:
            return template.format_map(said)
        except (KeyError, ValueError, IndexError):
            return text

    def value(self, value: JsonValue) -> str:
        """A value as people read it."""
        if isinstance(value, bool):
            return self("on" if value else "off")
        if isinstance(value, float):
            return f"{value:g}"
        text = self.find("values", str(value)) or str(value)
        return text if len(text) <= 60 else text[:59] + "…"

    def _nested(self, value: JsonValue) -> object:
        if isinstance(value, dict) and set(value) == {"code", "values", "text"}:
            return self.reason(str(value["code"]), _object(value["values"]), str(value["text"]))
        return value


def _plain(text: str) -> str:
    """A text as it is compared: without marks at its ends and without capitals."""
    return text.strip(" .。?？").casefold()


def _object(value: JsonValue | None) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}
