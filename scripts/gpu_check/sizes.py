"""The sizes that are measured: the released 2B ones, or the bundled checkpoint's for a dry run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from headroom.models.acestep.networks.config import (
    AceStepConfig,
    TextEncoderConfig,
    dit_config,
    text_encoder_config,
)
from headroom.models.acestep.networks.released import DIT_2B, released_text_encoder, released_vae
from headroom.nn.config_fields import read_config
from headroom.nn.oobleck_layout import OobleckConfig

NANO = Path(__file__).resolve().parents[2] / "src" / "headroom" / "models" / "acestep" / "nano"
RAW_2B: dict[str, object] = {**DIT_2B, "is_turbo": True, "model_version": "turbo"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the networks, and how much of each thing is measured.

    seconds   lengths of songs whose step is timed; `songs` those made end to end
    rows      condition rows of a step
    batches   latent frames of the songs whose velocity is compared with the host's: equal, ragged,
              and one long enough for folded windows
    run       latent frames of the runs of the samplers that are compared
    shallow   the real widths with few layers, for parity against the host
    """

    name: str
    raw: dict[str, object]
    config: AceStepConfig
    shallow: AceStepConfig
    text: TextEncoderConfig
    vae: OobleckConfig
    seconds: tuple[int, ...]
    songs: tuple[int, ...]
    decodes: tuple[int, ...]
    rows: int
    batches: tuple[tuple[int, ...], ...]
    run: int
    product: int  # side of the measured matrix product
    copied: int  # bytes of the measured copy


def real() -> Sizes:
    config = dit_config(RAW_2B)
    shallow = replace(config, dit_layers=4, lyric_layers=2, timbre_layers=2, timbre_frames=200)
    return Sizes(
        "2B",
        RAW_2B,
        config,
        shallow,
        released_text_encoder(),
        released_vae(),
        seconds=(30, 60, 120, 240),
        songs=(30, 60, 120),
        decodes=(30, 60),
        rows=800,
        batches=((900, 900), (901, 130), (2600,)),
        run=600,
        product=8192,
        copied=4 << 30,
    )


def small() -> Sizes:
    raw = read_config(NANO / "acestep-v15-nano")
    config = dit_config(raw)
    return Sizes(
        "nano",
        raw,
        config,
        replace(config, timbre_frames=50),
        text_encoder_config(read_config(NANO / "Qwen3-Embedding-0.6B")),
        OobleckConfig.read(NANO / "vae"),
        seconds=(6, 24),
        songs=(10,),
        decodes=(2,),
        rows=60,
        batches=((60, 60), (61, 14), (600,)),
        run=60,
        product=256,
        copied=16 << 20,
    )
