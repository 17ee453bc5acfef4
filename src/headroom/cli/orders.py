"""Pairs each request with the place its songs go to, before anything runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from headroom.audio.encode import Format
from headroom.audio.files import probe
from headroom.cli.output import Place, place
from headroom.engine.limits import batch_default
from headroom.engine.names import Names, inputs_of
from headroom.engine.seeds import DRAWN_BITS, check_agreement
from headroom.models.base import Seeded
from headroom.models.family import Family
from headroom.params.describe import describe, stand_in, task_of, union
from headroom.params.request import Request, snake
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.engine.result import Result

EVERY_TRACK = "all"
SOURCE, FORMAT = "source_audio", "audio_format"  # field names, in families that have them
USUAL_FORMAT: Format = "flac"  # where a family's requests have no format
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
        wanted = self.place.wanted(self.words, seed or 0, lrc, inputs_of(request))
        names = Names(wanted)
        try:
            names.hold(_songs(request))
        except BaseException:
            names.close()
            raise
        return names

    def as_asked(self, result: Result) -> Result:
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
    said = "" if family.words is None else str(getattr(request, family.words))
    words = said or task_of(request)
    asked = batch_default(request, settings)
    if where.named is not None or _seed(asked) is not None:
        return Order(asked, where, words)
    songs = _songs(asked)
    seeds = tuple(secrets.randbits(DRAWN_BITS) for _ in range(songs))
    update: dict[str, object] = {"seed": seeds[0]} if songs == 1 else {"seeds": seeds}
    return Order(asked.model_copy(update=update), where, words, drawn=True)


def orders_for(
    family: Family,
    fields: Mapping[str, object],
    named: str | None,
    settings: Settings,
    force: bool,
) -> tuple[Order, ...]:
    """The order for these fields; with `track` set to all, one for every track."""
    every = next((name for name in fields if snake(name) in _TRACK and _is_every(fields[name])), "")
    if not every:
        request = family.request(fields)
        check_agreement(request, usual=None)
        return (order(family, request, place_of(request, named, settings, force), settings),)
    made = []
    tracks = next(p.choices for p in union(family.requests.values()) if p.name == _TRACK[0])
    for track in tracks:
        request = family.request({**fields, every: track})
        where = replace(place_of(request, named, settings, force), suffix=track.replace("_", "-"))
        made.append(order(family, request, where, settings))
    return tuple(made)


def place_of(request: Request, named: str | None, settings: Settings, force: bool) -> Place:
    """Where the songs of a request go. Raises InvalidOutput."""
    asked = cast("Format | None", getattr(request, FORMAT, None))
    return place(named, asked, usual_format(type(request)), settings.output_dir, force)


def usual_format(kind: type[Request]) -> Format:
    """The format of a song whose name was not given."""
    known = FORMAT in kind.model_fields
    return cast("Format", stand_in(kind, FORMAT)) if known else USUAL_FORMAT


def check_sources(family: Family, request: Request) -> None:
    """Raise InvalidSource for a recording that does not exist or cannot be opened, and
    InvalidRequest for a region outside the recording."""
    found = {
        name: [probe(path, name) for path in files] for name, files in inputs_of(request).items()
    }
    if family.source_check is not None and SOURCE in found:
        family.source_check(request, found[SOURCE][0].seconds)


def _songs(request: Request) -> int:
    """The largest number of songs that the request makes."""
    limit = next(p.limit for p in describe(type(request)) if p.name == "batch_size")
    count = request.songs if isinstance(request, Seeded) else 1
    return min(count, round(limit.maximum)) if limit is not None else count


def _seed(request: Request) -> int | None:
    """The seed of the request's first song, if it sets one."""
    if not isinstance(request, Seeded):
        return None
    return request.seeds[0] if request.seeds else request.seed


def _is_every(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == EVERY_TRACK
