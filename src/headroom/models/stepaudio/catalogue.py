"""Step-Audio-EditX's released models, and how its model folders are recognised. No torch.

Source: Step-Audio-EditX, released repositories; sizes are those of the files, rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from headroom.models.stepaudio.layout import (
    CONVERTED,
    MODEL,
    TOKENIZER,
    Folders,
)
from headroom.models.stepaudio.text import pieces_file
from headroom.weights.catalog import Catalogue, Kind, ReleasedModel

BUNDLED = Path(__file__).parent / "tiny"
FAMILY = "stepaudio"
TINY = "Step-Audio-EditX-tiny"
_PUBLISHER = "stepfun-ai"
_PLACES = Folders(Path(MODEL), Path(TOKENIZER))
_SOURCES = tuple(file for part in CONVERTED for file in _PLACES.sources(part))


def _files_in(folder: str) -> tuple[str, ...]:
    return tuple(
        file.relative_to(folder).as_posix() for file in _SOURCES if file.parts[0] == folder
    )


TOKENIZER_KIND = Kind("speech_tokenizer", _files_in(TOKENIZER), weights=False)
SPEECH_KIND = Kind(
    "speech", ("config.json", pieces_file.NAME, *_files_in(MODEL)), (TOKENIZER,), "speech model"
)


def _kind_of(folder: Path, config: Mapping[str, object]) -> Kind | None:
    return SPEECH_KIND if config.get("model_type") == "step1" else None


_MODELS = (
    ReleasedModel(
        MODEL, SPEECH_KIND, f"{_PUBLISHER}/{MODEL}", "", 7_787_000_000,
        "3B; clones a voice from a recording, edits speech",
    ),
    ReleasedModel(
        TOKENIZER, TOKENIZER_KIND, f"{_PUBLISHER}/{TOKENIZER}", "", 2_037_000_000,
        f"hears recordings; {MODEL} needs it",
    ),
)  # fmt: skip

CATALOGUE = Catalogue(
    models=MappingProxyType({model.name: model for model in _MODELS}),
    main=f"{_PUBLISHER}/{MODEL}",
    core=SPEECH_KIND,
    usual=MODEL,
    kind_of=_kind_of,
    bundled=BUNDLED,
    by_itself=False,  # its weights are drawn at random: what it makes is noise
)
