"""What an uploaded file holds: its kind by its first bytes, its length by a child process.

Decoders are large and the files are strangers': one that makes a decoder loop or crash costs a
child process, and no more than its time limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from headroom.audio.formats import READABLE
from headroom.errors import InvalidSource

SECONDS = 20.0  # that a probe may take; a second at most, but for an mp3 that gives no length
MOST_SECONDS = 3600.0  # of sound
_HEAD = 12
_BEGINNINGS = (
    (0, b"RIFF", "audio/wav"),
    (0, b"RIFX", "audio/wav"),
    (0, b"RF64", "audio/wav"),
    (0, b"FORM", "audio/aiff"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
    (4, b"ftyp", "audio/mp4"),
)
# The package that runs here, wherever a child would look for it by itself.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from headroom.audio.probe_child import main"
_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Sound:
    """An audio file: its media type, and its length in seconds."""

    kind: str
    seconds: float


def kind_of(head: bytes) -> str | None:
    """The media type of an audio file by its first 12 bytes; None for anything else."""
    for start, mark, kind in _BEGINNINGS:
        if head[start : start + len(mark)] == mark:
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"  # its layer
    return None


def kind_in(path: Path) -> str | None:
    """The media type of an audio file on this machine; None for anything else. Raises OSError."""
    with path.open("rb") as file:
        return kind_of(file.read(_HEAD))


def probe(
    path: Path, name: str, field: str = "file", seconds: float = SECONDS, most: float = MOST_SECONDS
) -> Sound:
    """The kind and length of an audio file. `name` is what errors call it, as its path is nobody's
    business. Raises InvalidSource, also for one longer than `most` seconds."""
    kind = kind_in(path)
    if kind is None:
        raise InvalidSource(field, name, "is not audio of a known kind", READABLE)
    command = [sys.executable, "-P", "-c", f"{_START}; main()", str(_PACKAGE), str(path), str(most)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        why = f"took longer than {seconds:g} s to be examined"
        raise InvalidSource(field, name, why, READABLE) from None
    except ValueError as error:
        raise InvalidSource(field, name, "made the decoder end", READABLE) from error
    if "why" in said:
        raise InvalidSource(field, name, said["why"], said["allowed"])
    if said["seconds"] > most:
        raise InvalidSource(
            field, name, f"lasts {said['seconds']:.0f} s or more", f"at most {most:.0f} s"
        )
    return Sound(kind, said["seconds"])
