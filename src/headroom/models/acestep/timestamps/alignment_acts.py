"""The work of finding when words are sung, in a song made here or in a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from headroom.memory.footprint import Footprint
from headroom.models.acestep.cost import measures
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.timestamps_cost import ALIGN, timing_footprint
from headroom.models.acestep.networks.component_names import CONDITION
from headroom.models.acestep.networks.config import AceStepConfig
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.render import encode_words, source_material
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.timestamps.timestamps import Timing, heads_of, time_words, timing
from headroom.models.outputs import Timestamps
from headroom.params.clamp import Note
from headroom.runtime.events import ActName
from headroom.runtime.run import Run

BEFORE = ("encode", CONDITION)  # stages of a cover that come before the alignment of a recording


@dataclass(frozen=True, slots=True)
class FindWords:
    """The words of a finished song; see `models.base.Act`."""

    name: ClassVar[ActName] = "timestamps"
    timing: Timing
    config: AceStepConfig
    footprint: Footprint
    notes: tuple[Note, ...] = ()
    language: str | None = None
    replaces: tuple[str, ...] = ()

    def run(self, run: Run) -> Timestamps:
        """When they are sung."""
        return time_words(self.timing, run, self.config)


def find_words(task: Timing, networks: Networks) -> FindWords:
    """The work for a finished song."""
    needs = timing_footprint(len(task.latents), len(task.condition), task.layers, networks)
    return FindWords(task, networks.config, needs)


@dataclass(frozen=True, slots=True)
class AlignRecording:
    """The words of a recording; see `models.base.Act`.

    song  made from the recording's words as text to music, with the recording as its result
    """

    name: ClassVar[ActName] = "timestamps"
    song: Song
    assets: Assets
    footprint: Footprint
    notes: tuple[Note, ...]
    language: str | None = None
    replaces: tuple[str, ...] = ()

    def run(self, run: Run) -> Timestamps:
        """When they are sung. Raises InvalidSource for silence."""
        songs, config = (self.song,), self.assets.config
        material = source_material(songs, run, self.assets)
        assert material.sources is not None  # the song has a source
        rows, masks = encode_words(songs, run, self.assets, material).per_song()
        tensors = {
            "latents": material.sources[0],
            "condition": rows[0],
            "condition_mask": masks[0],
            "context": torch.cat((material.channels, material.mask), dim=-1)[0],
        }
        return time_words(timing(self.song, tensors, config, self.assets.tokenizer), run, config)


def align_recording(
    song: Song, assets: Assets, networks: Networks, cover: Footprint, notes: tuple[Note, ...]
) -> AlignRecording:
    """The work for a recording; `cover` is what a whole cover of it needs."""
    (words,) = measures.prompt_tokens((song,), assets.tokenizer)
    after = timing_footprint(song.frames, words.rows, max(heads_of(assets.config)) + 1, networks)
    before = tuple(
        replace(stage, until=ALIGN) if stage.name == CONDITION else stage
        for stage in cover.stages
        if stage.name in BEFORE
    )
    stages = (*before, *after.stages)
    needs = Footprint(cover.then(Footprint(after.components, ())).components, stages)
    return AlignRecording(song, assets, needs, notes)
