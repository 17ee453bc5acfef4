"""The tests marked slow: the same promises as every day's, on larger sizes and more examples."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.call([sys.executable, "-m", "pytest", "-m", "slow", *sys.argv[1:]])
    if code == 5:
        print("no test is marked slow")
    sys.exit(0 if code == 5 else code)
