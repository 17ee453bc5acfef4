"""Make a song again from its provenance, under the numerics that were recorded with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headroom.device import present
from headroom.engine.engine import Engine
from headroom.engine.provenance import Provenance, check_sources, differences, read, requests_of
from headroom.engine.result import Result
from headroom.errors import InvalidRequest
from headroom.memory.limits import Choices
from headroom.params.clamp import Note
from headroom.runtime.events import Stop, Tell, never, tell_nobody

WHY = "it cannot be put back here, so the samples may differ"


def replay(
    song: Provenance | str | Path,
    device: str = "auto",
    checkpoint_dir: str | Path | None = None,
    on_event: Tell = tell_nobody,
    cancel: Stop = never,
    timed: bool = False,
) -> Result:
    """A song made again, from its file, its sidecar or its provenance.

    All that was in its pass is rendered with it, and the recorded song alone is the result; `timed`
    adds when its lines are sung.
    Threads, precision, compiling and cuts are pinned; what cannot be is said in the notes. Raises
    InvalidSource for a source that has changed, and what `Engine.generate` raises.
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
        choices=Choices(quantization=provenance.numerics.converted.get("dit", "none")),
    )
    results = engine.generate_batch(requests_of(provenance, engine.model), on_event, cancel)
    only = _only(results, provenance)
    return engine.timed(only, on_event, cancel) if timed else only


def _device(provenance: Provenance) -> str:
    """The recorded kind of device where there is one."""
    kind = provenance.device_kind
    return kind if kind in present() else "auto"


def _only(results: Sequence[Result], provenance: Provenance) -> Result:
    """The result of the recorded song, with a note for everything that was different."""
    index = provenance.song
    for result in results:
        if index < len(result.songs):
            break
        index -= len(result.songs)
    else:
        made = sum(len(result.songs) for result in results)
        raise InvalidRequest("replay", provenance.song, f"the number of one of {made} songs")
    now = result.provenance[index]
    notes = tuple(Note(*change, WHY) for change in differences(provenance, now))
    return replace(
        result,
        audios=(result.audios[index],),
        songs=(result.songs[index],),
        provenance=(now,),
        notes=(*result.notes, *notes),
        kept={name: tensor[index : index + 1] for name, tensor in result.kept.items()},
    )
