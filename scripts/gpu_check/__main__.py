"""Check this machine's card in one call: `python scripts/gpu_check [--out FILE]`.

Parity of every network with the host, times of step, decode and song beside their floors, memory
planned beside measured, the kernels that were taken. Writes one JSON file; the exit code is 1 if
something failed. `--small --device cpu` is a dry run of the same code. See docs/gpu-list.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS.parent / "src")]

if __name__ == "__main__":
    from gpu_check.main import main

    sys.exit(main(sys.argv[1:]))
