"""The tone family's entry in the registry: its name, requests and how to open it. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from headroom.models.family import Family
from tone_model.requests import Tone

if TYPE_CHECKING:
    from headroom.models.base import Song
    from tone_model.model import ToneSong


def _steps(song: Song) -> int:
    return cast("ToneSong", song).steps


FAMILY = Family(
    name="tone",
    requests={"tone": Tone},
    usual="tone",
    opens="tone_model.model:open_model",
    plans="tone_model.model:unopened",
    steps_field="steps",
    steps_of=_steps,
)
