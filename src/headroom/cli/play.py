"""`acestep generate --play`: plays songs with an installed player."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import InvalidRequest

# Players that exit after the song and show nothing; %s is the file.
_PLAYERS: tuple[tuple[str, ...], ...] = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error", "%s"),
    ("mpv", "--no-video", "--really-quiet", "%s"),
    ("cvlc", "--play-and-exit", "--quiet", "%s"),
    ("afplay", "%s"),
    ("pw-play", "%s"),
    ("paplay", "%s"),
    ("play", "-q", "%s"),
)


@dataclass(frozen=True, slots=True)
class Player:
    """A program that plays a file and exits. No command: Windows' default program for the file."""

    command: tuple[str, ...]

    def play(self, songs: Sequence[Path]) -> None:
        """Play the songs one after another; Ctrl-C ends it. Failures are only printed on standard
        error, since the songs are already written."""
        for song in songs:
            if sys.platform == "win32" and not self.command:
                os.startfile(song)
                continue
            words = [str(song.absolute()) if word == "%s" else word for word in self.command]
            try:
                code = subprocess.run(
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
                ).returncode
            except OSError as error:
                sys.stderr.write(f"note: {self.command[0]} does not start ({error.strerror}).\n")
                return
            if code:
                sys.stderr.write(f"note: {self.command[0]} ended with {code} and {str(song)!r}.\n")


def find_player() -> Player:
    """The first installed player; on Windows, failing that, the default program for such files.

    Raises InvalidRequest if there is none.
    """
    for command in _PLAYERS:
        program = shutil.which(command[0])
        if program is not None:
            return Player((program, *command[1:]))
    if sys.platform == "win32":
        return Player(())
    names = ", ".join(command[0] for command in _PLAYERS)
    raise InvalidRequest("play", True, f"where one of these is installed: {names}")
