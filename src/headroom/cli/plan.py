"""`acestep plan`: shows where each part would be placed, what it would take, and why. Runs nothing.

A released model that is not installed is planned by its published sizes, so neither weights nor a
card are needed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from headroom.cli.family import family_in
from headroom.cli.output import tell_notes
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.engine.limits import asks, limits, most_seconds, usual_inside
from headroom.engine.options import AUTO, EngineOptions
from headroom.engine.terms import (
    advice,
    first_plan,
    terms_in_force,
    with_language_model,
)
from headroom.errors import DoesNotFit, InvalidRequest
from headroom.hardware.machine import DType, Kind, Machine, card, fast_dtype
from headroom.memory.explain import Alternative, alternatives, explain, is_timed
from headroom.memory.footprint import DECODE, Footprint
from headroom.memory.limits import Terms
from headroom.memory.plan import NO_WISHES, Plan
from headroom.models.base import Seeded
from headroom.models.family import Family, Unopened, Wanted
from headroom.models.registry import family_named, language_size
from headroom.params.clamp import Note, clamp
from headroom.params.describe import task_of, union
from headroom.params.flags import add_flags, given, mark_basic
from headroom.params.request import Request
from headroom.settings import Settings
from headroom.settings import load as load_settings
from headroom.units import clock, gib

USAGE = "acestep plan [CAPTION] [--vram GB] [FLAGS]"
SIZES = (4, 6, 8, 12, 16, 20, 24)  # GiB, of `--all`
LENGTHS = (30, 60, 240, 600)  # seconds, of `--all`
LENGTH = "duration"  # the field that `--all` varies
SIMULATED = "simulated"
_UNIT = re.compile(r"\s*(?:g|gb|gib)$", re.IGNORECASE)
RECORDING = ("cuda", SIMULATED)  # kinds of cards that capture graphs, or simulate one that does


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
    terms: Terms
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


def parser(family: Family | None = None) -> Parser:
    """The flags of `acestep plan`, for the default family if none is named."""
    tasks = (family or family_named()).requests
    made = Parser("acestep plan", USAGE, "What a song would take here, or on any card.")
    made.allow_abbrev = False
    group = made.add_argument_group("Plan")
    group.add_argument("--vram", metavar="GB", help="plan for a card of this size")
    group.add_argument("--all", action="store_true", help="4 to 24 GB, 30 to 600 s, as a table")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    mark_basic(*group._group_actions)
    add_engine_flags(made)
    add_flags(made, union(tasks.values()), tasks)
    made.in_layers()
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep plan …`; the exit code: 1 if nothing fits. Raises HeadroomError."""
    settings = load_settings()
    words = spelt(words)
    family = family_in(words)
    flags_of = parser(family)
    args, rest = flags_of.parse_known_args(words)
    flags = engine_flags(args)
    fields = given(args, union(family.requests.values()))
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        raise flags_of.unknown(unknown)
    if rest:
        fields[family.words_of(rest)] = " ".join(rest)
    usual = {} if family.words is None else {family.words: "a song"}
    request = family.request(fields or usual)
    planned = family.plan(Wanted(flags.model, flags.checkpoint_dir, settings))
    if args.vram is not None or args.all:  # overrides the card that a setting names
        settings = replace(settings, max_vram=None, memory_limit=None)
    if args.all:
        return _table(request, planned, args.vram, flags, settings, args.json)
    machine = _machine(args.vram, flags, settings)
    answer = answered(request, planned, machine, flags, settings)
    if args.json:
        sys.stdout.write(json.dumps(as_json(answer), indent=1, default=str) + "\n")
    elif answer.plan is not None:
        tell_notes(answer.notes, set())
        sys.stdout.write(f"{answer.describe()}\n{machine.describe()}\n{_terms(answer.terms)}\n")
        sys.stdout.write(explain(answer.plan, answer.others) + "\n")
        if answer.advice is not None:
            sys.stdout.write(f"{answer.advice}.\n")
    if answer.plan is None and answer.refusal is not None:
        if not args.json:
            sys.stderr.write(f"{answer.describe()}\n")
            raise answer.refusal
        return 1
    return 0


def answered(
    request: Request,
    planned: Unopened,
    machine: Machine,
    flags: EngineOptions,
    settings: Settings,
) -> Answer:
    """The plan for a request on a machine, inside the limits in force there."""
    said = flags.choices_in(settings)
    own_size = language_size(flags.family, said.lm, settings, flags.checkpoint_dir)
    said = replace(said, lm_size=own_size)
    records = machine.kind in RECORDING
    policy = flags.policy_in(settings)
    found = terms_in_force(machine, policy, said, settings, records)
    allowed = limits(request, planned.limits(request), settings, found)
    inside, notes = clamp(request, allowed)
    ended, ending = usual_inside(inside, most_seconds(allowed))
    songs = planned.compose(ended, machine)
    dtype = fast_dtype(machine) if flags.dtype == AUTO else cast("DType", flags.dtype)
    needs, size = planned.footprint(songs, dtype), None
    thinks = asks(inside) is not None and found.init_lm
    every = (*found.notes, *notes, *(() if thinks else ending))
    if asks(inside) is not None and not found.init_lm:
        every = (*every, Note(asks(inside) or "", True, False, found.lm_off or ""))
    elif asks(inside) is not None:
        lms = planned.languages(said.lm, found.lms)

        def build(name: str) -> Footprint:
            return planned.planning(inside, songs, name, found.lm_backend, dtype)

        size, needs = with_language_model(lms, build, needs, machine, found, NO_WISHES, settings)
    seconds = max(planned.seconds(song) for song in songs)
    answer = Answer(
        planned, inside, seconds, len(songs), dtype, machine, found, every, None, (), None, size
    )
    try:
        made, wishes, free = first_plan(needs, machine, found, NO_WISHES, settings)
    except DoesNotFit as refusal:
        return replace(answer, refusal=refusal)
    others = alternatives(needs, machine, wishes, made)
    better = advice(made, needs, machine, policy, said, NO_WISHES, settings)
    return replace(answer, plan=made, others=others, notes=(*every, *free), advice=better)


