"""Where songs go, asked before anything is loaded; and what is said of them afterwards."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headroom import paths
from headroom.audio.encode import Format, format_of
from headroom.audio.lrc import ENDING as LRC
from headroom.errors import InvalidOutput, InvalidRequest
from headroom.params.clamp import Note
from headroom.units import clock, gib

if TYPE_CHECKING:
    from headroom.engine.result import Report, Result, StageReport

LATENTS = ".safetensors"
_SIDECAR = ".json"
_LONGEST = 40  # characters of a caption in a file's name


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request's songs go: the file somebody named, else new names in a folder."""

    format: Format
    folder: Path
    named: Path | None = None

    def path(self, words: str, seed: int, songs: int) -> Path:
        """The first song's file. A name that nobody gave is one that is not in use."""
        if self.named is not None:
            return self.named
        stem, ending = f"{slug(words)}-{seed}", f".{container(self.format)}"
        number = 1
        while True:
            path = self.folder / (f"{stem}-{number}{ending}" if number > 1 else stem + ending)
            if not any(paths.exists(used) for used in _written(path, songs)):
                return path
            number += 1


@dataclass(frozen=True, slots=True)
class Saved:
    """A result and the file of each of its songs."""

    result: Result
    paths: tuple[Path, ...]

    def has_lines(self, song: int) -> bool:
        """Whether an LRC file lies beside it."""
        timed = self.result.timestamps
        return bool(timed) and bool(timed[song].lines)


def container(format: Format) -> Format:
    """The format as its files end: the three kinds of wav are one."""
    return "wav" if format.startswith("wav") else format


def place(named: str | None, asked: Format | None, usual: Format, folder: Path) -> Place:
    """Where to write, checked by writing: `named` by somebody, else below `folder`.

    `asked` is the format somebody asked for, `usual` that of names nobody gave. Raises
    InvalidOutput and InvalidRequest; leaves nothing behind.
    """
    if named is None:
        check_folder(folder, folder, "output folder")
        return Place(asked or usual, folder)
    path = paths.expanded(named, "output")
    check_file(path, "output")
    ending = format_of(path)
    if asked is not None and container(asked) != ending:
        allowed = f"{ending}, as the name {path.name!r} ends, or another name"
        raise InvalidRequest("audio_format", asked, allowed)
    beside = path.with_suffix(_SIDECAR)
    if paths.exists(beside) and not _is_sidecar(beside):
        allowed = f"a name beside which {beside.name!r} is free"
        raise InvalidOutput("output", path, f"has a {beside.name!r} beside it, not ours", allowed)
    return Place(asked or ending, path.parent, path)


def check_latents(named: str | None) -> Path | None:
    """The file for latents. Raises InvalidOutput."""
    if named is None:
        return None
    path = paths.expanded(named, "save_latents")
    if path.suffix.lower() != LATENTS:
        why = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise InvalidOutput("save_latents", path, why, f"a name that ends in {LATENTS}")
    check_file(path, "save_latents")
    return path


def check_lrc(where: Place) -> None:
    """Raise InvalidOutput where no LRC file can be beside the first song."""
    if where.named is not None:
        check_file(where.named.with_suffix(LRC), "lrc")


def check_file(path: Path, field: str) -> None:
    """Raise InvalidOutput where no file can be written under this name."""
    if paths.is_dir(path):
        raise InvalidOutput(field, path, "is a folder", "the name of a file")
    check_folder(path.parent, path, field)


def check_folder(folder: Path, asked: Path, field: str) -> None:
    """Raise InvalidOutput where no file can be made in the folder, or the folder not be made."""
    allowed = "a place that can be written to"
    there = next(step for step in (folder, *folder.absolute().parents) if paths.exists(step))
    if not paths.is_dir(there):
        raise InvalidOutput(field, asked, f"cannot be written ({there} is no folder)", allowed)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise InvalidOutput(field, asked, why, allowed) from error


def slug(words: str) -> str:
    """Words as part of a file's name: lower case, hyphens, no longer than 40 letters."""
    text = re.sub(r"[\W_]+", "-", words.casefold()).strip("-")
    if len(text) > _LONGEST:
        text = text[: _LONGEST + 1].rpartition("-")[0] or text[:_LONGEST]
    return text or "song"


