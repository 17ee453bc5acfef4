"""`acestep doctor`: reports what this machine has, what is installed, and what is missing."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from headroom.cli.folders import check_folder
from headroom.cli.parser import Parser
from headroom.engine.policy import policy_in_force
from headroom.errors import InvalidOutput, InvalidRequest
from headroom.hardware.here import host_without_torch, machine_here
from headroom.hardware.holders import Holder, gpu_processes
from headroom.hardware.machine import Machine, fast_dtype
from headroom.host_compiler import host_compiler
from headroom.models.family import Family
from headroom.models.registry import USUAL, family_named
from headroom.runtime.arbiter.processes import OnCard, on_all_cards
from headroom.settings import Settings, load
from headroom.units import gib
from headroom.weights.catalog import MAIN, checkpoint_dirs

DISTRIBUTION = "headroom-audio"


@dataclass(frozen=True, slots=True)
class Device:
    """The computing device as the engine would see it now. Bytes; `budget`: what a plan may use.

    cards   of this machine; `beside`: those that are used with it, in a group
    """

    name: str
    kind: str
    total: int
    free: int
    budget: int
    host_total: int
    host_free: int
    cores: int
    features: tuple[str, ...]
    kinds: tuple[str, ...]
    tier: str | None = None
    notes: tuple[str, ...] = ()
    attention: str = ""
    rates: Rates | None = None
    cards: tuple[CardHere, ...] = ()
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """A further card of a group. Bytes."""

    name: str
    total: int
    free: int
    budget: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes per second to the device and in its memory, and matrix operations per second.

    Measured once and remembered, or typical for cards of the size; None: unknown.
    """

    copy: float | None
    memory: float | None
    matrix: float | None


@dataclass(frozen=True, slots=True)
class CardHere:
    """One card of this machine, named as in the settings (`cuda:1`); bytes."""

    word: str
    name: str
    total: int


@dataclass(frozen=True, slots=True)
class ModelHere:
    """A model folder, and the reason if it cannot be used."""

    name: str
    kind: str
    folder: str
    ready: bool
    bundled: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """The whole report. `problems` keep a song from being made; `remarks` are worth knowing.
    `gpu_processes` are those that a driver lists, `sharing` those that keep accounts of cards."""

    python: str
    system: str
    packages: dict[str, str | None]
    device: Device | None
    models: tuple[ModelHere, ...]
    model: str | None
    compiler: str | None
    output_dir: str
    gpu_processes: tuple[Holder, ...] | None
    sharing: tuple[OnCard, ...] = ()
    problems: tuple[str, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())


