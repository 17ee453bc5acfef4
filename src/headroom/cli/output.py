"""Checks where songs go before anything is loaded, writes them, and prints the results."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headroom import paths
from headroom.audio.claims import ReservedName, reserved, resolved_target
from headroom.audio.encode import Format, check_codec, format_of
from headroom.audio.formats import container
from headroom.audio.lrc import ENDING as LRC
from headroom.cli.folders import check_folder
from headroom.cli.progress import memory
from headroom.engine.names import NOTHING_READ, Inputs, Names, Wanted, check_inputs
from headroom.errors import InvalidOutput, InvalidRequest
from headroom.params.clamp import Note
from headroom.units import clock

if TYPE_CHECKING:
    from headroom.engine.report import Report, StageReport
    from headroom.engine.result import SongResult

LATENTS = ".safetensors"
_MADE_BY = "headroom"
_LONGEST = 40  # characters of a caption in a file's name


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request's songs go: the file the user named, else new names in a folder.

    force   whether an earlier file of that name is replaced
    suffix  a word after the name that distinguishes it from others of the run
    """

    format: Format
    folder: Path
    named: Path | None = None
    force: bool = False
    suffix: str = ""

    def wanted(self, words: str, seed: int, lrc: bool, inputs: Inputs = NOTHING_READ) -> Wanted:
        """The first song's name, and the conditions for reserving it."""
        ending = f"-{self.suffix}" if self.suffix else ""
        if self.named is None:
            name = f"{slug(words)}{ending}-{seed}.{container(self.format)}"
            return Wanted(self.folder / name, given=False, lrc=lrc)
        if ending:
            path = self.named.with_stem(self.named.stem + ending)
            return Wanted(path, given=False, lrc=lrc)
        return Wanted(self.named, force=self.force, lrc=lrc, inputs=inputs)


@dataclass(frozen=True, slots=True)
class Saved:
    """A result and the file of each of its songs. `rescued`: they were written to another place;
    the notes say where and why."""

    result: SongResult
    paths: tuple[Path, ...]
    notes: tuple[Note, ...] = ()
    rescued: bool = False

    def has_lines(self, song: int) -> bool:
        """Whether a song has an LRC file beside it."""
        timed = self.result.timestamps
        return bool(timed) and bool(timed[song].lines)


@dataclass(frozen=True, slots=True)
class Latents:
    """The reserved file for latents; `replaces`: the existing file of that name."""

    claim: ReservedName
    replaces: bool


def place(
    name: str | None, requested: Format | None, usual: Format, folder: Path, force: bool = False
) -> Place:
    """Where to write, checked by a trial write: the user's `name`, else a new one in `folder`.

    `asked` is the requested format, `usual` the format for names that are not given. Raises
    InvalidOutput and InvalidRequest; leaves nothing behind.
    """
    if name is None:
        check_codec(requested or usual, "audio_format", requested or usual)
        check_folder(folder, folder, "output folder")
        return Place(requested or usual, folder)
    path = paths.expanded(name, "output")
    check_file(path, "output")
    ending = format_of(path)
    check_codec(ending, "output", path)
    if requested is not None and container(requested) != ending:
        allowed = f"{ending}, as the name {path.name!r} ends, or another name"
        raise InvalidRequest("audio_format", requested, allowed)
    return Place(requested or ending, path.parent, path, force)


def check_latents(name: str | None) -> Path | None:
    """The file for latents. Raises InvalidOutput."""
    if name is None:
        return None
    path = paths.expanded(name, "save_latents")
    if path.suffix.lower() != LATENTS:
        why = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise InvalidOutput("save_latents", path, why, f"a name that ends in {LATENTS}")
    check_file(path, "save_latents")
    return path


@contextmanager
def held_latents(path: Path | None, inputs: Inputs, force: bool) -> Iterator[Latents | None]:
    """Reserve the file for latents. Raises InvalidOutput for one that is not this program's."""
    if path is None:
        yield None
        return
    check_inputs(path, Wanted(path, force=force, inputs=inputs, field="save_latents"))
    with reserved(path, "save_latents", force, _is_latents) as (held, replaces):
        yield Latents(held, replaces)


def check_file(path: Path, field: str) -> None:
    """Raise InvalidOutput if no file can be written under this name."""
    check_folder(resolved_target(path, field).parent, path, field)


def slug(words: str) -> str:
    """Words as part of a file's name: lower case, hyphens, at most 40 characters."""
    text = re.sub(r"[\W_]+", "-", words.casefold()).strip("-")
    if len(text) > _LONGEST:
        text = text[: _LONGEST + 1].rpartition("-")[0] or text[:_LONGEST]
    return text or "song"


