"""Write the songs of a result: all of them whole, or none.

Every file is written beside its place and renamed when all are complete. A failure, a full disk
or Ctrl-C leaves what was there before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from headroom.audio.atomic import replacing
from headroom.audio.files import Format, format_of, write
from headroom.audio.lrc import ENDING as LRC
from headroom.audio.tags import COMMENT, PROVENANCE, TITLE
from headroom.audio.wave import Audio
from headroom.engine.provenance import Provenance
from headroom.errors import InvalidOutput
from headroom.params.clamp import Note

SIDECAR = ".json"


@dataclass(frozen=True, slots=True)
class Page:
    """One song to write: its audio, how it was made, the rest of its sidecar, and its lines as an
    LRC file where there are some."""

    audio: Audio
    provenance: Provenance
    extras: Mapping[str, JsonValue]
    lrc: str = ""


def save(
    pages: Sequence[Page],
    path: Path,
    format: Format | None = None,
    bitrate: int | None = None,
    field: str = "output",
) -> tuple[Path, ...]:
    """Write `name.flac`, `name-2.flac`, … and beside each its sidecar `name.json`, and its
    `name.lrc`.

    The format is decided by the name where `format` is None. The provenance is in the tags and in
    the sidecar. Files of these names are replaced, missing folders made. Returns the audio files.
    Raises InvalidOutput for a place or format that cannot be written.
    """
    kind = format_of(path, field) if format is None else format
    targets = tuple(_numbered(path, i) for i in range(len(pages)))
    if any(target.with_suffix(SIDECAR) == target for target in targets):
        allowed = "a name that does not end in .json, which is the sidecar's"
        raise InvalidOutput(field, path, "is the name of its own sidecar", allowed)
    with ExitStack() as places:
        for page, target in zip(pages, targets, strict=True):
            temp = places.enter_context(replacing(target, field))
            try:
                write(temp, page.audio, kind, bitrate, _tags(page.provenance), field)
            except InvalidOutput as error:  # of the file beside: say the one that was asked for
                raise InvalidOutput(field, target, error.why, error.allowed) from error
            beside = places.enter_context(replacing(target.with_suffix(SIDECAR), field))
            beside.write_text(_sidecar(page), encoding="utf-8")
            if page.lrc:
                lines = places.enter_context(replacing(target.with_suffix(LRC), field))
                lines.write_bytes(page.lrc.encode("utf-8"))
    return targets


def note_json(note: Note) -> JsonValue:
    """A note as JSON, with its sentence; a value JSON has no word for becomes text."""
    return plain({**asdict(note), "sentence": note.sentence()})


def plain(value: object) -> JsonValue:
    """Nested values as JSON; paths, infinity and other strangers as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and value - value == 0:  # finite
        return value
    return str(value)


def _numbered(path: Path, index: int) -> Path:
    return path if index == 0 else path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def _tags(made: Provenance) -> dict[str, str]:
    title = next(
        (c for a in made.requests if isinstance(c := a.values.get("caption"), str) and c), ""
    )
    return {
        **({TITLE: title} if title else {}),
        COMMENT: f"made with headroom, {made.model}, seed {made.seed}",
        "SEED": str(made.seed),
        PROVENANCE: made.model_dump_json(),
    }


def _sidecar(page: Page) -> str:
    value = {"provenance": page.provenance.model_dump(mode="json"), **page.extras}
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
