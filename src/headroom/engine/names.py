"""File names of a run's songs: chosen before the work, and reserved until they are written.

Beside a song `name.flac` lie its sidecar `name.json` and, where its lines are timed, `name.lrc`;
further songs are `name-2.flac`, … . Only a song whose name the user gave may be replaced, with
`force`, together with its own sidecar and lines; every other existing file is left untouched.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self, TypeAlias, cast

from headroom.audio.claims import IN_USE, NEW_NAME, ReservedName, numbered_path, reserve, sweep
from headroom.audio.formats import Format
from headroom.audio.lrc import ENDING as LRC
from headroom.audio.tags import PROVENANCE, read_tags
from headroom.engine.provenance import SIDECAR as SIDECAR
from headroom.errors import InvalidFile, InvalidOutput, InvalidSource
from headroom.files import parse_json, read_bytes, read_json
from headroom.params.clamp import Note
from headroom.params.describe import describe, stand_in
from headroom.params.request import Request
from headroom.reasons import Reason, reason

FORMAT = "audio_format"  # the name of a field, in families that have it
USUAL_FORMAT: Format = "flac"  # where a family's requests have no format
LRC_SHA256 = "lrc_sha256"
"""Where a sidecar says which bytes of the LRC file beside it are this program's."""

Inputs: TypeAlias = Mapping[str, tuple[Path, ...]]
NOTHING_READ: Inputs = MappingProxyType({})

EARLIER_SONG = reason("earlier_song")
OTHERS_SIDECAR = reason("others_sidecar")
OTHER_RUN = reason("other_run")
TAKEN = reason("name_in_use")
_MOST = 100_000  # names tried


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where songs are to go.

    path    of the first song
    given   whether the user gave that name; otherwise the search for a free name starts there
    force   whether an existing song of the given name is replaced
    lrc     whether there may be LRC files beside the songs
    inputs  files the request reads, by field
    field   the name that errors use for it
    """

    path: Path
    given: bool = True
    force: bool = False
    lrc: bool = False
    inputs: Inputs = dataclasses.field(default_factory=dict)
    field: str = "output"


@dataclass(frozen=True, slots=True)
class Spot:
    """The names of one song and of the files beside it. `replaces`: its own existing files, which
    may be replaced."""

    song: ReservedName
    sidecar: ReservedName
    lrc: ReservedName | None
    replaces: tuple[ReservedName, ...] = ()


class Names:
    """The names of songs, each reserved from `hold` until `close` or the end of a `with` block."""

    def __init__(self, destination: Wanted) -> None:
        self.wanted = destination
        self.notes: tuple[Note, ...] = ()
        self._spots: list[Spot] = []
        self._held = ExitStack()
        self._tried = 0
        self._why = TAKEN

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release every name."""
        self._held.close()
        self._spots.clear()
        self._tried = 0

    def hold(self, songs: int) -> list[Spot]:
        """Reserve the names of this many songs. Raises InvalidOutput."""
        if self.wanted.path.suffix.lower() in (SIDECAR, LRC):
            ending = self.wanted.path.suffix.lower()
            allowed = f"a name that does not end in {ending}, which is for the file beside a song"
            why = "is the name of its own sidecar"
            raise InvalidOutput(self.wanted.field, self.wanted.path, why, allowed)
        while len(self._spots) < songs:
            self._tried += 1
            if self._tried > _MOST:
                why = f"and {_MOST} names like it are in use"
                raise InvalidOutput(self.wanted.field, self.wanted.path, why, NEW_NAME)
            spot_or_reason = self._try(self._tried)
            if isinstance(spot_or_reason, Spot):
                self._spots.append(spot_or_reason)
            elif self._tried == 1:
                self._why = spot_or_reason
        sweep(self._spots[0].song.target.parent)
        self.notes = tuple(self._said())
        return self._spots[:songs]

    def _said(self) -> list[Note]:
        """A note for each song whose name differs from the one the user gave."""
        if not self.wanted.given:
            return []
        pairs = (
            (numbered_path(self.wanted.path, i), s) for i, s in enumerate(self._spots, start=1)
        )
        return [
            Note(self.wanted.field, usual.name, spot.song.path.name, self._why)
            for usual, spot in pairs
            if usual != spot.song.path
        ]

    def _try(self, number: int) -> Spot | Reason:
        """The reserved names of a song, or the reason they are not available."""
        path = numbered_path(self.wanted.path, number)
        given = number == 1 and self.wanted.given
        if not given and any(map(os.path.lexists, _all_names(path))):
            return TAKEN
        if given:
            check_inputs(self.wanted.path, self.wanted)
        with ExitStack() as held:
            names = _all_names(path) if self.wanted.lrc else _all_names(path)[:2]
            claims: list[ReservedName] = []
            for name in names:
                one = reserve(name, "lrc" if name.suffix == LRC else self.wanted.field)
                if one is None:
                    return OTHER_RUN
                held.callback(one.release)
                claims.append(one)
            spot = Spot(claims[0], claims[1], claims[2] if self.wanted.lrc else None)
            if any(one.in_use for one in claims):
                if not given:
                    return TAKEN
                checked = _given(spot, self.wanted)
                if isinstance(checked, Reason):
                    return checked
                spot = checked
            self._held.push(held.pop_all())
            return spot


