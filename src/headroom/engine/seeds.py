"""Gives every song of a request its seed: requested seeds first, the rest drawn at random."""

from __future__ import annotations

import secrets
from typing import TypeVar

from headroom.errors import InvalidRequest
from headroom.models.base import Seeded
from headroom.params.clamp import Note
from headroom.params.describe import in_role, written_in_role
from headroom.params.request import Request
from headroom.reasons import reason

R = TypeVar("R", bound=Request)
SEED = "seed"  # the field of requests that draw, but make no songs
SEEDS_DRAWN = "seeds_drawn"  # the code of the note on seeds that were drawn beside those given
DRAWN_BITS = 32  # short enough to read aloud, and exact in every JSON reader


def check_agreement(request: Request, usual: int | None = 1) -> None:
    """Raise InvalidRequest where both batch and seeds were set and do not agree.

    A batch of `usual` songs is what a request holds when it was written out with all defaults.
    """
    param = in_role(type(request), "count")
    if not isinstance(request, Seeded) or param is None:
        return
    count, seeds = getattr(request, param.name), request.seeds
    given = param.name in request.model_fields_set
    if given and seeds and len(seeds) != count and count != usual:
        raise InvalidRequest("seeds", seeds, f"as many as {param.name} says ({count})")


def alone(request: R, seed: int | None) -> R:
    """The request for one of its songs: that of this seed; None leaves the seed open."""
    update = written_in_role(request, count=1)
    return request.model_copy(update={**update, "seed": seed, "seeds": ()})


def settle(request: R) -> tuple[R, tuple[int, ...], tuple[Note, ...]]:
    """The request with every seed filled in, the seed of each song, and notes.

    A request that already has all its seeds is returned equal; so is one without a field for a
    seed. Raises InvalidRequest for a batch and seeds that do not agree.
    """
    check_agreement(request)
    if not isinstance(request, Seeded):
        if getattr(request, SEED, 0) is None:
            request = request.model_copy(update={SEED: secrets.randbits(DRAWN_BITS)})
        return request, (), ()
    count, one, many = request.songs, request.seed, request.seeds
    given = many or (() if one is None else (one,))
    seeds = given + tuple(secrets.randbits(DRAWN_BITS) for _ in range(count - len(given)))
    notes: list[Note] = []
    if many and one is not None:
        notes.append(Note("seed", one, None, reason("seeds_given")))
    if given and len(given) < count:
        field, requested = ("seeds", many) if many else ("seed", one)
        notes.append(Note(field, requested, seeds, reason("seeds_drawn", songs=count)))
    single = count == 1 and not many
    written = written_in_role(request, count=count)
    written |= {"seed": seeds[0]} if single else {"seed": None, "seeds": seeds}
    return request.model_copy(update=written), seeds, tuple(notes)
