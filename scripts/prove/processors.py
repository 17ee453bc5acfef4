"""Numbers agree on other processors too: parity tests by vector width, library path and threads.

    python scripts/prove processors                        all settings, all numeric tests
    python scripts/prove processors sse two-threads        these settings only
    python scripts/prove processors sse -- tests/parity    these tests only

PyTorch, oneDNN and MKL choose kernels by what the processor has; the environment makes them choose
as on a smaller one. A wider one than is there cannot be asked for (PyTorch would die of an illegal
instruction), so that setting is left out, and said to be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, dict[str, str]] = {
    "here": {},
    "sse": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "two-threads": {"OMP_NUM_THREADS": "2"},
}
WIDTHS = ("default", "avx2", "avx512")
NUMERIC = (
    "tests/parity",
    "tests/unit/nn",
    "tests/unit/diffusion",
    "tests/unit/lm",
    "tests/unit/runtime/test_prepare.py",
    "tests/unit/runtime/test_quantize.py",
    "tests/unit/models/acestep/test_conditions.py",
    "tests/unit/models/acestep/test_source_latents.py",
    "tests/unit/device/test_simulated.py",
)


def widest() -> str:
    """What PyTorch finds here when nobody tells it: default, avx2 or avx512."""
    told = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    free = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    done = subprocess.run(
        [sys.executable, "-c", told], env=free, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def lacks(name: str, here: str) -> bool:
    """Whether a setting asks for wider vectors than this processor has."""
    asked = SETTINGS[name].get("ATEN_CPU_CAPABILITY", "default")
    known = here if here in WIDTHS else "default"
    return WIDTHS.index(asked) > WIDTHS.index(known)


def run(name: str, tests: list[str]) -> bool:
    """Whether the tests pass under a setting."""
    print(f"\n== {name}: {SETTINGS[name] or 'as the processor is'}", flush=True)
    # Several processes of two threads each would only wait for each other.
    workers = ["-n", "1"] if name == "two-threads" else []
    environment = {**os.environ, **SETTINGS[name]}
    command = [sys.executable, str(ROOT / "scripts" / "test"), *workers, *tests]
    return subprocess.call(command, cwd=ROOT, env=environment) == 0


def main(words: list[str]) -> int:
    asked, tests = words, list(NUMERIC)
    if "--" in words:
        at = words.index("--")
        asked, tests = words[:at], words[at + 1 :]
    unknown = [name for name in asked if name not in SETTINGS]
    if unknown:
        known = ", ".join(SETTINGS)
        print(f"processors: {unknown[0]!r} is not known; known: {known}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    names, here = asked or list(SETTINGS), widest()
    absent = [name for name in names if lacks(name, here)]
    passed = {name: run(name, tests) for name in names if name not in absent}
    seconds = round(time.perf_counter() - began, 1)
    said = {"proof": "processors", "passed": passed, "left_out": absent, "seconds": seconds}
    print(json.dumps(said))
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
