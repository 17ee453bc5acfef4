"""The host as a `Machine`, without loading torch.

Torch takes seconds to load, and a plan for a host needs little of it: which vector extensions the
processor has under torch's names, and that this build of torch can use no card. Both change only
with torch or the processor, so the first process that loads it writes them to the cache folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psutil

from headroom.audio.atomic import write_json
from headroom.errors import InvalidFile, InvalidOutput, InvalidRequest
from headroom.files import read_json
from headroom.hardware.machine import Features, Machine
from headroom.log import log
from headroom.processor import cpu_name
from headroom.settings import AUTO, Settings, settings_of
from headroom.units import GIB

FILE = "host.json"
KNOWN = frozenset({"bfloat16", "float16", "fp8", "flash"})  # the others are vector extensions


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor as torch sees it: its name, features, and torch's attention for it."""

    name: str
    features: tuple[str, ...]
    attention: str


def host_machine(processor: Processor, cap: int | None = None) -> Machine:
    """The host with its memory as it is now; `cap` in bytes limits what plans use."""
    memory = psutil.virtual_memory()
    return Machine(
        name=processor.name,
        kind="cpu",
        total=int(memory.total),
        free=int(memory.available),
        host_total=int(memory.total),
        host_free=int(memory.available),
        cores=cores(),
        cap=cap,
        features=features_of(processor.features),
    )


def named_devices(settings: Settings, word: str = AUTO) -> tuple[str, ...]:
    """The words of the devices named by `word`, or else by the settings: several only of a group
    of cards. Raises InvalidRequest for several that make no group."""
    named = settings.device if word == AUTO else word
    if "," not in named:
        return (named,)
    takes = settings_of(Settings)["device"].takes
    try:
        return tuple(str(takes.read(named)).split(","))
    except ValueError as error:
        raise InvalidRequest("device", named, takes.allowed) from error


def standing_for(machine: Machine, settings: Settings) -> Machine:
    """The machine, with the card that the settings name where it has none of its own."""
    named = None if machine.accelerated else settings.vram_for("simulated")
    return machine if named is None else replace(machine, stands_for=int(named * GIB))


def cores() -> int:
    """The physical cores of the host; its logical ones where the system does not tell them."""
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def features_of(names: Iterable[str]) -> Features:
    """Features by the names that devices report them under."""
    there = frozenset(names)
    return Features(
        bfloat16="bfloat16" in there,
        float16="float16" in there,
        fp8="fp8" in there,
        flash="flash" in there,
        isa=tuple(sorted(there - KNOWN)),
    )


def remember(processor: Processor, folder: Path) -> None:
    """Write what torch told to the cache folder. A folder that cannot be written is logged."""
    build = _torch_build()
    if build is None or remembered(folder) == processor:
        return
    try:
        write_json(folder / FILE, {"torch": build, **asdict(processor)}, "cache_dir")
    except InvalidOutput as error:
        log.debug("the processor is not remembered: %s", error)


def remembered(folder: Path) -> Processor | None:
    """The processor that the installed torch told of before; None if it must be loaded to tell."""
    try:
        content = read_json(folder / FILE)
    except InvalidFile:
        return None
    if not isinstance(content, dict) or content.get("torch") != _torch_build():
        return None
    name, features, attention = (content.get(key) for key in ("name", "features", "attention"))
    if name != cpu_name() or not isinstance(name, str) or not isinstance(attention, str):
        return None
    if not isinstance(features, list) or not all(isinstance(one, str) for one in features):
        return None
    return Processor(name, tuple(features), attention)


def _torch_build() -> str | None:
    """The version of the installed torch, where it lies and since when; None if it is missing."""
    try:
        package = distribution("torch")
    except PackageNotFoundError:
        return None
    version = Path(str(package.locate_file("torch/version.py")))
    try:
        changed = version.stat().st_mtime_ns
    except OSError:
        return None
    return f"{package.version}, {version}, {changed}"
