#!/usr/bin/env python3
"""`acestep profile` under its old name: `python profile_inference.py --mode benchmark`."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("headroom") is None:  # a checkout that was never installed
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

if __name__ == "__main__":
    from headroom.cli.main import main

    sys.exit(main(["profile", *sys.argv[1:]]))
