"""The page as ACE-Step starts it: `python -m acestep.acestep_v15_pipeline`, with its flags."""

from __future__ import annotations

import sys

from headroom.cli.ui import main as main

if __name__ == "__main__":
    sys.exit(main())