def _machine(vram: str | None, flags: EngineOptions, settings: Settings) -> Machine:
    """The machine to plan for.

    A size makes it a simulated card, of the kind of device that was named. Raises InvalidRequest
    for a size with a device that has no memory of its own.
    """
    kind, _, _ = flags.device.partition(":")
    if vram is not None:
        return _card(gibibytes(vram, "vram"), kind, "vram", vram)
    cap = settings.vram_for("simulated")
    if cap is not None and flags.device == AUTO:
        return card(cap)
    from headroom.hardware.probe import machine_of, opened

    return machine_of(opened(settings, flags.device), settings)


def _card(gigabytes: float, kind: str, field: str, asked: object) -> Machine:
    """A card of that size and kind."""
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


def _table(
    request: Request,
    planned: Unopened,
    vram: str | None,
    flags: EngineOptions,
    settings: Settings,
    as_object: bool,
) -> int:
    if vram is not None:
        raise InvalidRequest("vram", vram, f"without --all, which plans for {SIZES[0]} to "
                             f"{SIZES[-1]} GB")  # fmt: skip
    if LENGTH not in type(request).model_fields:
        raise InvalidRequest("all", True, "for requests with a length")
    kind, _, _ = flags.device.partition(":")
    rows = []
    for size in SIZES:
        for seconds in LENGTHS:
            asked = request.model_copy(update={LENGTH: float(seconds)})
            machine = _card(size, kind, "all", True)
            rows.append((size, seconds, answered(asked, planned, machine, flags, settings)))
    if as_object:
        objects = [{"vram_gb": s, "duration": n, **as_json(a)} for s, n, a in rows]
        sys.stdout.write(json.dumps(objects, indent=1, default=str) + "\n")
        return 0
    count = request.songs if isinstance(request, Seeded) else 1
    many = "1 song" if count == 1 else f"{count} songs at once"
    sys.stdout.write(f"{planned.describe()}: {task_of(request)}, {many}\n")
    sys.stdout.write(f"{'card':>6} {'length':>7} {'peak':>9} {'time':>7}  plan\n")
    for size, seconds, answer in rows:
        said = _short(answer)
        sys.stdout.write(f"{size:>3} GB {seconds:>5} s  {said}\n")
    return 0


def _short(answer: Answer) -> str:
    if answer.plan is None:
        return f"{'–':>8} {'–':>7}  {answer.refusal}"
    made = answer.plan
    words = [
        f"{p.component} {p.residency.name.lower()}"
        + (f" ({p.kept} stay)" if p.kept else "")
        + (f" {p.precision}" if p.component == "dit" else "")
        for p in made.placements
        if p.component == "dit"
    ]
    if answer.lm is not None:
        lm = made.placement("language model")
        words.append(f"LM {answer.lm} {lm.residency.name.lower()} {lm.precision}")
    tile = made.stage(DECODE).tile
    words.append(f"tiles of {tile}" if not made.stage(DECODE).host else "decoded on the host")
    clamped = [f"{n.field} {n.used}" for n in answer.notes if n.field in ("duration", "batch_size")]
    return f"{gib(made.peak):>8} {clock(made.seconds):>7}  " + ", ".join([*words, *clamped])


def _terms(found: Terms) -> str:
    if found.tier is None:
        return f"policy {found.policy}, no tier"
    return f"policy {found.policy}, {found.tier.label}"


def as_json(answer: Answer) -> dict[str, object]:
    """What `--json` prints."""
    made = answer.plan
    tier = None if answer.terms.tier is None else answer.terms.tier.name
    found: dict[str, object] = {
        "model": answer.subject.name,
        "model_folder": answer.subject.folder,
        "task": task_of(answer.request),
        "duration": answer.seconds,
        "songs": answer.songs,
        "dtype": answer.dtype,
        "fits": made is not None,
        "policy": answer.terms.policy,
        "tier": tier,
        "language_model": answer.lm,
        "budget_bytes": answer.machine.budget,
        "notes": [{**asdict(note), "sentence": note.sentence()} for note in answer.notes],
    }
    if made is None:
        refusal = answer.refusal
        assert refusal is not None
        return {**found, "error": str(refusal), "least_bytes": refusal.least}
    return {
        **found,
        "peak_bytes": made.peak,
        "host_bytes": made.host_peak,
        "seconds": made.seconds if is_timed(made) else None,
        "advice": answer.advice,
        "copied_bytes": made.copied,
        "placements": [
            {**asdict(p), "residency": p.residency.name.lower()} for p in made.placements
        ],
        "stages": [
            {**asdict(stage), **({} if is_timed(made) else {"seconds": None})}
            for stage in made.stages
        ],
        "alternatives": [{**asdict(o), "sentence": o.sentence()} for o in answer.others],
    }
