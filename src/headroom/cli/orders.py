"""Pairs each request with the place its songs go to, before anything runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from headroom.audio.encode import Format
from headroom.audio.files import probe_audio
from headroom.cli.output import Place, place
from headroom.engine.limits import batch_default
from headroom.engine.names import FORMAT, Names, inputs_of, usual_format
from headroom.engine.seeds import DRAWN_BITS, check_agreement
from headroom.models.base import Seeded
from headroom.models.family import Family
from headroom.params.describe import in_role, task_of, union
from headroom.params.request import Request, snake
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.engine.result import SongResult

EVERY_TRACK = "all"
SOURCE = "source_audio"  # the name of a field, in families that have it
_TRACK = ("track", "track_name")


@dataclass(frozen=True, slots=True)
class Order:
    """A request and the place of its songs.

    words  that make up names which the user did not give
    drawn  whether its seeds were drawn here, because the names contain them
    """

    request: Request
    place: Place
    words: str
    drawn: bool = False

    def names(self, lrc: bool) -> Names:
        """Reserve the names of its songs. Raises InvalidOutput."""
        request = self.request
        seed = _seed(request)
        destination = self.place.wanted(self.words, seed or 0, lrc, inputs_of(request))
        names = Names(destination)
        try:
            names.hold(_songs(request))
        except BaseException:
            names.close()
            raise
        return names

    def as_stored(self) -> Request:
        """The request for a service elsewhere, which stores songs in the format of the place."""
        if FORMAT not in type(self.request).model_fields:
            return self.request
        return self.request.model_copy(update={FORMAT: self.place.format})

    def as_asked(self, result: SongResult) -> SongResult:
        """The result without notes about seeds that the user did not set."""
        if not self.drawn:
            return result
        return replace(result, notes=tuple(n for n in result.notes if n.field != "seeds"))


def order(family: Family, request: Request, where: Place, settings: Settings) -> Order:
    """The request with the batch size of the settings, and with seeds if its names need them.

    Raises InvalidSource for a recording that cannot be used.
    """
    check_agreement(request)
    check_sources(family, request)
    text = "" if family.words is None else str(getattr(request, family.words))
    words = text or task_of(request)
    sized = batch_default(request, settings)
    if where.named is not None or _seed(sized) is not None:
        return Order(sized, where, words)
    songs = _songs(sized)
    seeds = tuple(secrets.randbits(DRAWN_BITS) for _ in range(songs))
    update: dict[str, object] = {"seed": seeds[0]} if songs == 1 else {"seeds": seeds}
    return Order(sized.model_copy(update=update), where, words, drawn=True)


def orders_for(
    family: Family,
    fields: Mapping[str, object],
    named: str | None,
    settings: Settings,
    force: bool,
) -> tuple[Order, ...]:
    """The order for these fields; with `track` set to all, one for every track."""
    field = next((name for name in fields if snake(name) in _TRACK and _is_every(fields[name])), "")
    if not field:
        request = family.song(fields)
        check_agreement(request, usual=None)
        return (order(family, request, place_of(request, named, settings, force), settings),)
    orders = []
    tracks = next(p.choices for p in union(family.songs.values()) if p.name == _TRACK[0])
    for track in tracks:
        request = family.song({**fields, field: track})
        where = replace(place_of(request, named, settings, force), suffix=track.replace("_", "-"))
        orders.append(order(family, request, where, settings))
    return tuple(orders)


def place_of(request: Request, named: str | None, settings: Settings, force: bool) -> Place:
    """Where the songs of a request go. Raises InvalidOutput."""
    format = cast("Format | None", getattr(request, FORMAT, None))
    return place(named, format, usual_format(type(request)), settings.output_dir, force)


def check_sources(family: Family, request: Request) -> None:
    """Raise InvalidSource for a recording that does not exist or cannot be opened, and
    InvalidRequest for a region outside the recording."""
    sources = {
        name: [probe_audio(path, name) for path in files]
        for name, files in inputs_of(request).items()
    }
    if family.source_check is not None and SOURCE in sources:
        family.source_check(request, sources[SOURCE][0].seconds)


def _songs(request: Request) -> int:
    """The largest number of songs that the request makes."""
    param = in_role(type(request), "count")
    count = request.songs if isinstance(request, Seeded) else 1
    most = None if param is None else param.maximum
    return count if most is None else min(count, round(most))


def _seed(request: Request) -> int | None:
    """The seed of the request's first song, if it sets one."""
    if not isinstance(request, Seeded):
        return None
    return request.seeds[0] if request.seeds else request.seed


def _is_every(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == EVERY_TRACK
