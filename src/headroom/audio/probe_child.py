"""The child process of `storage/probe.py`: prints the length of an audio file as JSON.

Its arguments are the folder of this package, the file, and after how many seconds of sound it may
stop counting. It prints `{"seconds": …}`, or `{"why": …, "allowed": …}`.
"""

from __future__ import annotations

import json
import sys

from headroom.audio.files import probe_audio
from headroom.audio.media_child import limit
from headroom.errors import InvalidSource

_CPU_SECONDS = 60  # in case the parent died, which has a limit of its own
_MEMORY = 8 << 30  # address space, most of which numpy's threads set aside


def main() -> None:
    limit(_CPU_SECONDS, _MEMORY)
    path, most = sys.argv[2], float(sys.argv[3])
    try:
        answer: dict[str, object] = {"seconds": probe_audio(path, "file", most).seconds}
    except InvalidSource as error:
        answer = {"why": error.why, "allowed": error.allowed}
    sys.stdout.write(json.dumps(answer))
