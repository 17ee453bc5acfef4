"""`acestep plan`: what would be where, how much it would take, and why. Runs nothing.

The sizes are those of the released models, so neither weights nor a card have to be here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from headroom.cli.output import tell_notes
from headroom.cli.parser import (
    AUTO,
    EngineFlags,
    Parser,
    add_engine_flags,
    engine_flags,
    spelt,
)
from headroom.engine.limits import asks, limits
from headroom.engine.terms import (
    first_plan,
    terms_in_force,
    with_language_model,
)
from headroom.errors import DoesNotFit, InvalidRequest
from headroom.hardware.machine import Machine, card
from headroom.memory.explain import Alternative, alternatives, explain
from headroom.memory.footprint import DECODE, Footprint
from headroom.memory.limits import Terms
from headroom.memory.plan import NO_WISHES, Plan
from headroom.models.acestep.planning import (
    footprint_of,
    songs_of,
    thinking_of,
    variant_named,
)
from headroom.models.acestep.requests import TASKS, AnyMusicRequest, Text2Music, request_from
from headroom.models.acestep.variants import VARIANTS, Variant
from headroom.params.clamp import Note, clamp
from headroom.params.describe import union
from headroom.params.flags import add_flags, given
from headroom.settings import Settings
from headroom.settings import load as load_settings
from headroom.units import clock, gib
from headroom.weights.catalog import USUAL_DIT

USAGE = "acestep plan [CAPTION] [--vram GB] [FLAGS]"
SIZES = (4, 6, 8, 12, 16, 20, 24)  # GiB, of `--all`
LENGTHS = (30, 60, 240, 600)  # seconds, of `--all`
RECORDING = ("cuda", "simulated")  # kinds of cards that record graphs, or stand for one


@dataclass(frozen=True, slots=True)
class Answer:
    """A plan and what belongs to it, or why there is none. `lm` is the language model's size."""

    machine: Machine
    terms: Terms
    notes: tuple[Note, ...]
    plan: Plan | None
    others: tuple[Alternative, ...]
    refusal: DoesNotFit | None
    lm: str | None = None


def run(words: Sequence[str]) -> int:
    """`acestep plan …`; the exit code: 1 where nothing fits. Raises HeadroomError."""
    settings = load_settings()
    parser = Parser("acestep plan", USAGE, "What a song would take here, or on any card.")
    parser.allow_abbrev = False
    group = parser.add_argument_group("Plan")
    group.add_argument("--vram", metavar="GB", help="plan for a card of this size")
    group.add_argument("--all", action="store_true", help="4 to 24 GB, 30 to 600 s, as a table")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    add_engine_flags(parser)
    add_flags(parser, union(TASKS.values()), TASKS)
    args, rest = parser.parse_known_args(spelt(words))
    flags = engine_flags(args)
    fields = given(args, union(TASKS.values()))
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        raise parser.unknown(unknown)
    if rest:
        fields["caption"] = " ".join(rest)
    request = request_from(fields or {"caption": "a song"})
    variant = _variant(flags, settings)
    if args.vram is not None or args.all:  # takes the place of the card that a setting names
        settings = replace(settings, max_vram=None, memory_limit=None)
    if args.all:
        return _table(request, variant, flags, settings, args.json)
    machine = _machine(args.vram, flags, settings)
    answer = answered(request, variant, machine, flags, settings)
    if args.json:
        sys.stdout.write(json.dumps(as_json(answer), indent=1, default=str) + "\n")
    elif answer.plan is not None:
        tell_notes(answer.notes, set())
        sys.stdout.write(f"{machine.describe()}\n{_terms(answer.terms)}\n")
        sys.stdout.write(explain(answer.plan, answer.others) + "\n")
    if answer.plan is None and answer.refusal is not None:
        if not args.json:
            raise answer.refusal
        return 1
    return 0


def answered(
    request: AnyMusicRequest,
    variant: Variant,
    machine: Machine,
    flags: EngineFlags,
    settings: Settings,
) -> Answer:
    """The plan of a request on a machine, inside the limits in force there."""
    said = flags.choices_in(settings)
    records = machine.kind in RECORDING
    found = terms_in_force(machine, flags.policy_in(settings), said, settings, records)
    inside, notes = clamp(request, limits(request, variant.limits, settings, found))
    songs = songs_of(inside, variant)
    needs, size = footprint_of(songs, variant), None
    every = (*found.notes, *notes)
    if asks(inside) is not None and not found.init_lm:
        every = (*every, Note(asks(inside) or "", True, False, found.lm_off or ""))
    elif isinstance(inside, Text2Music) and inside.asks is not None:
        asked = inside

        def build(size: str) -> Footprint:
            return thinking_of(asked, songs, size, found.lm_backend)

        size, needs = with_language_model(
            found.lms, build, needs, machine, found, NO_WISHES, settings
        )
    try:
        made, wishes, free = first_plan(needs, machine, found, NO_WISHES, settings)
    except DoesNotFit as refusal:
        return Answer(machine, found, every, None, (), refusal, size)
    others = alternatives(needs, machine, wishes, made)
    return Answer(machine, found, (*every, *free), made, others, None, size)


def _variant(flags: EngineFlags, settings: Settings) -> Variant:
    name = flags.model or settings.model or USUAL_DIT
    if name not in VARIANTS:
        raise InvalidRequest("model", name, "one of " + ", ".join(VARIANTS))
    return variant_named(name)


def _machine(vram: str | None, flags: EngineFlags, settings: Settings) -> Machine:
    if vram is not None:
        return card(gibibytes(vram, "vram"))
    cap = settings.vram_for("simulated")
    if cap is not None and flags.device == AUTO:
        return card(cap)
    from headroom.hardware.probe import machine_of, opened

    return machine_of(opened(settings, flags.device), settings)


def gibibytes(text: str, field: str) -> float:
    """A size somebody wrote. Raises InvalidRequest."""
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 < size < 1 << 20:
        raise InvalidRequest(field, text, "a number of GB above 0")
    return size


def _table(
    request: AnyMusicRequest,
    variant: Variant,
    flags: EngineFlags,
    settings: Settings,
    as_object: bool,
) -> int:
    rows = []
    for size in SIZES:
        for seconds in LENGTHS:
            asked = request.model_copy(update={"duration": float(seconds)})
            rows.append((size, seconds, answered(asked, variant, card(size), flags, settings)))
    if as_object:
        objects = [{"vram_gb": s, "duration": n, **as_json(a)} for s, n, a in rows]
        sys.stdout.write(json.dumps(objects, indent=1, default=str) + "\n")
        return 0
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
        "seconds": made.seconds,
        "copied_bytes": made.copied,
        "placements": [
            {**asdict(p), "residency": p.residency.name.lower()} for p in made.placements
        ],
        "stages": [asdict(stage) for stage in made.stages],
        "alternatives": [{**asdict(o), "sentence": o.sentence()} for o in answer.others],
    }
