"""Reproduces a song from its provenance, under the numerics recorded with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headroom.device import present
from headroom.engine.engine import Engine
from headroom.engine.provenance import Provenance, check_sources, differences, read, requests_of
from headroom.engine.result import SongResult
from headroom.errors import InvalidRequest
from headroom.params.clamp import Note
from headroom.reasons import reason
from headroom.runtime.events import Stop, Tell, never, numbered, tell_nobody

WHY = reason("not_restored")


def replay(
    song: Provenance | str | Path,
    device: str = "auto",
    checkpoint_dir: str | Path | None = None,
    on_event: Tell = tell_nobody,
    cancel: Stop = never,
    timed: bool = False,
) -> SongResult:
    """Reproduce a song from its file, its sidecar or its provenance.

    The whole recorded pass is rendered, and the result holds only the recorded song; `timed` adds
    the times at which its lines are sung. Threads, precision, compiling and cuts are pinned; the
    notes list what cannot be pinned. Raises InvalidSource for a source that has changed, and
    whatever `Engine.generate` raises.
    """
    provenance = song if isinstance(song, Provenance) else read(song)
    check_sources(provenance)
    engine = Engine(
        device=_device(provenance) if device == "auto" else device,
        dtype=provenance.numerics.dtype,
        model=provenance.model,
        checkpoint_dir=checkpoint_dir,
        family=provenance.family,
        compile=provenance.numerics.compiled,
        threads=provenance.numerics.threads,
        wishes=provenance.wished(),
        quantization=provenance.numerics.converted.get("dit", "none"),
    )
    tell = numbered(on_event, {provenance.song: 0})
    results = engine.generate_batch(requests_of(provenance, engine.model), tell, cancel)
    only = _only(results, provenance)
    return engine.timed(only, on_event, cancel) if timed else only


def _device(provenance: Provenance) -> str:
    """The recorded kind of device, if this machine has one."""
    kind = provenance.device_kind
    return kind if kind in present() else "auto"


def _only(results: Sequence[SongResult], provenance: Provenance) -> SongResult:
    """The result for the recorded song, with a note for everything that differed."""
    index = provenance.song
    for result in results:
        if index < len(result.songs):
            break
        index -= len(result.songs)
    else:
        count = sum(len(result.songs) for result in results)
        raise InvalidRequest("replay", provenance.song, f"the number of one of {count} songs")
    now = result.provenance[index]
    notes = tuple(Note(*change, WHY) for change in differences(provenance, now))
    only = replace(
        result.output,
        audios=(result.audios[index],),
        songs=(result.songs[index],),
        provenance=(now,),
        kept={name: tensor[index : index + 1] for name, tensor in result.kept.items()},
    )
    return replace(result, output=only, notes=(*result.notes, *notes))