def parser() -> Parser:
    """The flags of `acestep doctor`."""
    about = "What this machine has, and what is missing."
    made = Parser("acestep doctor", description=about, allow_abbrev=False)
    made.add_argument("--json", action="store_true", help="one JSON object")
    made.add_argument("--checkpoint-dir", type=Path, metavar="FOLDER", help="look for models here")
    made.add_argument("--family", default=USUAL, metavar="NAME", help="family of models")
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep doctor [--json]`: 0 if a song can be made, else 1."""
    args = parser().parse_args(words)
    found = examine(load(), args.checkpoint_dir, args.family)
    sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n" if args.json else _text(found))
    return 1 if found.problems else 0


def examine(settings: Settings, folder: Path | None = None, family: str = USUAL) -> Examined:
    """Probe everything once. Raises InvalidRequest for an unknown family."""
    known = family_named(family)
    problems: list[str] = []
    remarks = list(settings.warnings)
    packages = dict(_packages())
    problems += [f"{name} is not installed" for name, there in packages.items() if there is None]
    device = _device(known, settings, problems)
    models, model = _models(known, settings, folder, problems, remarks)
    compiler = host_compiler()
    if compiler is None:
        remarks.append("no C++ compiler was found; nothing will be compiled, which is slower")
    try:
        check_folder(settings.output_dir, settings.output_dir, "output folder")
    except InvalidOutput as error:
        problems.append(str(error))
    return Examined(
        python=platform.python_version(),
        system=platform.platform(),
        packages=packages,
        device=device,
        models=models,
        model=model,
        compiler=compiler,
        output_dir=str(settings.output_dir.absolute()),
        gpu_processes=gpu_processes(),
        sharing=on_all_cards(settings.accounts),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _packages() -> Iterator[tuple[str, str | None]]:
    """The version of each package the program needs; None where it is not installed."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        if name is not None and "extra ==" not in line:
            try:
                yield name[0], version(name[0])
            except PackageNotFoundError:
                yield name[0], None


def _device(family: Family, settings: Settings, problems: list[str]) -> Device | None:
    processor = host_without_torch(settings)
    if processor is not None:
        machine = machine_here(settings)
        return _seen(family, settings, machine, processor.attention, False, ("cpu",), ())
    try:
        from headroom.device import cards, present
        from headroom.hardware.probe import machine_of, open_probed
    except ImportError as error:
        problems.append(f"torch cannot be loaded: {error}")
        return None
    try:
        devices = open_probed(settings)
    except InvalidRequest as error:
        problems.append(str(error))
        return None
    machine, device = machine_of(devices, settings), devices[0]
    attention = device.attention(fast_dtype(machine))
    here = tuple(CardHere(*one) for one in cards())
    return _seen(family, settings, machine, attention, device.can_capture(), present(), here)


def _seen(
    family: Family,
    settings: Settings,
    machine: Machine,
    attention: str,
    captures: bool,
    kinds: tuple[str, ...],
    cards: tuple[CardHere, ...],
) -> Device:
    policy = policy_in_force(machine, settings, captures, family.tiers)
    on = ("bfloat16", "float16", "fp8", "flash")
    words = tuple(name for name in on if getattr(machine.features, name))
    return Device(
        name=machine.name,
        kind=machine.kind,
        total=machine.total,
        free=machine.free,
        budget=machine.budget,
        host_total=machine.host_total,
        host_free=machine.host_free,
        cores=machine.cores,
        features=(*words, *machine.features.isa),
        kinds=kinds,
        tier=None if policy.tier is None else policy.tier.label,
        notes=tuple(note.sentence() for note in policy.notes),
        attention=attention,
        rates=Rates(machine.copy_rate, machine.memory_rate, machine.matrix_rate),
        cards=cards,
        beside=tuple(Beside(c.name, c.total, c.free, c.budget) for c in machine.beside),
    )


def _models(
    family: Family,
    settings: Settings,
    folder: Path | None,
    problems: list[str],
    remarks: list[str],
) -> tuple[tuple[ModelHere, ...], str | None]:
    if family.folders is None:
        return (), family.name
    catalogue = family.folders.catalogue
    items = catalogue.installed(checkpoint_dirs(settings, folder))
    here = tuple(
        ModelHere(
            name=item.name,
            kind=item.kind.name,
            folder=str(item.folder),
            ready=item.ready,
            bundled=item.bundled,
            faults=(*item.faults, *(f"needs {name}, which is not here" for name in item.lacks)),
        )
        for item in items
    )
    remarks += [f"{m.folder}: {fault}" for m in here for fault in m.faults]
    chosen = catalogue.best(items)
    core = catalogue.core.name
    named = [m for m in here if m.name == settings.model and m.kind == core and m.ready]
    if settings.model is not None and not named:
        problems.append(f"HEADROOM_MODEL is {settings.model}, which is not here, or not whole")
        return here, None
    if chosen is None:
        problems.append(f"no model is here: fetch one with `acestep models download {MAIN}`")
        return here, None
    name = settings.model or chosen.name
    if settings.model is None and chosen.bundled:
        remarks.append(
            "only the small bundled model is here: "
            f"fetch a real one with `acestep models download {MAIN}`"
        )
    return here, name


# --- texts -------------------------------------------------------------------------------


def _text(found: Examined) -> str:
    lines = [f"Python     {found.python} on {found.system}"]
    known = (f"{name} {number or 'MISSING'}" for name, number in found.packages.items())
    lines.append(f"packages   {', '.join(known) or 'not installed as a package'}")
    lines += list(_about_device(found.device))
    lines.append(f"compiler   {found.compiler or 'none'}")
    for model in found.models:
        state = "whole" if model.ready else "cannot be used"
        lines.append(f"model      {model.name} ({model.kind}): {state}, {model.folder}")
    lines.append(f"in use     {found.model or 'none'}")
    lines.append(f"songs go   {found.output_dir}")
    lines.append("ffmpeg     not needed")
    lines += [_about_member(one) for one in found.sharing]
    if found.gpu_processes is not None:
        lines += [_about(holder) for holder in found.gpu_processes] or ["GPU        held by nobody"]
    lines += [f"remark     {sentence}" for sentence in found.remarks]
    lines += [f"PROBLEM    {sentence}" for sentence in found.problems]
    lines.append("A song cannot be made here." if found.problems else "A song can be made here.")
    return "\n".join(lines) + "\n"


def _about_device(device: Device | None) -> Iterator[str]:
    if device is None:
        yield "device     none"
        return
    yield f"device     {device.name} ({device.kind}; there are: {', '.join(device.kinds)})"
    free = f"{gib(device.free)} of {gib(device.total)} free"
    yield f"memory     {free}, {gib(device.budget)} to plan with"
    for number, one in enumerate(device.beside, 1):
        free = f"{gib(one.free)} of {gib(one.total)} free"
        yield f"with it    card {number}: {one.name}, {free}, {gib(one.budget)} to plan with"
    if device.kind != "cpu":
        yield f"host       {gib(device.host_free)} of {gib(device.host_total)} free"
    yield f"features   {', '.join(device.features) or 'none known'}; {device.cores} cores"
    yield f"attention  {device.attention}"
    if device.tier is not None:
        yield f"tier       {device.tier}"
    for note in device.notes:
        yield f"note       {note}"
    yield from _about_rates(device.rates)
    if len(device.cards) > 1:
        for card in device.cards:
            yield f"card       {card.word}: {card.name}, {gib(card.total)}"


def _about_rates(rates: Rates | None) -> Iterator[str]:
    if rates is None:
        return
    known = (
        (rates.copy, 1e9, "GB/s to the device"),
        (rates.memory, 1e9, "GB/s in its memory"),
        (rates.matrix, 1e12, "TFLOP/s of products"),
    )
    said = [f"{rate / unit:.3g} {words}" for rate, unit, words in known if rate is not None]
    if said:
        yield f"rates      {', '.join(said)}"


def _about_member(one: OnCard) -> str:
    parts = [f"{gib(one.leased)} at work"] if one.leased else []
    if one.idle:
        since = "" if one.idle_seconds is None else f" for {one.idle_seconds:.0f} s"
        parts.append(f"{gib(one.idle)} idle{since}")
    parts += [f"waits for {gib(one.needs)}"] if one.needs else []
    who = f"{one.name} (process {one.pid} of {one.host})"
    return f"shared     {one.card}: {who}, {', '.join(parts) or 'holds nothing'}"


def _about(holder: Holder) -> str:
    size = "an unknown amount" if holder.megabytes is None else gib(holder.megabytes << 20)
    return f"GPU        {size} held by {holder.name} (process {holder.pid})"
