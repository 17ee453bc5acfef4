"""Runs headroom's command line for `python -m acestep`."""

from __future__ import annotations

import sys

from headroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
