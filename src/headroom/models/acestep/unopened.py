"""ACE-Step planned without being opened: from published sizes, or from a folder's configs. No
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.unopened import footprint_of, networks, songs_of, thinking_of
from headroom.models.acestep.language.lm_sizes import BUNDLED
from headroom.models.acestep.networks.checks import read_sizes
from headroom.models.acestep.networks.config import (
    LATENT_RATE,
    TextEncoderConfig,
    text_encoder_config,
)
from headroom.models.acestep.requests.songs import AnyMusicRequest
from headroom.models.acestep.requests.variants import VARIANTS, Variant, variant_of
from headroom.models.acestep.song.song import Song as AceStepSong
from headroom.models.base import Song
from headroom.models.family import Wanted
from headroom.nn.config_fields import read_config
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.weights.catalog import (
    TEXT_ENCODER,
    USUAL_DIT,
    VAE,
    Installed,
    checkpoint_dirs,
    installed,
)

OWN_LM = "the bundled one"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is planned.

    folder  the folder its sizes come from; None: the published sizes
    lm      sizes of the language model that came with it and works with no other model
    """

    variant: Variant
    networks: Networks
    folder: Path | None = None
    lm: TextEncoderConfig | None = None

    @property
    def name(self) -> str:
        return self.variant.name

    def describe(self) -> str:
        """Its name, and the source of the sizes that the plan uses."""
        if self.folder is None:
            return f"{self.name} ({'4B' if self.variant.large else '2B'}, its published sizes)"
        return f"{self.name} (sizes of {self.folder})"

    def limits(self, request: Request) -> Mapping[str, Limit]:
        return self.variant.limits

    def compose(self, request: Request, machine: Machine) -> tuple[Song, ...]:
        return songs_of(cast("AnyMusicRequest", request), self.variant)

    def seconds(self, song: Song) -> float:
        return cast("AceStepSong", song).frames / LATENT_RATE

    def footprint(self, songs: tuple[Song, ...], dtype: DType) -> Footprint:
        return footprint_of(_own(songs), replace(self.networks, dtype=dtype))

    def languages(self, named: str | None, sizes: tuple[str, ...]) -> tuple[str, ...]:
        return sizes if self.lm is None or named is not None else (OWN_LM,)

    def planning(
        self, request: Request, songs: tuple[Song, ...], language: str, backend: str, dtype: DType
    ) -> Footprint:
        lm = self.lm if language == OWN_LM and self.lm is not None else language
        kind: DType = "float32" if dtype == "float16" else dtype
        return thinking_of(cast("AnyMusicRequest", request), _own(songs), lm, backend, kind)


def _own(songs: tuple[Song, ...]) -> tuple[AceStepSong, ...]:
    return cast("tuple[AceStepSong, ...]", songs)


def released(variant: Variant) -> Subject:
    """A model with its published sizes."""
    return Subject(variant, networks(variant))


def subject(wanted: Wanted) -> Subject:
    """The model asked for; without a name, the recommended first model, whatever is installed.

    Raises InvalidRequest for a name that is neither released nor installed, and InvalidCheckpoint.
    """
    settings = wanted.settings
    name = wanted.model or settings.model or USUAL_DIT
    items = installed(checkpoint_dirs(settings, wanted.checkpoint_dir), BUNDLED)
    here = {item.name: item for item in items if item.kind == "dit"}
    item = here.get(name)
    if item is not None and item.ready:
        return _here(item, items)
    if name in VARIANTS:
        return released(VARIANTS[name])
    known = list(dict.fromkeys((*VARIANTS, *here)))
    close = [one for one in known if one.endswith(f"-{name}")] or get_close_matches(
        name, known, n=1
    )
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InvalidRequest("model", name, "one of " + ", ".join(known) + hint)


def _here(item: Installed, items: list[Installed]) -> Subject:
    beside = dict(item.beside)
    sizes = read_sizes(item.folder, beside[TEXT_ENCODER], beside[VAE])
    variant = variant_of(read_config(item.folder), item.name)
    own = next((one for one in items if one.kind == "lm" and one.bundled), None)
    lm = None
    if item.bundled and own is not None and own.whole:
        lm = text_encoder_config(read_config(own.folder), own.folder)
    return Subject(variant, Networks(*sizes, networks(variant).dtype), item.folder, lm)
