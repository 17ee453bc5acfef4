"""Footprints of released variants without their weights, from published sizes. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headroom.hardware.machine import DType
from headroom.memory.footprint import Footprint
from headroom.models.acestep.catalogue import LM_PREFIX
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.footprint import songs_footprint
from headroom.models.acestep.cost.lm_cost import lm_footprint as thinking_footprint
from headroom.models.acestep.cost.lm_cost import thinking
from headroom.models.acestep.networks.config import LATENT_RATE, TextEncoderConfig
from headroom.models.acestep.networks.released import (
    released_dit,
    released_lm,
    released_text_encoder,
    released_vae,
)
from headroom.models.acestep.requests.songs import AnyMusicRequest, PlannedFields
from headroom.models.acestep.requests.variants import VARIANTS, Variant
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song

DTYPE: DType = "bfloat16"  # what every recent GPU computes in


def networks(variant: Variant) -> Networks:
    """The sizes of a released variant."""
    return Networks(released_dit(variant), released_text_encoder(), released_vae(), DTYPE)


def songs_of(request: AnyMusicRequest, variant: Variant) -> tuple[Song, ...]:
    """The songs of a request; their seeds do not affect what they need."""
    return compose(request, variant, tuple(range(request.songs))).songs


def footprint_of(songs: Sequence[Song], sizes: Variant | Networks) -> Footprint:
    """What rendering the songs needs; token counts are upper bounds, one token for each byte."""
    return songs_footprint(songs, networks(sizes) if isinstance(sizes, Variant) else sizes)


def thinking_of(
    request: AnyMusicRequest,
    songs: Sequence[Song],
    lm: str | TextEncoderConfig,
    backend: str = "pt",
    dtype: DType = DTYPE,
    name: str | None = None,
) -> Footprint:
    """What a language model, of a released size or of other sizes, needs to plan the songs first;
    the backend writes the codes. `name` of its component; None: that of the released size."""
    seconds, plans, guided = max(song.frames for song in songs) / LATENT_RATE, len(songs), True
    sheets = 1
    if isinstance(request, PlannedFields) and request.asks is not None:
        guided = request.writes_codes and request.lm_cfg_scale > 1
        seconds = seconds if request.writes_codes else 0
        if request.lm_seed is not None:
            plans = 1
        sheets = bool(request.to_fill) * (1 if request.lm_shared_metadata else plans)
    work = thinking(songs[0].caption, songs[0].lyrics, seconds, plans, guided)
    sizes = released_lm(lm) if isinstance(lm, str) else lm
    component = name or f"{LM_PREFIX}{lm}"
    return thinking_footprint(replace(work, sheets=sheets), sizes, dtype, backend, component)


def variant_named(name: str) -> Variant:
    """A released variant. Raises KeyError for any other name."""
    return VARIANTS[name]
