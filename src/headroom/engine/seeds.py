"""Gives every song of a request its seed: requested seeds first, the rest drawn at random."""

from __future__ import annotations

import secrets
from typing import TypeVar

from headroom.errors import InvalidRequest
from headroom.models.base import Seeded
from headroom.params.clamp import Note
from headroom.params.request import Request

R = TypeVar("R", bound=Request)
DRAWN_BITS = 32  # short enough to read aloud, and exact in every JSON reader


def check_agreement(request: Request, usual: int | None = 1) -> None:
    """Raise InvalidRequest where both batch and seeds were set and do not agree.

    A batch of `usual` songs is what a request holds when it was written out with all defaults.
    """
    if not isinstance(request, Seeded) or "batch_size" not in request.model_fields_set:
        return
    count, seeds = request.batch_size, request.seeds
    if seeds and len(seeds) != count and count != usual:
        raise InvalidRequest("seeds", seeds, f"as many as batch_size says ({count})")


def settle(request: R) -> tuple[R, tuple[int, ...], tuple[Note, ...]]:
    """The request with every seed filled in, the seed of each song, and notes.

    A request that already has all its seeds is returned equal. Raises InvalidRequest for a batch
    and seeds that do not agree.
    """
    check_agreement(request)
    if not isinstance(request, Seeded):
        raise TypeError(f"{type(request).__name__} has no seed, seeds, batch_size and songs")
    count, one, many = request.songs, request.seed, request.seeds
    given = many or (() if one is None else (one,))
    seeds = given + tuple(secrets.randbits(DRAWN_BITS) for _ in range(count - len(given)))
    notes: list[Note] = []
    if many and one is not None:
        notes.append(Note("seed", one, None, "seeds says the seed of each song"))
    if given and len(given) < count:
        field, asked = ("seeds", many) if many else ("seed", one)
        notes.append(Note(field, asked, seeds, f"{count} songs need a seed each; rest drawn"))
    alone = count == 1 and not many
    written: dict[str, object] = {"batch_size": count}
    written |= {"seed": seeds[0]} if alone else {"seed": None, "seeds": seeds}
    return request.model_copy(update=written), seeds, tuple(notes)
