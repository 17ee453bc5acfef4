"""What `acestep plan` plans: a released model by its published sizes, or a folder that is here by
its own configs. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from headroom.cli.models import bundled
from headroom.cli.parser import EngineFlags
from headroom.errors import InvalidRequest
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.unopened import networks
from headroom.models.acestep.networks.checks import read_sizes
from headroom.models.acestep.networks.config import TextEncoderConfig, text_encoder_config
from headroom.models.acestep.requests.variants import VARIANTS, Variant, variant_of
from headroom.nn.config_fields import read_config
from headroom.settings import Settings
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

    folder  it is read from; None: it has the sizes that were published
    lm      sizes of the language model that came with it, and serves it alone
    """

    variant: Variant
    networks: Networks
    folder: Path | None = None
    lm: TextEncoderConfig | None = None

    @property
    def name(self) -> str:
        return self.variant.name

    def describe(self) -> str:
        """Its name, and whose sizes are planned with."""
        if self.folder is None:
            return f"{self.name} ({'4B' if self.variant.large else '2B'}, its published sizes)"
        return f"{self.name} (sizes of {self.folder})"


def released(variant: Variant) -> Subject:
    """A model with the sizes that were published."""
    return Subject(variant, networks(variant))


def subject(flags: EngineFlags, settings: Settings) -> Subject:
    """The model that was named; without a name the one to begin with, whatever is here.

    Raises InvalidRequest for a name that nobody released and that is not here, and
    InvalidCheckpoint.
    """
    name = flags.model or settings.model or USUAL_DIT
    items = installed(checkpoint_dirs(settings, flags.checkpoint_dir), bundled())
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
