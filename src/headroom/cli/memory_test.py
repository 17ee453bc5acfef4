"""The test of the memory settings: where each came from, a plan, and what they allow here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headroom.cli.orders import SOURCE
from headroom.cli.plan import machine_for
from headroom.engine.forecast import Answer, allowed_on, answered, as_text
from headroom.engine.limits import most_seconds
from headroom.engine.options import EngineOptions
from headroom.hardware.machine import Machine
from headroom.models.family import Family, ModelChoice, Unopened
from headroom.models.registry import family_named
from headroom.params.describe import in_role
from headroom.params.request import Request
from headroom.settings import FOUR_GB, Settings
from headroom.units import gib

WORKS, OFF, LIMITED, NOT_HERE = "works", "off", "limited", "does not fit"
COVER = "cover"
_LONG = float(FOUR_GB["ACESTEP_MAX_DURATION"])  # songs beyond it are a row of their own
_RATE = 8000  # of the silence that stands in for a recording


@dataclass(frozen=True, slots=True)
class Row:
    """What somebody may want, whether it can be had here, and the figures or the reason."""

    what: str
    status: str
    why: str


class MemoryTest:
    """The plans of a machine under these settings. Raises HeadroomError."""

    def __init__(self, settings: Settings, options: EngineOptions) -> None:
        self._settings, self._options = settings, options
        self._family: Family = family_named(options.family)
        choice = ModelChoice(options.model, options.checkpoint_dir, settings)
        self._planned: Unopened = self._family.plan(choice)
        self.machine: Machine = machine_for(None, options, settings)

    def longest(self) -> Answer:
        """The plan of the longest song that is allowed."""
        usual = self._request()
        found, limits = allowed_on(
            usual, self._planned, self.machine, self._options, self._settings
        )
        seconds = most_seconds(usual, limits, found, self._settings)
        return self._answered(self._request(duration=seconds))

    def rows(self) -> Iterator[Row]:
        """The rows of the 4 GB mode's table of limits."""
        longest = self.longest()
        seconds = longest.seconds
        yield _works("songs from a description", longest)
        yield _works("lyrics of your own", self._answered(
            self._request(duration=seconds, lyrics="[Verse]\nwords of my own")
        ))  # fmt: skip
        yield _asked(
            "language model (--thinking)", self._answered(self._request(thinking=True)), "thinking"
        )
        several = in_role(self._family.usual_request, "count")
        assert several is not None
        yield _asked(
            "several songs at once", self._answered(self._request(**{several.name: 2})),
            several.name,
        )  # fmt: skip
        beyond = self._answered(self._request(duration=_LONG + 1))
        yield _asked(f"songs beyond {_LONG / 60:g} minutes", beyond, "duration")
        with _silence(seconds) as recording:
            cover = self._family.requests[COVER].model_validate({SOURCE: recording})
            yield _works("cover of a recording", self._answered(cover))
        yield self._several_models(longest)

    def _several_models(self, longest: Answer) -> Row:
        peak = 0 if longest.plan is None else longest.plan.peak
        together = 0 < 2 * peak <= self.machine.budget
        status = WORKS if together else LIMITED
        why = "the parts of two fit side by side" if together else "one on the card at a time"
        return Row("several models", status, f"{why}; idle ones wait in main memory")

    def _request(self, **fields: object) -> Request:
        return self._family.usual_request.model_validate({"caption": "a song", **fields})

    def _answered(self, request: Request) -> Answer:
        return answered(request, self._planned, self.machine, self._options, self._settings)


def tested(settings: Settings, options: EngineOptions) -> int:
    """Print the test; the exit code: 1 if the longest song has no plan. Raises HeadroomError."""
    test = MemoryTest(settings, options)
    longest = test.longest()
    sys.stdout.write(f"{settings_table(settings)}\n{as_text(longest)}\n{limits_table(test)}")
    return 0 if longest.plan is not None else 1


def settings_table(settings: Settings) -> str:
    """The settings that the mode concerns: the name that is in force, its value and its source."""
    rows = settings.rows()
    lines = []
    for variable in FOUR_GB:
        row = next(row for row in rows if variable in (row.name, *row.replaces))
        lines.append((variable, row.value, row.source))
    return _columns(("setting", "value", "from"), lines)


def limits_table(test: MemoryTest) -> str:
    """What can be had, line by line."""
    lines = [(row.what, row.status, row.why) for row in test.rows()]
    return _columns(("wanted", "here", "because"), lines)


def _works(what: str, answer: Answer) -> Row:
    if answer.plan is None:
        return Row(what, NOT_HERE, str(answer.refusal))
    return Row(what, WORKS, f"{answer.seconds:g} s take {gib(answer.plan.peak)} of the card")


def _asked(what: str, answer: Answer, field: str) -> Row:
    """A row for something that a note on `field` refuses or limits."""
    note = next((note for note in answer.notes if note.field == field), None)
    if note is None:
        return _works(what, answer)
    status = OFF if note.used is False else LIMITED
    used = "" if note.used is False else f"{note.used:g}: " if _is_number(note.used) else ""
    return Row(what, status, f"{used}{note.why}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _columns(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in (0, 1)]
    lines = (f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in (head, *rows))
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def _silence(seconds: float) -> Iterator[Path]:
    """A file with so much silence, which is removed afterwards."""
    import numpy as np
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "silence.wav"
        soundfile.write(file, np.zeros(int(seconds * _RATE), np.int16), _RATE)
        yield file
