"""The result of a request: its output, and a report of how it was made. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from pydantic import JsonValue

from headroom.audio.files import Format
from headroom.audio.wave import Audio
from headroom.engine.names import Names, Wanted, inputs_of
from headroom.engine.provenance import Asked, Provenance, asked_of
from headroom.engine.report import Report
from headroom.engine.save import Page, save, write_all
from headroom.engine.wire import Outcome, note_json, plain
from headroom.engine.wire.results import Output as MadeOutput
from headroom.engine.wire.results import SongMade, SongsMade
from headroom.memory.plan import Plan
from headroom.models.base import Song
from headroom.models.outputs import Answer, Timestamps
from headroom.params.clamp import Note
from headroom.params.request import SONGS, Request

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Songs:
    """The output of a request for songs.

    audios      one for each song
    kept        tensors returned beside the audio, such as `latents`; of the whole pass
    provenance  one for each song
    thought     the report of the language model, where one planned the songs
    timestamps  when each song's lines are sung, where requested (`Engine.timed`)
    """

    kind: ClassVar[str] = SONGS
    audios: tuple[Audio, ...]
    songs: tuple[Song, ...]
    provenance: tuple[Provenance, ...]
    kept: Mapping[str, Tensor]
    thought: Report | None = None
    timestamps: tuple[Timestamps, ...] = ()


Output: TypeAlias = Songs | Answer
"""Everything that a request can give back."""
O_co = TypeVar("O_co", bound=Output, covariant=True)


@dataclass(frozen=True, slots=True)
class Result(Generic[O_co]):
    """What a request gave back, and how.

    request  as it was carried out: inside its limits, with every seed filled in
    notes    what differs from the request, and what the user should know
    """

    request: Request
    output: O_co
    plan: Plan
    report: Report
    notes: tuple[Note, ...]

    @property
    def asked(self) -> Asked:
        """The record of the request."""
        return asked_of(self.request)

    @property
    def audios(self: Result[Songs]) -> tuple[Audio, ...]:
        """The audio of each song."""
        return self.output.audios

    @property
    def audio(self: Result[Songs]) -> Audio:
        """The audio of the first song."""
        return self.output.audios[0]

    @property
    def songs(self: Result[Songs]) -> tuple[Song, ...]:
        """The songs as they were rendered."""
        return self.output.songs

    @property
    def seeds(self: Result[Songs]) -> tuple[int, ...]:
        """The seed of each song."""
        return tuple(one.seed for one in self.output.provenance)

    @property
    def provenance(self: Result[Songs]) -> tuple[Provenance, ...]:
        """How each song was made."""
        return self.output.provenance

    @property
    def kept(self: Result[Songs]) -> Mapping[str, Tensor]:
        """Tensors returned beside the audio."""
        return self.output.kept

    @property
    def thought(self: Result[Songs]) -> Report | None:
        """The report of the language model, where one planned the songs."""
        return self.output.thought

    @property
    def timestamps(self: Result[Songs]) -> tuple[Timestamps, ...]:
        """When each song's lines are sung, where requested."""
        return self.output.timestamps

    def outcome(self) -> Outcome:
        """The same without audio and tensors, as `engine.wire.result_json` writes it."""
        output, thought = self.output, None
        if isinstance(output, Songs):
            thought = output.thought
            lines = [times.lines for times in output.timestamps] or [()] * len(output.audios)
            songs = zip(output.audios, output.provenance, lines, strict=True)
            shown: MadeOutput = SongsMade(
                tuple(SongMade(made.seed, sound.seconds, made, own) for sound, made, own in songs)
            )
        else:
            shown = replace(output, notes=())
        return Outcome(shown, self.asked, self.plan, self.report, thought, self.notes)

    def save(
        self: Result[Songs],
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
        destination = Wanted(Path(path), force=force, lrc=lrc, inputs=inputs)
        return save(pages, destination, *self._kind(format, bitrate))

    def save_as(self: Result[Songs], names: Names, format: Format) -> tuple[Path, ...]:
        """The same under names that are already reserved."""
        return write_all(self.pages(), names, format, self._kind(format, None)[1])

    def pages(self: Result[Songs]) -> tuple[Page, ...]:
        """What to write for each song."""
        extras: dict[str, JsonValue] = {
            "notes": [note_json(note) for note in self.notes],
            "report": plain(asdict(self.report)),
            "plan": plain(self.plan.explain().splitlines()),
        }
        texts = [one.lrc for one in self.timestamps] or [""] * len(self.audios)
        songs = zip(self.audios, self.provenance, texts, strict=True)
        return tuple(Page(audio, provenance, extras, text) for audio, provenance, text in songs)

    def _kind(self, format: Format | None, bitrate: int | None) -> tuple[Format | None, int | None]:
        written = self.request if isinstance(self.request, _Written) else None
        kind = format or (written.audio_format if written else None)
        return kind, bitrate or (written.bitrate if written else None)


SongResult: TypeAlias = Result[Songs]


@runtime_checkable
class _Written(Protocol):
    """A request that has fields for the kind of file its songs become."""

    @property
    def audio_format(self) -> Format | None: ...

    @property
    def bitrate(self) -> int | None: ...
