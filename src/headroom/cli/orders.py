"""What is to be made, and where its songs go: each request with its place, before anything runs."""

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
from headroom.models.acestep.requests.regions import MOST_SECONDS, growth
from headroom.models.acestep.requests.songs import AnyMusicRequest, Lego, Repaint, request_from
from headroom.models.acestep.text.vocabulary import TRACKS
from headroom.params.describe import describe, stand_in
from headroom.params.request import snake
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.engine.result import Result

EVERY_TRACK = "all"
_TRACK = ("track", "track_name")


@dataclass(frozen=True, slots=True)
class Order:
    """A request and the place of its songs.

    words  of names that nobody gave
    drawn  whether its seeds were drawn here, because the names hold them
    """

    request: AnyMusicRequest
    place: Place
    words: str
    drawn: bool = False

    def names(self, lrc: bool) -> Names:
        """The names of its songs, held. Raises InvalidOutput."""
        request = self.request
        seed = request.seeds[0] if request.seeds else request.seed
        wanted = self.place.wanted(self.words, seed or 0, lrc, inputs_of(request))
        names = Names(wanted)
        try:
            names.hold(_songs(request))
        except BaseException:
            names.close()
            raise
        return names

    def as_asked(self, result: Result) -> Result:
        """The result without notes about seeds that nobody asked for."""
        if not self.drawn:
            return result
        return replace(result, notes=tuple(n for n in result.notes if n.field != "seeds"))


def order(request: AnyMusicRequest, where: Place, settings: Settings) -> Order:
    """The request with its batch as the settings have it, and with seeds where names need them.

    Raises InvalidSource for a recording that cannot be used.
    """
    check_agreement(request)
    check_sources(request)
    words = request.caption or request.task
    asked = batch_default(request, settings)
    if where.named is not None or asked.seeds or asked.seed is not None:
        return Order(asked, where, words)
    songs = _songs(asked)
    seeds = tuple(secrets.randbits(DRAWN_BITS) for _ in range(songs))
    update: dict[str, object] = {"seed": seeds[0]} if songs == 1 else {"seeds": seeds}
    return Order(asked.model_copy(update=update), where, words, drawn=True)


def orders_for(
    fields: Mapping[str, object], named: str | None, settings: Settings, force: bool
) -> tuple[Order, ...]:
    """The order of these fields; with `track` all, one for every track there is."""
    every = next((name for name in fields if snake(name) in _TRACK and _is_every(fields[name])), "")
    if not every:
        request = request_from(fields)
        check_agreement(request, usual=None)
        return (order(request, place_of(request, named, settings, force), settings),)
    made = []
    for track in TRACKS:
        request = request_from({**fields, every: track})
        where = replace(place_of(request, named, settings, force), suffix=track.replace("_", "-"))
        made.append(order(request, where, settings))
    return tuple(made)


def place_of(request: AnyMusicRequest, named: str | None, settings: Settings, force: bool) -> Place:
    """Where the songs of a request go. Raises InvalidOutput."""
    usual = cast("Format", stand_in(type(request), "audio_format"))
    return place(named, request.audio_format, usual, settings.output_dir, force)


def check_sources(request: AnyMusicRequest) -> None:
    """Raise InvalidSource for a recording that is not there or cannot be opened, and
    InvalidRequest for a region that is outside it."""
    found = {
        name: [probe(path, name) for path in files] for name, files in inputs_of(request).items()
    }
    if isinstance(request, Repaint | Lego) and "source_audio" in found:
        growth(request, min(found["source_audio"][0].seconds, MOST_SECONDS))


def _songs(request: AnyMusicRequest) -> int:
    """How many songs it makes at most."""
    limit = next(p.limit for p in describe(type(request)) if p.name == "batch_size")
    return min(request.songs, round(limit.maximum)) if limit is not None else request.songs


def _is_every(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == EVERY_TRACK
