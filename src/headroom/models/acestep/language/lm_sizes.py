"""Which published size a language model counts as, by its name or else its config. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.catalogue import BUNDLED as BUNDLED
from headroom.models.acestep.catalogue import CATALOGUE, LM_KIND
from headroom.models.acestep.networks.config import TextEncoderConfig, text_encoder_config
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.tiers import LM_SIZES, lm_size
from headroom.nn.config_fields import read_config
from headroom.settings import Settings
from headroom.weights import catalog


def size_of_named(name: str, settings: Settings, folder: Path | None) -> str | None:
    """The size of the named language model, from its name or from the folders that are searched;
    None: no such model is installed. Raises InvalidCheckpoint for a damaged one.
    """
    size = lm_size(name)
    if size is not None:
        return size
    items = CATALOGUE.installed(catalog.checkpoint_dirs(settings, folder))
    match = next((item for item in items if item.kind == LM_KIND and item.name == name), None)
    return None if match is None else published_size(match)


def of_size(items: Iterable[catalog.Installed], size: str) -> list[catalog.Installed]:
    """The language models of a size; models with an unreadable config have no size."""
    return [item for item in items if (lm_size(item.name) or _by_config(item)) == size]


def published_size(item: catalog.Installed) -> str:
    """The smallest published size that is at least as large; the largest one if none is."""
    published = lm_size(item.name)
    if published is not None:
        return published
    if item.faults:
        raise InvalidCheckpoint(item.folder, list(item.faults))
    weights = _weights(text_encoder_config(read_config(item.folder), item.folder))
    large = (size for size in LM_SIZES if weights <= _weights(released_lm(size)))
    return next(large, LM_SIZES[-1])


def _by_config(item: catalog.Installed) -> str | None:
    try:
        return published_size(item)
    except InvalidCheckpoint:
        return None


def _weights(config: TextEncoderConfig) -> int:
    """The number of weights in its layers, without norms, and in its vocabulary."""
    s = config.sizes
    attention = 2 * s.width * s.head_dim * (s.heads + s.kv_heads)
    return config.layers * (attention + 3 * s.width * s.hidden) + config.vocabulary * s.width
