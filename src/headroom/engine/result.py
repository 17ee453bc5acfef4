"""The result of a request: its audio, and a report of how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import JsonValue
from torch import Tensor

from headroom.audio.files import Format
from headroom.audio.wave import Audio
from headroom.engine.names import Names, Wanted, inputs_of
from headroom.engine.provenance import Provenance
from headroom.engine.save import Page, note_json, plain, save, write_all
from headroom.memory.plan import Plan
from headroom.models.base import Song, Timestamps
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.runtime.events import StageDone


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage, planned and measured: peak bytes on the device, and seconds.

    Of its seconds, `loading` were spent waiting for parts. `counted`: see `StageDone`.
    """

    stage: str
    planned_bytes: int
    measured_bytes: int
    planned_seconds: float
    seconds: float
    loading: float
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """All stages of a pass, and its wall-clock seconds from request to audio.

    attention  the kernel that computes it
    advice     what would be faster here; None: nothing
    language   the language model that was used; None: none
    """

    stages: tuple[StageReport, ...]
    seconds: float
    attention: str = ""
    advice: str | None = None
    language: str | None = None

    @property
    def planned_bytes(self) -> int:
        """The largest planned peak."""
        return max((s.planned_bytes for s in self.stages), default=0)

    @property
    def measured_bytes(self) -> int:
        """The largest measured peak."""
        return max((s.measured_bytes for s in self.stages), default=0)


def report(
    plan: Plan,
    done: Sequence[StageDone],
    seconds: float,
    attention: str = "",
    advice: str | None = None,
) -> Report:
    """The report of a pass."""
    stages = (
        StageReport(
            d.stage,
            d.planned,
            d.measured,
            plan.stage(d.stage).seconds,
            d.seconds,
            d.loading,
            d.counted,
        )
        for d in done
    )
    return Report(tuple(stages), seconds, attention, advice)


@dataclass(frozen=True, slots=True)
class Result:
    """The songs of one request.

    request     as it was carried out: inside its limits, with every seed filled in
    audios      one for each song
    kept        tensors returned beside the audio, such as `latents`; of the whole pass
    provenance  one for each song
    thought     the report of the language model, where one planned the songs
    timestamps  when each song's lines are sung, where requested (`Engine.timed`)
    """

    request: Request
    audios: tuple[Audio, ...]
    songs: tuple[Song, ...]
    plan: Plan
    report: Report
    notes: tuple[Note, ...]
    provenance: tuple[Provenance, ...]
    kept: Mapping[str, Tensor]
    thought: Report | None = None
    timestamps: tuple[Timestamps, ...] = ()

    @property
    def audio(self) -> Audio:
        """The audio of the first song."""
        return self.audios[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each song."""
        return tuple(song.seed for song in self.songs)

    def save(
        self,
        path: str | Path,
        format: Format | None = None,
        bitrate: int | None = None,
        *,
        force: bool = False,
    ) -> tuple[Path, ...]:
        """Write every song and its sidecar: `name.flac`, `name-2.flac`, …; all of them or none.

        A song with timed lines also gets `name.lrc`. Arguments that are None follow the request;
        a format that the request leaves open follows the name.

        No existing file is replaced: where an earlier song has the name, the next free number is
        taken, and the returned paths show it. `force` replaces the song at `path` with its own
        sidecar and lines. Raises InvalidOutput, also if another program's file is at `path`.
        """
        pages = self.pages()
        lrc = any(page.lrc for page in pages)
        inputs = inputs_of(self.request)
        wanted = Wanted(Path(path), force=force, lrc=lrc, inputs=inputs)
        return save(pages, wanted, *self._kind(format, bitrate))

    def save_as(self, names: Names, format: Format) -> tuple[Path, ...]:
        """The same under names that are already reserved."""
        return write_all(self.pages(), names, format, self._kind(format, None)[1])

    def pages(self) -> tuple[Page, ...]:
        """What to write for each song."""
        extras: dict[str, JsonValue] = {
            "notes": [note_json(note) for note in self.notes],
            "report": plain(asdict(self.report)),
            "plan": plain(self.plan.explain().splitlines()),
        }
        texts = [one.lrc for one in self.timestamps] or [""] * len(self.audios)
        songs = zip(self.audios, self.provenance, texts, strict=True)
        return tuple(Page(audio, made, extras, text) for audio, made, text in songs)

    def _kind(self, format: Format | None, bitrate: int | None) -> tuple[Format | None, int | None]:
        asked = self.request if isinstance(self.request, _Written) else None
        kind = format or (asked.audio_format if asked else None)
        return kind, bitrate or (asked.bitrate if asked else None)


@runtime_checkable
class _Written(Protocol):
    """A request that has fields for the kind of file its songs become."""

    @property
    def audio_format(self) -> Format | None: ...

    @property
    def bitrate(self) -> int | None: ...
