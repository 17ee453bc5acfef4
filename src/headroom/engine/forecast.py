"""What a request would take on a machine, and why: the plan without an engine. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import cast

from headroom.engine.limits import (
    asks,
    batch_default,
    most_seconds,
    request_limits,
    usual_inside,
)
from headroom.engine.options import EngineOptions
from headroom.engine.policy import advice, choose_language_model, first_plan, policy_in_force
from headroom.errors import DoesNotFit, InvalidRequest
from headroom.hardware.machine import DType, Kind, Machine, card, computing_dtype, writing_dtype
from headroom.memory.explain import Alternative, alternatives, explain, is_timed
from headroom.memory.footprint import Footprint
from headroom.memory.plan import NO_WISHES, Plan
from headroom.memory.policy import Policy
from headroom.models.family import Unopened
from headroom.models.registry import family_named, language_size
from headroom.params.clamp import Note, clamp
from headroom.params.describe import task_of
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import AUTO, Settings

SIMULATED = "simulated"
_UNIT = re.compile(r"\s*(?:g|gb|gib)$", re.IGNORECASE)
_RECORDING = ("cuda", SIMULATED)  # kinds of cards that capture graphs, or simulate one that does


@dataclass(frozen=True, slots=True)
class Answer:
    """A plan with its details, or the reason there is none.

    seconds, songs  what is made: the longest song, and how many
    dtype           the networks compute in
    lm              the language model's size
    advice          what the adaptive policy would do better
    """

    subject: Unopened
    request: Request
    seconds: float
    songs: int
    dtype: DType
    machine: Machine
    policy: Policy
    notes: tuple[Note, ...]
    plan: Plan | None
    others: tuple[Alternative, ...]
    refusal: DoesNotFit | None
    lm: str | None = None
    advice: str | None = None

    def describe(self) -> str:
        """What is planned, in one line."""
        many = "1 song" if self.songs == 1 else f"{self.songs} songs at once"
        said = [
            f"{task_of(self.request)}, {many} of {self.seconds:g} s",
            f"computed in {self.dtype}",
        ]
        if self.lm is not None:
            said.append(f"planned by a language model ({self.lm})")
        return f"{self.subject.describe()}: {', '.join(said)}"


def answered(
    request: Request,
    planned: Unopened,
    machine: Machine,
    flags: EngineOptions,
    settings: Settings,
) -> Answer:
    """The plan for a request on a machine, inside the limits in force there."""
    settings = settings.under(flags)
    sized = batch_default(request, settings)
    found, allowed = allowed_on(sized, planned, machine, flags, settings)
    inside, notes = clamp(sized, allowed)
    ended, ending = usual_inside(inside, most_seconds(inside, allowed, found, settings))
    songs = planned.compose(ended, machine)
    dtype = computing_dtype(settings.precision, machine)
    needs, size = planned.footprint(songs, dtype), None
    thinks = asks(inside) is not None and found.init_lm
    every = (*found.notes, *notes, *(() if thinks else ending))
    if asks(inside) is not None and not found.init_lm:
        every = (*every, Note(asks(inside) or "", True, False, found.lm_off or ""))
    elif asks(inside) is not None:
        lms = planned.languages(settings.lm_model, found.lms)
        writing = writing_dtype(settings.precision, machine)

        def build(name: str) -> Footprint:
            return planned.planning(inside, songs, name, found.lm_loop, writing)

        size, needs = choose_language_model(lms, build, needs, machine, found, NO_WISHES, settings)
    seconds = max(planned.seconds(song) for song in songs)
    answer = Answer(
        planned, inside, seconds, len(songs), dtype, machine, found, every, None, (), None, size
    )
    try:
        made, wishes, free = first_plan(needs, machine, found, NO_WISHES, settings)
    except DoesNotFit as refusal:
        return replace(answer, refusal=refusal)
    others = alternatives(needs, machine, wishes, made)
    better = advice(made, needs, machine, found, NO_WISHES, settings)
    return replace(answer, plan=made, others=others, notes=(*every, *free), advice=better)


def allowed_on(
    request: Request,
    planned: Unopened,
    machine: Machine,
    flags: EngineOptions,
    settings: Settings,
) -> tuple[Policy, Mapping[str, Limit]]:
    """The policy in force on a machine, and the limits of the request's fields there."""
    own_size = language_size(flags.family, settings.lm_model, settings, flags.checkpoint_dir)
    tiers = family_named(flags.family).tiers
    found = policy_in_force(machine, settings, machine.kind in _RECORDING, tiers, own_size)
    return found, request_limits(request, planned.limits(request), settings, found)


def card_of(gigabytes: float, kind: str, field: str, asked: object) -> Machine:
    """A card of that size and kind. Raises InvalidRequest for a kind without memory of its own."""
    if kind == "cpu":
        allowed = "without --device cpu, which has no memory of its own"
        raise InvalidRequest(field, asked, allowed)
    made = card(gigabytes)
    if kind in (AUTO, SIMULATED):
        return made
    return replace(made, kind=cast("Kind", kind))


def gibibytes(text: str, field: str) -> float:
    """Parse a size. Raises InvalidRequest."""
    try:
        size = float(_UNIT.sub("", text))
    except ValueError:
        size = -1.0
    if not 0 < size < 1 << 20:
        raise InvalidRequest(field, text, "a number of GB above 0")
    return size


def as_text(answer: Answer) -> str:
    """The answer in lines for people: what is planned, and the plan if there is one."""
    if answer.plan is None:
        return f"{answer.describe()}\n"
    tier = answer.policy.tier
    policy = f"policy {answer.policy.name}, {'no tier' if tier is None else tier.label}"
    lines = [answer.describe(), answer.machine.describe(), policy]
    lines.append(explain(answer.plan, answer.others))
    if answer.advice is not None:
        lines.append(f"{answer.advice}.")
    return "\n".join(lines) + "\n"


def as_json(answer: Answer) -> dict[str, object]:
    """The answer as one JSON object."""
    from headroom.engine.wire import note_json, plan_json

    made = answer.plan
    tier = None if answer.policy.tier is None else answer.policy.tier.name
    found: dict[str, object] = {
        "model": answer.subject.name,
        "model_folder": answer.subject.folder,
        "task": task_of(answer.request),
        "duration": answer.seconds,
        "songs": answer.songs,
        "dtype": answer.dtype,
        "fits": made is not None,
        "policy": answer.policy.name,
        "tier": tier,
        "language_model": answer.lm,
        "budget_bytes": _budget(answer),
        "notes": [note_json(note) for note in answer.notes],
    }
    if made is None:
        refusal = answer.refusal
        assert refusal is not None
        return {**found, "error": str(refusal), "least_bytes": refusal.least}
    return {
        **found,
        "peak_bytes": made.fullest.peak,
        "host_bytes": made.host_peak,
        "seconds": made.seconds if is_timed(made) else None,
        "advice": answer.advice,
        "copied_bytes": made.copied,
        "placements": plan_json(made)["placements"],
        "stages": [
            {
                **asdict(stage),
                "budget_bytes": made.on(stage.card).budget,
                **({} if is_timed(made) else {"seconds": None}),
            }
            for stage in made.stages
        ],
        "alternatives": [{**asdict(o), "sentence": o.sentence()} for o in answer.others],
    }


def _budget(answer: Answer) -> int:
    """Bytes of the card that the answer's peak, or what is missing, is about."""
    if answer.plan is not None and answer.plan.cards:
        return answer.plan.fullest.budget
    return answer.machine.budget if answer.refusal is None else answer.refusal.budget
