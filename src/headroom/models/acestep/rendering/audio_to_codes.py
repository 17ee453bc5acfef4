"""From a recording to its audio codes, five per second: the form in which a language model reads
it.
"""

from __future__ import annotations

import torch

from headroom.errors import InvalidSource
from headroom.models.acestep.networks.codes import Codes
from headroom.models.acestep.networks.component_names import CODES, VAE_ENCODER
from headroom.models.acestep.networks.config import CODE_FRAMES
from headroom.models.acestep.networks.encoders import module_dtype
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.source_latents import encode_sounds, load_sounds
from headroom.models.acestep.song.song import Song
from headroom.nn.oobleck import Encoder
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

HEARING = ("encode", "codes")  # the stages of a cover that this uses


def heard_codes(song: Song, run: Run, assets: Assets) -> list[int]:
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
        codes = parts.of(CODES, Codes)
        dtype = module_dtype(codes)
        latents = source.unsqueeze(0).to(step.device, dtype)
        index: torch.Tensor = codes.tokenizer(latents, assets.silence.to(step.device, dtype))
        found: list[int] = index[0].tolist()
        return found[: -(-song.kept // CODE_FRAMES)]  # the rest is silence

    return run.stage(HEARING[1], work)
