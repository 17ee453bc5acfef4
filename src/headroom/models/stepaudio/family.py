"""Step-Audio-EditX as the layers above the models see it. No torch."""

from __future__ import annotations

from headroom.models.family import Family, ModelFolders, Offer
from headroom.models.stepaudio.catalogue import CATALOGUE
from headroom.models.stepaudio.catalogue import FAMILY as NAME
from headroom.models.stepaudio.networks.config import step1_sizes
from headroom.models.stepaudio.requests.speech import REQUESTS
from headroom.nn.config_fields import read_config
from headroom.params.describe import describe
from headroom.weights.catalog import Installed


def _check_sizes(item: Installed) -> None:
    step1_sizes(read_config(item.folder), item.folder)


def _offer(item: Installed) -> Offer:
    fields = {param.name: param for kind in REQUESTS.values() for param in describe(kind)}
    return Offer(REQUESTS, fields)


FAMILY = Family(
    name=NAME,
    requests=REQUESTS,
    usual="clone",
    opens="headroom.models.stepaudio.model:open_model",
    plans="headroom.models.stepaudio.unopened:subject",
    words="text",
    speech="headroom.models.stepaudio.speech_rest:SPEECH_REST",
    folders=ModelFolders(CATALOGUE, _check_sizes, _offer),
)
