"""The forms of notes and limits: values, an English text, and a code by which to translate it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import JsonValue

from headroom.engine.wire.forms import (
    Form,
    Json,
    Versioned,
    plain,
    plain_object,
    read,
    restored,
    restored_object,
    text,
)
from headroom.errors import InvalidRequest
from headroom.params.knob import Limit
from headroom.params.note import Note
from headroom.reasons import Reason, reason_of


class NoteForm(Form):
    """A note and its English sentence.

    `why` is the end of the sentence, and `code` and `values` are what it was written from.
    """

    field: str
    asked: JsonValue
    used: JsonValue
    why: str
    code: str
    values: dict[str, JsonValue]
    sentence: str

    @classmethod
    def of(cls, note: Note) -> NoteForm:
        """The form of a note."""
        return cls(
            field=text(note.field),
            asked=plain(note.asked),
            used=plain(note.used),
            why=text(note.why),
            code=note.reason.code,
            values=plain_object(note.reason.values),
            sentence=text(note.sentence()),
        )

    def value(self) -> Note:
        """The note itself; lists in it are tuples."""
        why = Reason(self.why, self.code, restored_object(self.values))
        return Note(self.field, restored(self.asked), restored(self.used), why)


class LimitForm(Form):
    """The range of a field, and why; null: no bound. Numbers beyond `minimum` and `maximum` are
    clamped, numbers beyond `least`, `above` and `most` are refused."""

    minimum: float | None
    maximum: float | None
    why: str
    code: str
    values: dict[str, JsonValue]
    least: float | None = None
    above: float | None = None
    most: float | None = None
    follows: str = ""

    @classmethod
    def of(cls, limit: Limit) -> LimitForm:
        """The form of a limit."""
        reason = reason_of(limit.why)
        return cls(
            minimum=limit.minimum if math.isfinite(limit.minimum) else None,
            maximum=limit.maximum if math.isfinite(limit.maximum) else None,
            why=text(reason),
            code=reason.code,
            values=plain_object(reason.values),
            least=limit.least,
            above=limit.above,
            most=limit.most,
            follows=limit.follows,
        )

    def value(self) -> Limit:
        """The limit itself."""
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        why = Reason(self.why, self.code, restored_object(self.values))
        return Limit(low, high, why, self.least, self.above, self.most, self.follows)


class LimitsForm(Versioned):
    """The limits of a request's fields on a machine."""

    limits: dict[str, LimitForm]


def note_json(note: Note) -> Json:
    """A note as JSON; a value that JSON cannot express becomes text."""
    return NoteForm.of(note).json_object()


def note_from(given: object) -> Note:
    """The note in its JSON form. Raises InvalidRequest."""
    return read(NoteForm, given, "note").value()


def limits_json(limits: Mapping[str, Limit]) -> Json:
    """Limits by field as JSON."""
    return LimitsForm(limits={n: LimitForm.of(one) for n, one in limits.items()}).json_object()


def limits_from(given: object) -> dict[str, Limit]:
    """The limits in their JSON form. Raises InvalidRequest."""
    form = read(LimitsForm, given, "limits")
    try:
        return {name: one.value() for name, one in form.limits.items()}
    except ValueError as error:  # a minimum above its maximum
        raise InvalidRequest("limits", given, f"limits, not a {error}") from error
