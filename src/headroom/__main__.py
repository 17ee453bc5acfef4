"""`python -m headroom` is the command line, under any name it was installed by."""

from __future__ import annotations

import sys

from headroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
