"""Entry point of `python -m headroom`, which runs the command line."""

from __future__ import annotations

import sys

from headroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
