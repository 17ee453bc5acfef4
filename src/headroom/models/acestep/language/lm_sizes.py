"""Which published size a language model counts as, by its name or else its config. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headroom.errors import InvalidCheckpoint
from headroom.memory.tiers import LM_SIZES, lm_size
from headroom.models.acestep.networks.config import TextEncoderConfig, text_encoder_config
from headroom.models.acestep.networks.released import released_lm
from headroom.nn.config_fields import read_config
from headroom.settings import Settings
from headroom.weights import catalog

BUNDLED = Path(__file__).parents[1] / "nano"


def size_of_named(name: str, settings: Settings, folder: Path | None) -> str | None:
    """The size of the named language model, from its name or from the folders that are searched;
    None: no such model is installed. Raises InvalidCheckpoint for a damaged one.
    """
    told = lm_size(name)
    if told is not None:
        return told
    items = catalog.installed(catalog.checkpoint_dirs(settings, folder), BUNDLED)
    found = next((item for item in items if item.kind == "lm" and item.name == name), None)
    return None if found is None else size_of(found)


def of_size(items: Iterable[catalog.Installed], size: str) -> list[catalog.Installed]:
    """The language models of a size; models with an unreadable config have no size."""
    return [item for item in items if (lm_size(item.name) or _by_config(item)) == size]


def size_of(item: catalog.Installed) -> str:
    """The smallest published size that is at least as large; the largest one if none is."""
    told = lm_size(item.name)
    if told is not None:
        return told
    if item.faults:
        raise InvalidCheckpoint(item.folder, list(item.faults))
    own = _weights(text_encoder_config(read_config(item.folder), item.folder))
    large = (size for size in LM_SIZES if own <= _weights(released_lm(size)))
    return next(large, LM_SIZES[-1])


def _by_config(item: catalog.Installed) -> str | None:
    try:
        return size_of(item)
    except InvalidCheckpoint:
        return None


def _weights(config: TextEncoderConfig) -> int:
    """The number of weights in its layers, without norms, and in its vocabulary."""
    s = config.sizes
    attention = 2 * s.width * s.head_dim * (s.heads + s.kv_heads)
    return config.layers * (attention + 3 * s.width * s.hidden) + config.vocabulary * s.width
