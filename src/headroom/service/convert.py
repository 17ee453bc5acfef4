"""Converts an audio file, with its tags, in a process of its own, which imports torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from headroom.audio.encode import write_audio
from headroom.audio.files import read_audio
from headroom.audio.tags import read_tags
from headroom.errors import InvalidOutput
from headroom.files import parse_json


def main() -> None:
    """Read source, target, format and bit rate as JSON from standard input, and print {} or why it
    cannot be done."""
    given = parse_json(sys.stdin.buffer.read())
    assert isinstance(given, list)
    source, to, format, bitrate = given
    try:
        write_audio(Path(to), read_audio(Path(source)), format, bitrate, read_tags(Path(source)))
    except InvalidOutput as error:
        sys.stdout.write(json.dumps({"why": error.why}))
    else:
        sys.stdout.write("{}")


if __name__ == "__main__":
    main()
