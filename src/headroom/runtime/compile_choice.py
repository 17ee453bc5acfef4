"""Decide, once when a model is opened, whether the process uses compiled code.

For the same seed, compiled code gives different bytes from eager code, so the choice must not
change within a process and must not depend on how a run goes. It is based on what `acestep compile`
measured on this machine: whole processes that made one song each, eager and compiled, with the
compiled code already on disk. If nothing was measured, or compiling was not faster over one song,
the process stays eager. A song records the choice, and a replay repeats it.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch

from headroom.audio.atomic import write_json
from headroom.device import Device
from headroom.errors import InvalidFile
from headroom.files import read_json
from headroom.log import log
from headroom.reasons import Reason, reason
from headroom.runtime.compiled import compiler

FILE = "compiled.json"
FASTER = 0.97  # of the eager time: a smaller saving may be noise


@dataclass(frozen=True, slots=True)
class Pair:
    """Median times, in seconds, of whole processes that made one song of `duration` seconds."""

    eager: float
    compiled: float
    duration: float

    @property
    def pays(self) -> bool:
        """Whether a process that makes one such song finishes sooner when compiled."""
        return self.compiled < FASTER * self.eager


@dataclass(frozen=True, slots=True)
class CompileChoice:
    """The user's setting for compiling, and where measurements are kept.

    wish      True or False if the user set it; None: compile where it pays
    promised  whether the card's tier compiles by default, so that not compiling needs a reason
    folder    the cache folder; None: nothing was measured
    """

    device: Device
    wish: bool | None = None
    promised: bool = False
    folder: Path | None = None

    def decide(self, model: str, dtype: str) -> bool:
        """Whether to compile a model in a precision."""
        return self._why_not(model, dtype) is None

    def why_not(self, model: str, dtype: str) -> Reason | None:
        """Why a model is not compiled although this was requested or promised; None: no reason."""
        compiles = self.promised if self.wish is None else self.wish
        return self._why_not(model, dtype) if compiles else None

    def _why_not(self, model: str, dtype: str) -> Reason | None:
        if self.wish is False:
            return reason("compile_unwanted")
        if compiler(self.device.torch) is None:
            return reason("no_compiler", device=self.device.torch.type)
        if self.wish:
            return None
        pair = recall(self.folder, key(self.device, model, dtype))
        if pair is None:
            return reason("compile_untried")
        if not pair.pays:
            return reason(
                "compile_slower",
                duration=pair.duration, compiled=pair.compiled, eager=pair.eager,
            )  # fmt: skip
        return None


def key(device: Device, model: str, dtype: str) -> str:
    """The key of a measurement; a different card, model or version needs a new one."""
    return ", ".join(
        (model, dtype, device.name, platform.system(), f"torch {torch.__version__}",
         f"headroom {metadata.version('headroom-audio')}")
    )  # fmt: skip


def recall(folder: Path | None, name: str) -> Pair | None:
    """The measurement stored under a key, or None if there is none or it cannot be read."""
    values = _read(folder).get(name)
    try:
        return Pair(**values) if isinstance(values, dict) else None
    except TypeError:  # the file has the fields of another version
        return None


def remember(folder: Path, name: str, pair: Pair) -> None:
    """Store a measurement. Raises InvalidOutput if the folder cannot be written."""
    write_json(folder / FILE, {**_read(folder), name: asdict(pair)}, "cache_dir")


def _read(folder: Path | None) -> dict[str, object]:
    if folder is None:
        return {}
    try:
        document = read_json(folder / FILE)
    except InvalidFile as error:
        if not error.missing:
            log.debug("what was measured of compiling is not used: %s", error)
        return {}
    return document if isinstance(document, dict) else {}
