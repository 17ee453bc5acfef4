"""What a door is, and what becomes of a case there: taken, refused in our words, or a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from headroom.errors import DownloadFailed, HeadroomError, InvalidCheckpoint
from headroom.terminal import visible

LONGEST_SENTENCE = 2000  # characters
_LISTS = (InvalidCheckpoint, DownloadFailed)  # say a line for each fault


class Wrong(Exception):
    """A case that was taken, and of which something is not as it should be."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where cases of a kind come in.

    draw   makes a case, all of it from the source of chance
    enter  hands it in, with an empty folder for its files. Returns where the case is taken, raises
           HeadroomError where it is refused, anything else where it fails
    """

    draw: Callable[[Random], Any]
    enter: Callable[[Any, Path], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case. `fault`: what failed, if it did; `seconds` in the door alone."""

    taken: bool
    seconds: float
    fault: BaseException | None = None


def drawn(door: Door, seed: int, kind: str, number: int) -> Any:
    """The case of a seed, a kind and a number: always the same."""
    return door.draw(Random(f"{seed}/{kind}/{number}"))


def handed_in(door: Door, case: Any, folder: Path) -> Outcome:
    """What becomes of a case at a door."""
    began = time.perf_counter()
    taken, fault = True, None
    try:
        door.enter(case, folder)
    except HeadroomError as refusal:
        seconds = time.perf_counter() - began
        taken, fault = False, bad_sentence(refusal)
        return Outcome(taken, seconds, fault)
    except BaseException as error:  # whatever it is, it is what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        fault = error
    return Outcome(taken, time.perf_counter() - began, fault)


def bad_sentence(refusal: HeadroomError) -> Wrong | None:
    """What is wrong with the words of a refusal."""
    said = str(refusal)
    lines = said.split("\n") if isinstance(refusal, _LISTS) else [said]
    if not said.strip():
        return Wrong("a refusal without words")
    if any(len(line) > LONGEST_SENTENCE for line in lines):
        return Wrong(f"a refusal of {len(said)} characters: {said[:200]!r}")
    for line in lines:
        if visible(line) != line or "\n" in line or "\t" in line:
            return Wrong(f"a refusal with control characters: {said[:300]!r}")
    return None