def save(result: Result, where: Place, words: str, latents: Path | None = None) -> Saved:
    """Write the songs, and the latents where wanted: all of it or nothing. Raises InvalidOutput."""
    from headroom.audio.atomic import replacing

    path = where.path(words, result.seeds[0], len(result.seeds))
    with ExitStack() as places:
        if latents is not None:
            temp = places.enter_context(replacing(latents, "save_latents"))
            temp.write_bytes(_latents(result))
        return Saved(result, result.save(path, where.format))


def _latents(result: Result) -> bytes:
    """`noise` and `latents` [B, T, 64], fp32; T is the longest song's."""
    from safetensors.torch import save as pack

    kept = {n: t.float().contiguous() for n, t in result.kept.items() if n in ("noise", "latents")}
    return pack(kept)


def _written(path: Path, songs: int) -> Iterable[Path]:
    """Every file that saving that many songs under this name makes."""
    for number in range(1, songs + 1):
        song = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        yield from (song, song.with_suffix(_SIDECAR), song.with_suffix(LRC))


def _is_sidecar(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"provenance"' in file.read(200)
    except OSError:
        return False


# --- words -------------------------------------------------------------------------------


def tell_notes(notes: Iterable[Note], known: set[str]) -> None:
    """Say each note once, on standard error."""
    for note in notes:
        sentence = note.sentence()
        if sentence not in known:
            known.add(sentence)
            sys.stderr.write(f"note: {sentence}\n")
    sys.stderr.flush()


def tell_report(reports: Iterable[Report], stages: bool) -> None:
    """What each stage took beside what was planned, unless that was said as it ended; the kernel
    of attention, and what would be faster. On standard error."""
    for report in reports:
        for stage in report.stages if stages else ():
            time = f"{clock(stage.seconds)}{_planned(clock(stage.planned_seconds), stage)}"
            loading = f", {clock(stage.loading)} of it loading" if stage.loading >= 0.1 else ""
            planned = f" ({gib(stage.planned_bytes)} planned)" if stage.planned_bytes else ""
            size = f"{gib(stage.measured_bytes)}{planned}"
            sys.stderr.write(f"{stage.stage}: {time}{loading}, {size}\n")
        sys.stderr.write(f"attention by {report.attention}\n")
        if report.advice is not None:
            sys.stderr.write(f"advice: {report.advice}\n")
    sys.stderr.flush()


def _planned(seconds: str, stage: StageReport) -> str:
    return f" ({seconds} planned)" if stage.planned_seconds else ""


def tell_songs(saved: Sequence[Saved]) -> None:
    """A line for each song, on standard output."""
    for one in saved:
        for path, seed, audio in zip(one.paths, one.result.seeds, one.result.audios, strict=True):
            sys.stdout.write(f"{path}  seed {seed}, {clock(audio.seconds)}\n")


def tell_json(saved: Sequence[Saved]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(as_json(saved), indent=1, allow_nan=False) + "\n")


def as_json(saved: Sequence[Saved]) -> dict[str, object]:
    """What `--json` prints: outputs, report, notes. `request` counts the requests from 0."""
    from headroom.engine.save import note_json

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
        notes += [{**_object(note_json(note)), "request": index} for note in one.result.notes]
    return {"outputs": outputs, "report": _report(reports(saved)), "notes": notes}


def reports(saved: Sequence[Saved]) -> list[Report]:
    """Of every thought and every pass, in this order; results of one pass share theirs."""
    thoughts = [one.result.thought for one in saved if one.result.thought is not None]
    return [*thoughts, *{id(one.result.report): one.result.report for one in saved}.values()]


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {"sentence": value}


def _report(passes: Sequence[Report]) -> dict[str, object]:
    return {
        "stages": [asdict(stage) for report in passes for stage in report.stages],
        "planned_bytes": max(report.planned_bytes for report in passes),
        "measured_bytes": max(report.measured_bytes for report in passes),
        "seconds": sum(report.seconds for report in passes),
        "attention": passes[0].attention,
        "advice": next((report.advice for report in passes if report.advice), None),
    }
