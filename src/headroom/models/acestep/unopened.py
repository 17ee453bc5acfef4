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
from headroom.models.acestep.catalogue import (
    CATALOGUE,
    DIT_KIND,
    LM_KIND,
    TEXT_ENCODER,
    USUAL_DIT,
    VAE,
)
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.unopened import footprint_of, networks, songs_of, thinking_of
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
from headroom.models.family import ModelChoice
from headroom.nn.config_fields import read_config
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.weights.catalog import Installed, checkpoint_dirs

OWN_LM = "the bundled one"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is planned.

    folder  the folder its sizes come from; None: the published sizes
    lm      sizes of the language model that came with it and works with no other model; `lm_name`
    """

    variant: Variant
    networks: Networks
    folder: Path | None = None
    lm: TextEncoderConfig | None = None
    lm_name: str | None = None

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
        is_own = language == OWN_LM and self.lm is not None
        lm = self.lm if is_own and self.lm is not None else language
        name = self.lm_name if is_own else None
        kind: DType = "float32" if dtype == "float16" else dtype
        return thinking_of(cast("AnyMusicRequest", request), _own(songs), lm, backend, kind, name)


def _own(songs: tuple[Song, ...]) -> tuple[AceStepSong, ...]:
    return cast("tuple[AceStepSong, ...]", songs)


def released(variant: Variant) -> Subject:
    """A model with its published sizes."""
    return Subject(variant, networks(variant))


def subject(setup: ModelChoice) -> Subject:
    """The model asked for; without a name, the recommended first model, whatever is installed.

    Raises InvalidRequest for a name that is neither released nor installed, and InvalidCheckpoint.
    """
    settings = setup.settings
    name = setup.model or settings.model or USUAL_DIT
    items = CATALOGUE.installed(checkpoint_dirs(settings, setup.checkpoint_dir))
    installed = {item.name: item for item in items if item.kind == DIT_KIND}
    item = installed.get(name)
    if item is not None and item.ready:
        return _here(item, items)
    if name in VARIANTS:
        return released(VARIANTS[name])
    names = list(dict.fromkeys((*VARIANTS, *installed)))
    close = [n for n in names if n.endswith(f"-{name}")]
    close = close or get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InvalidRequest("model", name, "one of " + ", ".join(names) + hint)


def _here(item: Installed, items: list[Installed]) -> Subject:
    beside = dict(item.beside)
    sizes = read_sizes(item.folder, beside[TEXT_ENCODER], beside[VAE])
    variant = variant_of(read_config(item.folder), item.name)
    bundled = next((lm for lm in items if lm.kind == LM_KIND and lm.bundled), None)
    result = Subject(variant, Networks(*sizes, networks(variant).dtype), item.folder)
    if not item.bundled or bundled is None or not bundled.whole:
        return result
    sizes_of_lm = text_encoder_config(read_config(bundled.folder), bundled.folder)
    return replace(result, lm=sizes_of_lm, lm_name=bundled.name)