def inputs_of(request: Request) -> Inputs:
    """The files a request reads, by field."""
    inputs: dict[str, tuple[Path, ...]] = {}
    for param in describe(type(request)):
        value = getattr(request, param.name)
        if param.kind is Path and value:
            inputs[param.name] = value if isinstance(value, tuple) else (value,)
    return inputs


def usual_format(kind: type[Request]) -> Format:
    """The format of songs for which none was asked, by name or otherwise."""
    known = FORMAT in kind.model_fields
    return cast("Format", stand_in(kind, FORMAT)) if known else USUAL_FORMAT


def check_inputs(path: Path, destination: Wanted) -> None:
    """Raise InvalidOutput for a name of a file that the request reads, unless `force` is set."""
    for name, files in destination.inputs.items():
        for file in files:
            with suppress(OSError, ValueError):  # one of them does not exist, so they differ
                if os.path.samefile(path, file) and not destination.force:
                    raise InvalidOutput(
                        destination.field, path, f"is the {name} of this very request", NEW_NAME
                    )


def is_ours(song: Path) -> bool:
    """Whether a song's tags say that this program made it."""
    with suppress(InvalidSource):
        return bool(read_tags(song).get(PROVENANCE))
    return False


def _given(spot: Spot, destination: Wanted) -> Spot | Reason:
    """The names, where existing files may be replaced; or the reason to choose other names.

    Raises InvalidOutput where the user must decide: for files that are not this program's.
    """
    replaces = spot.song.in_use
    if replaces and not destination.force:
        if not is_ours(spot.song.target):
            raise InvalidOutput(destination.field, destination.path, IN_USE, NEW_NAME)
        return EARLIER_SONG
    document = _own_sidecar(spot.song.target, spot.sidecar.target) if replaces else None
    if spot.sidecar.in_use and document is None:
        if not replaces and _is_sidecar(spot.sidecar.target):
            return OTHERS_SIDECAR
        raise _not_its_own(spot.sidecar, destination)
    if spot.lrc is not None and spot.lrc.in_use and not _own_lrc(document, spot.lrc.target):
        raise _not_its_own(spot.lrc, destination)
    claims = (spot.song, spot.sidecar, spot.lrc)
    in_use = tuple(one for one in claims if one is not None and one.in_use)
    return replace(spot, replaces=in_use)


def _not_its_own(beside: ReservedName, destination: Wanted) -> InvalidOutput:
    why = f"has {beside.path.name!r} beside it, which is not its own"
    allowed = f"a name beside which {beside.path.name!r} is free"
    return InvalidOutput(destination.field, destination.path, why, allowed)


def _all_names(song: Path) -> tuple[Path, Path, Path]:
    """The paths of a song, its sidecar and its LRC file."""
    return song, song.with_suffix(SIDECAR), song.with_suffix(LRC)


def _is_sidecar(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"provenance"' in file.read(200)
    except OSError:
        return False


def _own_sidecar(song: Path, sidecar: Path) -> dict[str, object] | None:
    """The content of a sidecar that belongs to this song; None for any other file."""
    try:
        provenance = parse_json(read_tags(song).get(PROVENANCE, ""))
        document = read_json(sidecar)
    except (InvalidSource, InvalidFile, ValueError):
        return None
    return (
        document
        if isinstance(document, dict) and document.get("provenance") == provenance
        else None
    )


def _own_lrc(sidecar: Mapping[str, object] | None, lrc: Path) -> bool:
    """Whether a song's sidecar confirms that this LRC file is its own and unchanged."""
    if sidecar is None:
        return False
    try:
        return hashlib.sha256(read_bytes(lrc, 1 << 20)).hexdigest() == sidecar.get(LRC_SHA256)
    except InvalidFile:
        return False
