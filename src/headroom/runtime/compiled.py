"""Compile what is really called, where a compiler is found; else, and on its failure, eager.

Only functions that are called often and with few shapes are worth it: a block of the denoiser, the
wide half of the decoder. Weights are inputs of what is compiled (Inductor's freezing stays off), so
a part that leaves the device and comes back needs no second compilation.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from torch import nn

from headroom.log import log

Call: TypeAlias = tuple[nn.Module, str]
"""A module and the name of its method that is called."""

R = TypeVar("R")
CACHE = "TORCHINDUCTOR_CACHE_DIR"
HOST_COMPILERS = ("g++", "clang++", "c++", "cl") if sys.platform != "win32" else ("cl", "clang++")


def compiler(device: torch.device) -> str | None:
    """What would compile for this device: the host's C++ compiler, or Triton; None: nothing does.

    Triton compiles its launchers with the host's compiler too, except on Windows.
    """
    named = os.environ.get("CXX", "")
    found = (shutil.which(name) for name in (named, *HOST_COMPILERS) if name)
    host = next((path for path in found if path is not None), None)
    if device.type == "cpu":
        return host
    if device.type not in ("cuda", "xpu") or importlib.util.find_spec("triton") is None:
        return None
    return "triton" if host is not None or sys.platform == "win32" else None


def compile_calls(calls: Iterable[Call], device: torch.device, cache: Path) -> bool:
    """Replace each method by its compiled form; the work is done when it is first called.

    `cache` keeps what was compiled for the next process, unless the environment names a folder.
    Returns whether there is a compiler; where there is none, nothing changes and the log says so.
    """
    if compiler(device) is None:
        log.warning("compile: no compiler for %s was found, so it runs as it is", device.type)
        return False
    os.environ.setdefault(CACHE, str(cache / "inductor"))
    state = _State()
    for module, name in calls:
        setattr(module, name, _guarded(getattr(module, name), state))
    return True


@dataclass(slots=True)
class _State:
    """Shared by all calls of a part, so that its compiler fails once and is not asked again."""

    failed: bool = False


def _guarded(function: Callable[..., R], state: _State) -> Callable[..., R]:
    compiled = torch.compile(function, options={"freezing": False})

    def call(*args: object, **named: object) -> R:
        if not state.failed:
            try:
                return compiled(*args, **named)
            except _faults() as error:
                state.failed = True
                said = " ".join(line.strip() for line in str(error).split("\n")[:2])
                log.warning("compile: %s; it runs as it is (%s)", said, type(error).__name__)
        return function(*args, **named)

    return call


def _faults() -> tuple[type[Exception], ...]:
    """What torch raises when compiling fails; asked for when it did, since importing it is slow."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InductorError

    return TorchDynamoException, InductorError, CppCompileError
