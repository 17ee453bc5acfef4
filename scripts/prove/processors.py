"""Numbers agree on other processors too: parity tests by vector width, library path and threads.

    python scripts/prove processors                        all settings, all numeric tests
    python scripts/prove processors sse two-threads        these settings only
    python scripts/prove processors sse -- tests/parity    these tests only

PyTorch, oneDNN and MKL choose kernels by what the processor has; the environment makes them choose
as on a smaller one. What a processor lacks cannot be asked for: there a setting runs as `here`.
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
NUMERIC = (
    "tests/parity",
    "tests/unit/nn",
    "tests/unit/diffusion",
    "tests/unit/lm",
    "tests/unit/runtime/test_prepare.py",
    "tests/unit/runtime/test_quantize.py",
    "tests/unit/models/acestep/test_conditions.py",
    "tests/unit/models/acestep/test_material.py",
    "tests/unit/device/test_simulated.py",
)


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
    passed = {name: run(name, tests) for name in asked or SETTINGS}
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"proof": "processors", "passed": passed, "seconds": seconds}))
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
