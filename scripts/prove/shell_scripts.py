"""The scripts at the root in a real terminal: every choice, Ctrl-C, occupied ports, odd paths."""

from __future__ import annotations

import subprocess
import sys

TESTS = ("tests/e2e/test_four_gb_script.py", "tests/e2e/test_gpu_management_script.py")

if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "-m", "slow", *TESTS, *sys.argv[1:]]
    sys.exit(subprocess.call(command))
