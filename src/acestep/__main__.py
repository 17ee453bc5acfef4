"""`python -m acestep` is the command line of headroom."""

from __future__ import annotations

import sys

from headroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
