"""The values in a body of ACE-Step's REST interface, by field. No torch.

Source: ACE-Step 1.5, `docs/en/API.md` and the parser of `/release_task`. Most names are old
spellings of fields, which the fields declare; here stand only those that name no field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from headroom.errors import InvalidRequest, written
from headroom.files import parse_json
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import Fields
from headroom.models.acestep.requests.songs import TASKS, Text2Music, is_task, named_task
from headroom.models.acestep.requests.unread_names import UNREAD
from headroom.models.family import Given
from headroom.params.describe import TASK, describe
from headroom.params.note import Note
from headroom.params.request import (
    Request,
    asks_nothing,
    closest,
    is_on,
    our_words,
    snake,
    spellings,
)
from headroom.params.words import is_open_word

# Where further fields stand: each an object, or the JSON text of one.
_PARAMETERS, _METADATA = "param_obj", ("metas", "meta", "metadata", "user_metadata")
HELPERS = (
    "sample_mode", "use_format", "format", "analysis_only", "full_analysis_only",
    "extract_codes_only", "use_random_seed",
)  # fmt: skip
"""Names of switches that no field has."""
TEXTS = (_PARAMETERS, *_METADATA, "sample_query", "description", "desc", "model", "lm_model_path")
"""Names of other values that no field has."""
_ALIASES = MappingProxyType(
    {
        "description": "sample_query",
        "desc": "sample_query",
        "format": "use_format",
        "model_name": "model",
        "dit_model": "model",
    }
)
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"audio_format": "mp3", "vocal_language": "en", "lm_cfg_scale": 2.5, "batch_size": 2}
)
"""Defaults that this interface documents and requests do not have."""
WISHES = ("thinking", "use_cot_caption", "use_cot_language")
COVER = "cover_no"  # of the recording's own latents, by several spellings
_ONE = "one value for it, not two spellings that differ"


@dataclass(frozen=True, slots=True)
class _Said:
    """A value and the name it came under."""

    name: str
    value: object

    @property
    def is_open(self) -> bool:
        return self.value is None or (isinstance(self.value, str) and not self.value.strip())


class Body:
    """The values of a body by field, from all places where they may stand."""

    def __init__(self, body: Given, kind: type[Request] | None = None) -> None:
        self._sources = tuple(_sources(body))
        self.task = next((task for one in self._sources if (task := named_task(one))), None)
        self.kind = kind or self._songs()
        self.notes: list[Note] = []
        self._said: dict[str, _Said] = {}
        for source in self._sources:
            self._add(source)

    def _songs(self) -> type[Request]:
        """The request of the task that is named; without one, for a song from words."""
        named = str(self.task) if isinstance(self.task, str) else ""
        return TASKS.get("cover" if named.startswith(COVER) else named, Text2Music)

    def _add(self, source: Given) -> None:
        fresh: dict[str, _Said] = {}
        for name, value in source.items():
            if is_task(name):
                continue
            field, said = self._field(written(name)), _Said(written(name), value)
            before = fresh.get(field)
            if before is None or before.is_open:
                fresh[field] = said
            elif not said.is_open and said.value != before.value:
                raise InvalidRequest(said.name, value, _ONE)
        for field, said in fresh.items():
            if field not in self._said or self._said[field].is_open:
                self._said[field] = said

    def _field(self, name: str) -> str:
        plain = snake(name)
        own = spellings(self.kind)
        if plain in own:
            return own[plain]
        return _ALIASES.get(plain) or elsewhere().get(plain) or plain

    def take(self, field: str) -> _Said | None:
        """A value that asks for something; it is removed."""
        said = self._said.pop(field, None)
        return None if said is None or said.is_open else said

    def text(self, field: str) -> str:
        """A text, which is removed; "" for none. Raises InvalidRequest."""
        said = self.take(field)
        if said is not None and not isinstance(said.value, str):
            raise InvalidRequest(said.name, said.value, "text")
        return "" if said is None else str(said.value).strip()

    def on(self, field: str) -> bool | None:
        """Whether something is switched on; None: nothing is said. Raises InvalidRequest."""
        said = self.take(field)
        if said is None or is_open_word(said.value):
            return None
        with our_words(Fields):
            return is_on(said.name, said.value)

    def has(self, field: str) -> bool:
        """Whether there is a value for a field."""
        return field in self._said and not self._said[field].is_open

    def switches(self) -> dict[str, object]:
        """The values of the fields by which songs are planned, as booleans."""
        found = {name: self.on(name) for name in WISHES if name in self.kind.model_fields}
        return {name: value for name, value in found.items() if value is not None}

    def rest(self) -> dict[str, object]:
        """The fields of the request, with a note for each value that belongs to none."""
        own, values = {**spellings(self.kind), **_switches(self.kind)}, {}
        for field, said in self._said.items():
            if field in own:
                values[field] = said.value
            elif (why := self._unused(field, said)) is not None:
                self.notes.append(Note(said.name, said.value, None, why))
        return values

    def _unused(self, field: str, said: _Said) -> str | None:
        """Why a value is not used; None if it asks for nothing."""
        if said.is_open:
            return None
        if field in UNREAD and UNREAD[field].takes(said.value):
            return UNREAD[field].why if UNREAD[field].asks(said.value) else None
        task = self.kind.model_fields[TASK].default
        for kind in TASKS.values():
            for param in describe(kind):
                if param.name == field:
                    idle = asks_nothing(param, said.value) or said.value == DEFAULTS.get(field)
                    return None if idle else reason("of_another_task", task=task)
            if field in _switches(kind):
                with our_words(Fields):
                    on = is_on(said.name, said.value)
                return reason("of_another_task", task=task) if on else None
        close = closest(self.kind, field)
        if close is None:
            return reason("unknown_name")
        return reason("misspelt_name", closest=close)


def _sources(body: Given) -> Iterator[Given]:
    """The places where a body has fields, in the order in which they count. Raises
    InvalidRequest."""
    names = {snake(written(name)): name for name in body}
    nested = (_PARAMETERS, *_METADATA)
    yield {name: value for name, value in body.items() if snake(written(name)) not in nested}
    if _PARAMETERS in names:
        yield _object(_PARAMETERS, body[names[_PARAMETERS]])
    for name in _METADATA:
        if name in names and (found := _object(name, body[names[name]])):
            yield found
            return


def _object(name: str, value: object) -> Given:
    if isinstance(value, str) and value.strip():
        try:
            value = parse_json(value)
        except ValueError as error:
            raise InvalidRequest(name, value, f"a JSON object ({error})") from error
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(name, value, "a JSON object, or the text of one")
    return value


@cache
def elsewhere() -> Mapping[str, str]:
    """Every spelling of a field of any request for songs -> the field."""
    kinds = list(TASKS.values())[::-1]
    return {old: field for kind in kinds for old, field in spellings(kind).items()}


@cache
def _switches(kind: type[Request]) -> Mapping[str, str]:
    return {old: p.name for p in describe(kind) for old, _ in p.knob.old_switches}
