"""Finds the C++ compiler of the host, which Inductor and Triton call."""

from __future__ import annotations

import os
import shutil
import sys

_COMMON = ("cl", "clang++") if sys.platform == "win32" else ("g++", "clang++", "c++", "cl")


def host_compiler() -> str | None:
    """The path of the compiler that CXX names, else of a common one on PATH; None if none."""
    names = (os.environ.get("CXX", ""), *_COMMON)
    return next((path for name in names if name and (path := shutil.which(name))), None)
