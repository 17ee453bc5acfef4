"""The form of results: everything but the audio, for which a door has a name or an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic import TypeAdapter

from headroom.audio.lrc import TimedText
from headroom.engine.provenance import Asked, Provenance
from headroom.engine.report import Report
from headroom.engine.wire.errors import ErrorForm
from headroom.engine.wire.events import EVENTS, PlanForm
from headroom.engine.wire.forms import Form, Json, Kinds, Versioned, read
from headroom.engine.wire.notes import LimitsForm, NoteForm
from headroom.memory.plan import Plan
from headroom.models.outputs import Answer
from headroom.params.note import Note
from headroom.params.request import SONGS


@dataclass(frozen=True, slots=True)
class SongMade:
    """A song without its audio: `lines` are those sung, `file` the name or id a door gave it."""

    seed: int
    seconds: float
    provenance: Provenance
    lines: tuple[TimedText, ...] = ()
    file: str | None = None


@dataclass(frozen=True, slots=True)
class SongsMade:
    """The songs of a request."""

    songs: tuple[SongMade, ...]


Output: TypeAlias = SongsMade | Answer
OUTPUTS = Kinds("kind", {SONGS: SongsMade, **{kind.kind: kind for kind in get_args(Answer)}})

if TYPE_CHECKING:
    AnyOutput: TypeAlias = Form
else:
    AnyOutput = OUTPUTS.union


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result as it passes between processes: everything but the audio.

    output   what was made; its notes are among `notes`
    request  as it was carried out
    thought  the report of the language model that planned the songs
    reused   the job whose songs these are, where nothing was made for this one
    """

    output: Output
    request: Asked | None = None
    plan: Plan | None = None
    report: Report | None = None
    thought: Report | None = None
    notes: tuple[Note, ...] = ()
    reused: str | None = None


class ResultForm(Versioned):
    """A result, told apart by the `kind` of its output."""

    output: AnyOutput
    request: Asked | None = None
    plan: PlanForm | None = None
    report: Report | None = None
    thought: Report | None = None
    notes: tuple[NoteForm, ...] = ()
    reused: str | None = None

    def value(self) -> Outcome:
        """The outcome itself."""
        return Outcome(
            output=OUTPUTS.value(self.output),
            request=self.request,
            plan=None if self.plan is None else self.plan.value(),
            report=self.report,
            thought=self.thought,
            notes=tuple(note.value() for note in self.notes),
            reused=self.reused,
        )


def result_json(result: Outcome) -> Json:
    """A result as JSON."""
    return ResultForm(
        output=OUTPUTS.form(result.output),
        request=result.request,
        plan=None if result.plan is None else PlanForm.model_validate(result.plan),
        report=result.report,
        thought=result.thought,
        notes=tuple(map(NoteForm.of, result.notes)),
        reused=result.reused,
    ).json_object()


def result_from(given: object) -> Outcome:
    """The result in its JSON form. Raises InvalidRequest."""
    return read(ResultForm, given, "result").value()


def schemas() -> dict[str, Any]:
    """The JSON schema of each form by its name."""
    forms = {
        "event": EVENTS.union,
        "plan": PlanForm,
        "note": NoteForm,
        "limits": LimitsForm,
        "result": ResultForm,
        "error": ErrorForm,
    }
    return {
        name: TypeAdapter(form).json_schema(mode="serialization") for name, form in forms.items()
    }
