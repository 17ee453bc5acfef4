"""ACE-Step 1.5 as the layers above the models see it. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from headroom.models.acestep.catalogue import CATALOGUE, TEXT_ENCODER, VAE
from headroom.models.acestep.language.lm_sizes import size_of_named
from headroom.models.acestep.networks.checks import read_sizes
from headroom.models.acestep.requests import examples
from headroom.models.acestep.requests.every import REQUESTS, any_request_from
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.regions import MOST_SECONDS, growth
from headroom.models.acestep.requests.songs import TASKS, Lego, Repaint
from headroom.models.acestep.requests.unread_names import UNREAD
from headroom.models.acestep.requests.variants import offered, variant_of
from headroom.models.acestep.song.song import Song as AceStepSong
from headroom.models.acestep.text.codes_text import CODEBOOK, codes_in, codes_to_text
from headroom.models.acestep.tiers import TIERS
from headroom.models.base import Song
from headroom.models.family import CodesFormat, Family, ModelFolders, Offer
from headroom.nn.config_fields import read_config
from headroom.params.request import Request
from headroom.weights.catalog import Installed


@dataclass(frozen=True, slots=True)
class _Examples:
    usual: str = examples.USUAL

    def fields(self, example: str | Path) -> dict[str, object]:
        return examples.fields(example)

    def filled(self, values: Mapping[str, object], example: str | Path) -> dict[str, object]:
        return examples.filled(values, example)


def _check_sizes(item: Installed) -> None:
    beside = dict(item.beside)
    read_sizes(item.folder, beside[TEXT_ENCODER], beside[VAE])


def _offer(item: Installed) -> Offer:
    variant = variant_of(read_config(item.folder), item.name)
    fields = {p.name: p for model in TASKS.values() for p in offered(model, variant)}
    return Offer({t: model for t, model in TASKS.items() if t in variant.tasks}, fields)


def _check_region(request: Request, seconds: float) -> None:
    if isinstance(request, Repaint | Lego):
        growth(request, min(seconds, MOST_SECONDS))


def _codes_of(song: Song) -> Sequence[int]:
    return cast("AceStepSong", song).codes


def _steps_of(song: Song) -> int:
    return cast("AceStepSong", song).sampling.steps


FAMILY = Family(
    name="acestep",
    requests=REQUESTS,
    usual="text2music",
    opens="headroom.models.acestep.model:open_model",
    plans="headroom.models.acestep.unopened:subject",
    reads=any_request_from,
    words="caption",
    describes=True,
    examples=_Examples(),
    folders=ModelFolders(CATALOGUE, _check_sizes, _offer),
    codes=CodesFormat(codes_in, codes_to_text, CODEBOOK, _codes_of),
    language_size=size_of_named,
    source_check=_check_region,
    language_fields=tuple(LanguageFields.model_fields),
    steps_field="inference_steps",
    steps_of=_steps_of,
    tiers=TIERS,
    rehearses="headroom.models.acestep.rehearsal:REHEARSAL",
    unread=UNREAD,
    old_rest="headroom.models.acestep.old_rest.orders:OLD_REST",
)
