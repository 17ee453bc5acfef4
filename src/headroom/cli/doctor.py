"""`acestep doctor`: reports what this machine has, what is installed, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from headroom.cli.output import check_folder
from headroom.cli.parser import Parser
from headroom.engine.terms import NO_CHOICES, choices_of, terms_in_force
from headroom.errors import InvalidOutput, InvalidRequest
from headroom.hardware.machine import fast_dtype
from headroom.models.family import Family
from headroom.models.registry import USUAL, family_named
from headroom.settings import Settings, load
from headroom.units import gib
from headroom.weights.catalog import MAIN, best, checkpoint_dirs, installed

DISTRIBUTION = "headroom-audio"
COMPILERS = ("c++", "g++", "clang++", "cl")
GPU_QUERY = ("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Device:
    """The computing device as the engine would see it now. Bytes; `budget`: what a plan may use."""

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
class Holder:
    """A process with memory on a GPU. `megabytes` is None where the driver does not say."""

    pid: int
    name: str
    megabytes: int | None


@dataclass(frozen=True, slots=True)
class Examined:
    """The whole report. `problems` keep a song from being made; `remarks` are worth knowing."""

    python: str
    system: str
    packages: dict[str, str | None]
    device: Device | None
    models: tuple[ModelHere, ...]
    model: str | None
    compiler: str | None
    output_dir: str
    gpu_processes: tuple[Holder, ...] | None
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
    device = _device(settings, problems)
    models, model = _models(known, settings, folder, problems, remarks)
    compiler = _compiler()
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


def _device(settings: Settings, problems: list[str]) -> Device | None:
    try:
        from headroom.device import cards, present
        from headroom.hardware.probe import machine_of, opened
    except ImportError as error:
        problems.append(f"torch cannot be loaded: {error}")
        return None
    try:
        device = opened(settings)
    except InvalidRequest as error:
        problems.append(str(error))
        return None
    machine = machine_of(device, settings)
    said = choices_of(NO_CHOICES, settings)
    terms = terms_in_force(machine, settings.policy, said, settings, device.can_capture())
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
        kinds=present(),
        tier=None if terms.tier is None else terms.tier.label,
        notes=tuple(note.sentence() for note in terms.notes),
        attention=device.attention(fast_dtype(machine)),
        rates=Rates(machine.copy_rate, machine.memory_rate, machine.matrix_rate),
        cards=tuple(CardHere(*one) for one in cards()),
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
    items = installed(checkpoint_dirs(settings, folder), family.folders.bundled)
    here = tuple(
        ModelHere(
            name=item.name,
            kind=item.kind,
            folder=str(item.folder),
            ready=item.ready,
            bundled=item.bundled,
            faults=(*item.faults, *(f"needs {name}, which is not here" for name in item.lacks)),
        )
        for item in items
    )
    remarks += [f"{m.folder}: {fault}" for m in here for fault in m.faults]
    chosen = best(items)
    named = [m for m in here if m.name == settings.model and m.kind == "dit" and m.ready]
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


def _compiler() -> str | None:
    """The C++ compiler torch would find: CXX, or a common name on PATH."""
    names = (os.environ.get("CXX", ""), *COMPILERS)
    return next((path for name in names if name and (path := shutil.which(name))), None)


def gpu_processes(program: str = "nvidia-smi") -> tuple[Holder, ...] | None:
    """The processes that hold memory on NVIDIA cards; None if their driver is not installed."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *GPU_QUERY], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return tuple(_holders(done.stdout))


def _holders(table: str) -> Iterator[Holder]:
    for line in table.splitlines():
        pid, comma, rest = line.partition(",")
        name, _, size = rest.rpartition(",")
        if comma and pid.strip().isdecimal():
            used = int(size) if size.strip().isdecimal() else None
            yield Holder(int(pid), name.strip(), used)


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


def _about(holder: Holder) -> str:
    size = "an unknown amount" if holder.megabytes is None else gib(holder.megabytes << 20)
    return f"GPU        {size} held by {holder.name} (process {holder.pid})"
