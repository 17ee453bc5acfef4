"""Tells requests that make the same songs, by a word that is equal for them."""

from __future__ import annotations

import json

from pydantic import JsonValue

from headroom.engine.limits import batch_default
from headroom.engine.seeds import settle
from headroom.engine.wire import Json
from headroom.jobs.texts import digest
from headroom.models.base import Seeded
from headroom.models.registry import family_named
from headroom.params.describe import TASK, task_of
from headroom.params.request import SONGS, Request
from headroom.settings import Settings

_SEEDS = ("seed", "seeds")


def word_of(family: str, model: str | None, request: Request, values: Json) -> str:
    """The word of a request that was carried out, and that has all its seeds: for its fields as
    JSON `values`, and for the model that makes it, where the family has several."""
    if family_named(family).folders is None:
        model = None
    assert isinstance(request, Seeded)
    fields: dict[str, JsonValue] = {n: v for n, v in values.items() if n not in _SEEDS}
    seeds = request.seeds or (request.seed,)
    whole = {"family": family, "model": model, TASK: task_of(request), "seeds": seeds}
    return digest("request", json.dumps({**whole, "fields": fields}))


def word_asked(family: str, model: str | None, request: Request, settings: Settings) -> str | None:
    """The word of a request that is asked for; None for one that makes no songs, or that leaves a
    seed open: nobody knows what it makes."""
    asked = batch_default(request, settings)
    if asked.makes != SONGS or not isinstance(asked, Seeded):
        return None
    given = asked.seeds or tuple(seed for seed in (asked.seed,) if seed is not None)
    if len(given) < asked.songs:
        return None
    settled, _, _ = settle(asked)
    return word_of(family, model, settled, settled.model_dump(mode="json"))
