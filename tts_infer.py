#!/usr/bin/env python3
"""`tts_infer.py` of Step-Audio-EditX: its flags for `acestep speech`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("headroom") is None:  # a checkout that was never installed
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from acestep.step_audio.infer import main

if __name__ == "__main__":
    sys.exit(main())
