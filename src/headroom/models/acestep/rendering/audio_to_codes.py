"""From a recording to its audio codes, five per second: the form in which a language model reads
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from headroom.errors import InvalidSource
from headroom.memory.footprint import Footprint
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.component_names import CODES, VAE_ENCODER
from headroom.models.acestep.networks.config import CODE_FRAMES
from headroom.models.acestep.networks.encoders import module_dtype
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.source_latents import encode_sounds, load_sounds
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.codes_text import CODE_RATE, codes_to_text
from headroom.models.outputs import AudioCodes
from headroom.nn.oobleck import Encoder
from headroom.params.clamp import Note
from headroom.runtime.events import ActName
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

HEARING = ("encode", "codes")  # the stages of a cover that this uses


@dataclass(frozen=True, slots=True)
class EncodeRecording:
    """The work of turning a recording into codes; see `models.base.Act`.

    song  a cover of the recording
    """

    name: ClassVar[ActName] = "codes"
    song: Song
    assets: Assets
    footprint: Footprint
    notes: tuple[Note, ...]
    language: str | None = None
    replaces: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of codes."""
        return -(-self.song.kept // CODE_FRAMES)

    def run(self, run: Run) -> AudioCodes:
        """The codes. Raises InvalidSource for silence."""
        codes = tuple(recording_codes(self.song, run, self.assets))
        return AudioCodes(codes, codes_to_text(codes), CODE_RATE)


def encode_recording(
    song: Song, assets: Assets, cover: Footprint, notes: tuple[Note, ...]
) -> EncodeRecording:
    """The work for a cover of the recording, from what the whole cover needs."""
    stages = tuple(stage for stage in cover.stages if stage.name in HEARING)
    return EncodeRecording(song, assets, Footprint(cover.components, stages), notes)


def recording_codes(song: Song, run: Run, assets: Assets) -> list[int]:
    """The codes of a song's source. Raises InvalidSource for silence."""
    sounds = load_sounds((song,))
    encoded = run.stage(
        HEARING[0],
        lambda step, parts: encode_sounds(
            (song,), sounds, assets.silence, parts.of(VAE_ENCODER, Encoder), step
        ),
    )
    source = encoded.sources[0]
    if source is None:
        where = "" if song.source is None else song.source.path
        raise InvalidSource("source_audio", where, "is silent", "a recording with sound in it")

    def work(step: Step, parts: Parts) -> list[int]:
        codes = parts.of(CODES, CodesNetwork)
        dtype = module_dtype(codes)
        latents = source.unsqueeze(0).to(step.device, dtype)
        index: torch.Tensor = codes.tokenizer(latents, assets.silence)
        flat: list[int] = index[0].cpu().tolist()
        return flat[: -(-song.kept // CODE_FRAMES)]  # the rest is silence

    return run.stage(HEARING[1], work)
