"""The forms of events, and of the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, get_args

from headroom.engine.wire.forms import Json, Kinds, ReasonForm, Restorable, Versioned, read, word_of
from headroom.memory.plan import CardShare, Placement, Plan, StagePlan
from headroom.reasons import Reason
from headroom.runtime.events import AudioReady, Event


class PlanForm(Restorable, Versioned):
    """A plan: bytes and seconds. `peak` and `seconds` are those of all stages together; `cards` are
    those of a group, by whose numbers placements and stages name theirs, and else there are
    none."""

    placements: tuple[Placement, ...]
    stages: tuple[StagePlan, ...]
    budget: int
    host_peak: int
    peak: int
    seconds: float
    cards: tuple[CardShare, ...] = ()

    def value(self) -> Plan:
        """The plan itself."""
        return Plan(self.placements, self.stages, self.budget, self.host_peak, self.cards)


@dataclass(frozen=True, slots=True)
class AudioStored:
    """`AudioReady` without its samples: a door keeps them under the name or id `file`."""

    song: int
    start: int
    channels: int
    frames: int
    rate: int
    file: str | None = None


Heard: TypeAlias = Event | AudioStored
_WORDS = {word_of(kind): kind for kind in get_args(Event)} | {word_of(AudioReady): AudioStored}
EVENTS = Kinds("event", _WORDS, Versioned, {Plan: PlanForm, Reason: ReasonForm})


def plan_json(plan: Plan) -> Json:
    """A plan as JSON."""
    return PlanForm.model_validate(plan).json_object()


def plan_from(given: object) -> Plan:
    """The plan in its JSON form. Raises InvalidRequest."""
    return read(PlanForm, given, "plan").value()


def event_json(event: Heard, job: str | None = None, file: str | None = None) -> Json:
    """An event as JSON, with the id of its job, if it has one. Of `AudioReady` only a description:
    `file` names the samples."""
    if isinstance(event, AudioReady):
        audio = event.audio
        size = audio.channels, audio.frames, audio.rate
        event = AudioStored(event.song, event.start, *size, file)
    return EVENTS.json(event) | ({} if job is None else {"job": job})


def event_from(given: object) -> Heard:
    """The event in its JSON form; `AudioStored` for an `AudioReady`. Raises InvalidRequest."""
    event: Heard = EVENTS.read(given, "event")
    return event
