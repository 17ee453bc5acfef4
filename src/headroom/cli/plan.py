"""`acestep plan`: shows where each part would be placed, what it would take, and why. Runs nothing.

A released model that is not installed is planned by its published sizes, so neither weights nor a
card are needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from headroom.cli.family import family_in
from headroom.cli.far import add_remote_flag, client_of, only_here, under_flag
from headroom.cli.notes import tell_notes
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.engine.forecast import Answer, answered, as_json, as_text, card_of, gibibytes
from headroom.engine.limits import batch_default
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.hardware.here import machine_here
from headroom.hardware.host import named_devices
from headroom.hardware.machine import Machine, card, group
from headroom.memory.footprint import DECODE
from headroom.models.base import Seeded
from headroom.models.family import Family, ModelChoice, Unopened
from headroom.models.registry import family_named
from headroom.params.describe import in_role, task_of, union
from headroom.params.flags import add_flags, given, mark_basic
from headroom.params.knob import ROLES
from headroom.params.request import Request
from headroom.settings import AUTO, MOST_CARDS, Settings
from headroom.settings import load as load_settings
from headroom.units import clock, gib

if TYPE_CHECKING:
    from headroom.engine.wire import Json

USAGE = "acestep plan [CAPTION] [--vram GB] [FLAGS]"
SIZES = (4, 6, 8, 12, 16, 20, 24)  # GiB, of `--all`
LENGTHS = (30, 60, 240, 600)  # seconds, of `--all`
_VRAM = "plan for a card of this size, or for a group of cards of these sizes"
_ALL = f"{SIZES[0]} to {SIZES[-1]} GB, {LENGTHS[0]} to {LENGTHS[-1]} s, as a table"


def parser(family: Family | None = None) -> Parser:
    """The flags of `acestep plan`, for the default family if none is named."""
    tasks = (family or family_named()).requests
    parser = Parser("acestep plan", USAGE, "What a song would take here, or on any card.")
    parser.allow_abbrev = False
    own = parser.add_argument_group("Plan")
    own.add_argument("--vram", metavar="GB[,GB]", help=_VRAM)
    own.add_argument("--all", action="store_true", help=_ALL)
    own.add_argument("--json", action="store_true", help="one JSON object on standard output")
    mark_basic(*own._group_actions)
    add_engine_flags(parser)
    add_remote_flag(parser)
    add_flags(parser, union(tasks.values()), tasks)
    parser.in_layers()
    return parser


def run(words: Sequence[str]) -> int:
    """Run `acestep plan …`; the exit code: 1 if nothing fits. Raises HeadroomError."""
    settings = load_settings()
    words = spelt(words)
    family = family_in(words)
    flags_of = parser(family)
    args, rest = flags_of.parse_known_args(words)
    flags = engine_flags(args)
    fields = given(args, union(family.songs.values()))
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        raise flags_of.unknown(unknown)
    if rest:
        fields[family.words_of(rest)] = " ".join(rest)
    usual = {} if family.words is None else {family.words: "a song"}
    request = family.song(fields or usual)
    settings = under_flag(settings, args)
    only_here(settings, all=args.all)
    client = client_of(flags, settings)
    if client is not None:
        size = None if args.vram is None else gibibytes(args.vram, "vram")
        with client:
            return _told(client.forecast(request, size), args.json)
    planned = family.plan(ModelChoice(flags.model, flags.checkpoint_dir, settings))
    if args.vram is not None or args.all:  # overrides the card that a setting names
        settings = settings.model_copy(update={"max_vram": None, "memory_limit": None})
    if args.all:
        return _table(request, planned, args.vram, flags, settings, args.json)
    machine = machine_for(args.vram, flags, settings)
    answer = answered(request, planned, machine, flags, settings)
    if args.json:
        sys.stdout.write(json.dumps(as_json(answer), indent=1, default=str) + "\n")
    elif answer.plan is not None:
        tell_notes(answer.notes, set())
        sys.stdout.write(as_text(answer))
    if answer.plan is None and answer.refusal is not None:
        if not args.json:
            sys.stderr.write(f"{answer.describe()}\n")
            raise answer.refusal
        return 1
    return 0


def _told(answer: Json, as_object: bool) -> int:
    """Print the answer of a service elsewhere as that of this machine is printed."""
    from headroom.engine.wire import error_from, note_from

    text, refusal = answer.pop("text"), answer.pop("refusal")
    answer.pop("plan")
    if as_object:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
        return 1 if refusal is not None else 0
    if refusal is not None:
        sys.stderr.write(str(text))
        raise error_from(refusal)
    tell_notes(map(note_from, cast("list[Json]", answer["notes"])), set())
    sys.stdout.write(str(text))
    return 0


def machine_for(vram: str | None, flags: EngineOptions, settings: Settings) -> Machine:
    """The machine to plan for.

    A size makes it a simulated card, of the kind of device that was named; several sizes, or a size
    and several devices, make it a group. Raises InvalidRequest for a size with a device that has no
    memory of its own, and for sizes and devices that differ in number.
    """
    kind, _, _ = flags.device.partition(":")
    words = named_devices(settings, flags.device)
    if vram is not None:
        sizes = [gibibytes(size, "vram") for size in vram.split(",")]
        if len(sizes) == 1:
            sizes *= len(words)
        if len(words) not in (1, len(sizes)) or len(sizes) > MOST_CARDS:
            allowed = f"a number of GB, or one for each card, and at most {MOST_CARDS}"
            raise InvalidRequest("vram", vram, allowed)
        return group([card_of(size, kind, "vram", vram) for size in sizes])
    cap = settings.vram_for("simulated")
    if cap is not None and flags.device == AUTO:
        return group([card(cap)] * len(words))
    return machine_here(settings, flags.device)


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
    if "," in flags.device:
        raise InvalidRequest("device", flags.device, "one card, with --all")
    length = in_role(type(request), "seconds")
    if length is None:
        raise InvalidRequest("all", True, "for requests with a length")
    kind, _, _ = flags.device.partition(":")
    rows = []
    for size in SIZES:
        for seconds in LENGTHS:
            timed = request.model_copy(update={length.name: float(seconds)})
            machine = card_of(size, kind, "all", True)
            rows.append((size, seconds, answered(timed, planned, machine, flags, settings)))
    if as_object:
        objects = [{"vram_gb": s, "duration": n, **as_json(a)} for s, n, a in rows]
        sys.stdout.write(json.dumps(objects, indent=1, default=str) + "\n")
        return 0
    sized = batch_default(request, settings.under(flags))
    count = sized.songs if isinstance(sized, Seeded) else 1
    many = "1 song" if count == 1 else f"{count} songs at once"
    sys.stdout.write(f"{planned.describe()}: {task_of(request)}, {many}\n")
    sys.stdout.write(f"{'card':>6} {'length':>7} {'peak':>9} {'time':>7}  plan\n")
    for size, seconds, answer in rows:
        line = _short(answer)
        sys.stdout.write(f"{size:>3} GB {seconds:>5} s  {line}\n")
    return 0


def _short(answer: Answer) -> str:
    if answer.plan is None:
        return f"{'–':>8} {'–':>7}  {answer.refusal}"
    plan = answer.plan
    words = [
        f"{p.component} {p.residency.value}"
        + (f" ({p.kept} stay)" if p.kept else "")
        + f" {p.precision}"
        for p in plan.placements
        if p.component == "dit"
    ]
    if answer.lm is not None:
        lm = plan.placement(plan.stages[0].uses[0])  # it plans the songs before all else
        words.append(f"LM {answer.lm} {lm.residency.value} {lm.precision}")
    tile = plan.stage(DECODE).tile
    words.append(f"tiles of {tile}" if not plan.stage(DECODE).host else "decoded on the host")
    params = (in_role(type(answer.request), role) for role in ROLES if role != "words")
    fields = [param.name for param in params if param is not None]
    clamped = [f"{n.field} {n.used}" for n in answer.notes if n.field in fields]
    return f"{gib(plan.peak):>8} {clock(plan.seconds):>7}  " + ", ".join([*words, *clamped])
