"""`acestep generate --replay FILE`: reproduces a song from its tags or its sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from headroom import paths
from headroom.audio.encode import FORMATS, Format, format_of
from headroom.audio.formats import container
from headroom.cli.output import Place, place
from headroom.engine.names import SIDECAR, usual_format
from headroom.engine.options import EngineOptions
from headroom.errors import Cancelled, InvalidOutput, InvalidRequest
from headroom.models.registry import family_named
from headroom.runtime.events import Stop, Tell

if TYPE_CHECKING:
    from headroom.engine.provenance import Provenance
    from headroom.engine.result import SongResult


@dataclass(frozen=True, slots=True)
class Again:
    """A song to reproduce: how it was made, its name, and where the new one goes."""

    provenance: Provenance
    name: str
    place: Place


def check_alone(fields: Mapping[str, object], flags: EngineOptions, requests: str | None) -> None:
    """Raise InvalidRequest for a flag that sets what the recorded song already fixes."""
    options: dict[str, object] = dict(fields)
    if requests is not None:
        options["requests"] = requests
    pinned = ("dtype", "model", "compile", "threads")
    options |= {name: flags.given[name] for name in pinned if name in flags.given}
    for name, value in options.items():
        raise InvalidRequest(name, value, "nothing with --replay, which takes it from the song")


def find(path: Path, output: str | None, folder: Path, force: bool = False) -> Again:
    """Read how the song was made and check where it goes. Raises InvalidSource, InvalidOutput."""
    from headroom.engine.provenance import read

    provenance = read(path)
    recorded = _recorded(provenance)
    usual = _format_of_original(path) or recorded or _usual(provenance)
    if recorded is not None and container(recorded) == container(usual):
        usual = recorded
    where = place(output, None, usual, folder, force)
    if recorded is not None and container(recorded) == container(where.format):
        where = replace(where, format=recorded)
    return Again(provenance, path.stem, where)


def again(song: Again, flags: EngineOptions, tell: Tell, stop: Stop, timed: bool) -> SongResult:
    """Reproduce the song. Raises what `headroom.engine.replay` raises."""
    from headroom.engine.replay import replay

    result = replay(song.provenance, flags.device, flags.checkpoint_dir, tell, stop, timed)
    if stop():
        raise Cancelled("stopped before the song was written")
    return result


def _usual(provenance: Provenance) -> Format:
    """The format of a song whose name was not given."""
    return usual_format(family_named(provenance.family).usual_request)


def _recorded(provenance: Provenance) -> Format | None:
    """The format the song's request set; None where it left that to the name."""
    values = {recorded.values.get("audio_format") for recorded in provenance.requests}
    value = values.pop() if len(values) == 1 else None
    return cast("Format", value) if value in get_args(Format) else None


def _format_of_original(path: Path) -> Format | None:
    """The format by the name of the song, or of the song that a sidecar belongs to."""
    beside = [path.with_suffix(f".{format}") for format in FORMATS]
    for song in beside if path.suffix.lower() == SIDECAR else [path]:
        if paths.is_file(song):
            try:
                return format_of(song)
            except InvalidOutput:
                return None
    return None
