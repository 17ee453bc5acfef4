"""Writes the songs of a result to files: either all of them completely, or none.

Every file is written beside its destination and renamed when all are complete. A failure, a full
disk or Ctrl-C leaves existing files as they were.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from headroom.audio.claims import ReservedName
from headroom.audio.files import Format, format_of
from headroom.audio.tags import COMMENT, PROVENANCE, TITLE
from headroom.audio.wave import Audio
from headroom.engine.names import LRC_SHA256, Names, Spot, Wanted
from headroom.engine.provenance import Provenance
from headroom.errors import InvalidOutput
from headroom.log import log
from headroom.params.clamp import Note
from headroom.reasons import reason
from headroom.terminal import visible


@dataclass(frozen=True, slots=True)
class Page:
    """One song to write: its audio, how it was made, the rest of its sidecar, and its lines as an
    LRC file, if there are any."""

    audio: Audio
    provenance: Provenance
    extras: Mapping[str, JsonValue]
    lrc: str = ""

    @property
    def title(self) -> str:
        """The first caption of its pass; empty where there is none."""
        captions = (asked.values.get("caption") for asked in self.provenance.requests)
        return next((one for one in captions if isinstance(one, str) and one), "")

    def asked(self, field: str) -> str:
        """A text in the request of this song; empty where there is none."""
        requests = self.provenance.requests
        value = requests[min(self.provenance.song, len(requests) - 1)].values.get(field)
        return value if isinstance(value, str) else ""


def save(
    pages: Sequence[Page],
    destination: Wanted,
    format: Format | None = None,
    bitrate: int | None = None,
) -> tuple[Path, ...]:
    """Write `name.flac`, `name-2.flac`, … and beside each its sidecar `name.json`, and its
    `name.lrc`; where a name is in use the next free number is taken, and a warning says so.

    The name decides the format where `format` is None. The provenance is in the tags and in the
    sidecar. Missing folders are created. Returns the audio files. Raises InvalidOutput for a place
    or format that cannot be written, and where files of another program are in the way.
    """
    kind = format_of(destination.path, destination.field) if format is None else format
    with Names(destination) as names:
        paths = write_all(pages, names, kind, bitrate)
        for note in names.notes:
            log.warning(note.sentence())
        return paths


def write_all(
    pages: Sequence[Page], names: Names, format: Format, bitrate: int | None = None
) -> tuple[Path, ...]:
    """The same under names that are already reserved."""
    spots = names.hold(len(pages))
    field = names.wanted.field
    written: list[tuple[ReservedName, bool]] = []
    for page, spot in zip(pages, spots, strict=True):
        written += _write(page, spot, format, bitrate, field)
    _publish(written)
    return tuple(spot.song.path for spot in spots)


def rescue(
    path: Path,
    spare: Sequence[Path],
    error: InvalidOutput,
    write: Callable[[Path], tuple[Path, ...]],
) -> tuple[tuple[Path, ...], Note]:
    """Write to another place what could not be written as `path`: beside it under another name, in
    one of the `spare` folders, or in the system's folder for temporary files.

    `write` tries one place. Returns the files, and a note that says where they are and why. Raises
    `error` where every place fails.
    """
    for folder in (path.parent, *spare, Path(tempfile.gettempdir())):
        with suppress(InvalidOutput):
            paths = write(folder / path.name)
            why = reason("kept_elsewhere", why=error.why, path=str(paths[0].absolute()))
            return paths, Note(error.field, str(path), str(paths[0]), why)
    raise error


def _write(
    page: Page, spot: Spot, format: Format, bitrate: int | None, field: str
) -> list[tuple[ReservedName, bool]]:
    """Write the parts of one song; returns them, each with whether it may replace a file."""
    texts = [(spot.sidecar, sidecar(page))]
    if page.lrc and spot.lrc is not None:
        texts.append((spot.lrc, page.lrc))
    try:
        page.audio.write_to(spot.song.begin(), format, bitrate, _tags(page), field)
        for beside, text in texts:
            beside.begin().write_bytes(text.encode("utf-8"))
    except InvalidOutput as error:  # about the part: name the requested file
        raise InvalidOutput(field, spot.song.path, error.why, error.allowed) from error
    except OSError as error:
        raise spot.song.fault(error) from error
    return [(one, one in spot.replaces) for one in (spot.song, *(beside for beside, _ in texts))]


def _publish(written: Sequence[tuple[ReservedName, bool]]) -> None:
    """Give all parts their final names, or none of them. A part that replaces a file comes last,
    because that cannot be undone."""
    new: list[ReservedName] = []
    try:
        for held, replaces in sorted(written, key=lambda one: one[1]):
            try:
                held.publish(replaces)
            except OSError as error:
                raise held.fault(error) from error
            if not replaces:
                new.append(held)
    except BaseException:
        for held in new:
            held.withdraw()
        raise


def _tags(page: Page) -> dict[str, str]:
    provenance = page.provenance
    return {
        **({TITLE: page.title} if page.title else {}),
        COMMENT: f"made with headroom, {provenance.model}, seed {provenance.seed}",
        "SEED": str(provenance.seed),
        PROVENANCE: provenance.model_dump_json(),
    }


def sidecar(page: Page) -> str:
    """The JSON text of a song's sidecar."""
    value = {"provenance": page.provenance.model_dump(mode="json"), **page.extras}
    if page.lrc:
        value[LRC_SHA256] = hashlib.sha256(page.lrc.encode("utf-8")).hexdigest()
    # The requested model's name may contain lone surrogates.
    return visible(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)) + "\n"
