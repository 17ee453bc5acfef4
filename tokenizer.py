"""`StepAudioTokenizer` of Step-Audio-EditX, for programs that import it from a checkout."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("headroom") is None:  # a checkout that was never installed
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from acestep.step_audio.tokenizer import StepAudioTokenizer

__all__ = ["StepAudioTokenizer"]
