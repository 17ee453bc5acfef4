"""Compile a model's hot functions if a compiler is available; otherwise run them eagerly.

If compiling fails, they run eagerly too. Only functions that are called often and with few shapes
are worth compiling: a block of the denoiser, the wide half of the decoder. Weights are inputs of
the compiled code (Inductor's freezing stays off), so a part that leaves the device and comes back
is not compiled a second time.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from torch import nn

from headroom.host_compiler import host_compiler
from headroom.log import log

Call: TypeAlias = tuple[nn.Module, str]
"""A module and the name of its method that is called."""

R = TypeVar("R")
CACHE = "TORCHINDUCTOR_CACHE_DIR"


def compiler(device: torch.device) -> str | None:
    """The compiler for this device: the host's C++ compiler, or Triton; None: there is none.

    Triton compiles its launchers with the host's compiler too, except on Windows.
    """
    host = host_compiler()
    if device.type == "cpu":
        return host
    if device.type not in ("cuda", "xpu") or importlib.util.find_spec("triton") is None:
        return None
    return "triton" if host is not None or sys.platform == "win32" else None


def compile_calls(calls: Iterable[Call], device: torch.device, cache: Path) -> bool:
    """Replace each method by its compiled form; compilation happens on its first call.

    `cache` keeps the compiled code for the next process, unless the environment names a folder.
    Returns whether there is a compiler; if there is none, nothing changes and the log says so.
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
    """State shared by all calls of a part, so that a compiler that failed is not tried again."""

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
    """The errors torch raises when compiling fails; imported only then, since that is slow."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InductorError

    return TorchDynamoException, InductorError, CppCompileError