def save(
    result: SongResult, names: Names, format: Format, latents: Latents | None, spare: Sequence[Path]
) -> Saved:
    """Write the songs under their reserved names, and the latents if requested.

    What cannot be written there goes beside it under another name, else into the first of the
    `spare` folders, else into the system's folder for temporary files; a note says where. Raises
    InvalidOutput if nothing can be written anywhere.
    """
    from headroom.engine.save import rescue

    destination = names.wanted

    def to(path: Path) -> tuple[Path, ...]:
        with Names(replace(destination, path=path, given=False)) as others:
            return result.save_as(others, format)

    try:
        songs, notes, rescued = result.save_as(names, format), names.notes, False
    except InvalidOutput as error:
        names.close()
        songs, where = rescue(destination.path, spare, error, to)
        notes, rescued = (where,), True
    note = None if latents is None else _save_latents(result, latents, spare)
    if note is not None:
        notes, rescued = (*notes, note), True
    return Saved(result, songs, notes, rescued)


def _save_latents(result: SongResult, latents: Latents, spare: Sequence[Path]) -> Note | None:
    """Write the latents; returns a note if they went to another place."""
    from headroom.engine.save import rescue

    held, content = latents.claim, _latents(result)

    def write(held: ReservedName, replaces: bool) -> None:
        try:
            held.begin().write_bytes(content)
            held.publish(replaces)
        except OSError as error:
            raise held.fault(error) from error

    def to(path: Path) -> tuple[Path, ...]:
        with reserved(path, held.field, False, lambda there: True) as (other, _):
            write(other, False)
            return (other.path,)

    try:
        write(held, latents.replaces)
    except InvalidOutput as error:
        held.release()
        return rescue(held.path, spare, error, to)[1]
    return None


def _latents(result: SongResult) -> bytes:
    """`noise` and `latents` [B, T, 64], fp32; T is the longest song's."""
    from safetensors.torch import save as pack

    kept = {n: t.float().contiguous() for n, t in result.kept.items() if n in ("noise", "latents")}
    return pack(kept, metadata={_MADE_BY: "latents"})


def _is_latents(path: Path) -> bool:
    """Whether this program wrote a file of latents: the first bytes of its header say so."""
    try:
        with path.open("rb") as file:
            return f'"__metadata__":{{"{_MADE_BY}":"latents"}}'.encode() in file.read(400)
    except OSError:
        return False


# --- texts -------------------------------------------------------------------------------


def tell_report(reports: Iterable[Report], stages: bool) -> None:
    """Print to standard error what each stage took and what was planned, unless that was printed
    when it ended; the attention kernel, and what would be faster."""
    for report in reports:
        for stage in report.stages if stages else ():
            time = f"{clock(stage.seconds)}{_planned(clock(stage.planned_seconds), stage)}"
            loading = f", {clock(stage.loading)} of it loading" if stage.loading >= 0.1 else ""
            size = memory(stage.planned_bytes, stage.measured_bytes, stage.counted)
            sys.stderr.write(f"{stage.stage}: {time}{loading}, {size}\n")
        sys.stderr.write(f"attention by {report.attention}\n")
        if report.advice is not None:
            sys.stderr.write(f"advice: {report.advice}\n")
    sys.stderr.flush()


def _planned(seconds: str, stage: StageReport) -> str:
    return f" ({seconds} planned)" if stage.planned_seconds else ""


def tell_songs(saved: Sequence[Saved]) -> None:
    """Print a line for each song, on standard output."""
    for one in saved:
        for path, seed, audio in zip(one.paths, one.result.seeds, one.result.audios, strict=True):
            sys.stdout.write(f"{path}  seed {seed}, {clock(audio.seconds)}\n")


def tell_json(saved: Sequence[Saved]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(as_json(saved), indent=1, allow_nan=False) + "\n")


def as_json(saved: Sequence[Saved]) -> dict[str, object]:
    """What `--json` prints: outputs, report, notes. `request` counts the requests from 0."""
    from headroom.engine.wire import note_json

    outputs: list[dict[str, object]] = []
    notes = []
    for index, one in enumerate(saved):
        songs = zip(one.paths, one.result.seeds, one.result.audios, strict=True)
        for number, (path, seed, audio) in enumerate(songs):
            lines = {"lrc": str(path.with_suffix(LRC))} if one.has_lines(number) else {}
            outputs.append(
                {"path": str(path), "seed": seed, "duration": audio.seconds, **lines}
                | {"request": index}
            )
        shown = (*one.result.notes, *one.notes)
        notes += [{**note_json(note), "request": index} for note in shown]
    return {"outputs": outputs, "report": _report(reports(saved)), "notes": notes}


def reports(saved: Sequence[Saved]) -> list[Report]:
    """The reports of all planning and of all passes, in this order; one pass has one report."""
    thoughts = [one.result.thought for one in saved if one.result.thought is not None]
    return [*thoughts, *{id(one.result.report): one.result.report for one in saved}.values()]


def _report(passes: Sequence[Report]) -> dict[str, object]:
    return {
        "stages": [asdict(stage) for report in passes for stage in report.stages],
        "planned_bytes": max(report.planned_bytes for report in passes),
        "measured_bytes": max(report.measured_bytes for report in passes),
        "seconds": sum(report.seconds for report in passes),
        "attention": passes[0].attention,
        "advice": next((report.advice for report in passes if report.advice), None),
    }
