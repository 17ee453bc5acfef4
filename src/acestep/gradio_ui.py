"""The page under the name of ACE-Step's package; `python -m acestep.gradio_ui` serves it."""

from __future__ import annotations

import sys

from headroom.cli.ui import main as main

if __name__ == "__main__":
    sys.exit(main())
