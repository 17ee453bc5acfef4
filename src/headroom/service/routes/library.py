"""The library: songs listed, searched, changed, deleted, exported; playlists; waveforms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from headroom.audio.lrc import ENDING, lrc
from headroom.errors import InvalidRequest, InvalidSource, UnknownId
from headroom.jobs.queue import PAGE
from headroom.jobs.search import MOST_QUERY
from headroom.jobs.songs import MOST_TAGS, Change, Song, Sort, Wanted, checked_tags
from headroom.service.answers import Refusal
from headroom.service.callers import Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.export import Archive, safe
from headroom.service.song_answers import answers_about, timeline_of
from headroom.service.song_views import (
    NewPlaylist,
    PeaksView,
    PlaylistChange,
    PlaylistsView,
    PlaylistView,
    Rating,
    Selection,
    SongChange,
    SongsView,
    SongView,
    TagsView,
    TagView,
    VersionsView,
    VersionView,
    WholePlaylist,
    WholeSong,
    peaks_view,
    playlist_values,
    song_values,
    song_view,
)
from headroom.service.timeline import Timeline

router = APIRouter(tags=["library"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
_LIBRARY = "/v1/library"
_PAGE = 50  # songs, if nothing is said
_POINTS = 1000  # of a waveform, if nothing is said
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "The archive."}
}


@router.get(f"{_LIBRARY}/songs", summary="List songs, or search them")
def songs(
    doors: Here,
    caller: Who,
    q: Annotated[str, Query(max_length=MOST_QUERY)] = "",
    tag: Annotated[list[str] | None, Query(max_length=MOST_TAGS)] = None,
    rating: Rating | None = None,
    deleted: bool = False,
    sort: Sort = "date",
    order: Literal["asc", "desc"] = "desc",
    cursor: str | None = None,
    most: Annotated[int, Query(ge=1, le=PAGE)] = _PAGE,
) -> SongsView:
    """Every word of `q` has to occur in the title, the caption, the lyrics or the tags, in any
    language and as a part of a word; every `tag` has to be on the song; `rating`: at least."""
    wanted = Wanted(q, checked_tags(tag or ()), rating, deleted, sort, order == "asc")
    page = doors.songs.page(wanted, caller.owner, cursor, most)
    return SongsView(songs=[song_view(one) for one in page.songs], next=page.next)


@router.get(f"{_LIBRARY}/songs/{{id}}", summary="Show a song")
def song(id: str, doors: Here, caller: Who) -> WholeSong:
    """With the record of how it was made, and what jobs have told of it since."""
    found = doors.songs.get(id, caller.owner)
    made = doors.library.get(found.job, found.output, caller.owner)
    told = answers_about(doors.library, found, caller.owner)
    return WholeSong(
        **song_values(found),
        made=json.loads(made.tags),
        answers=doors.hidden.object(told),
        lrc=f"{_LIBRARY}/songs/{found.id}/lrc" if _timeline(doors, caller, found).lines else None,
    )


@router.get(
    f"{_LIBRARY}/songs/{{id}}/lrc",
    summary="The lines of a song, with their times",
    response_class=PlainTextResponse,
)
def lines(id: str, doors: Here, caller: Who) -> Response:
    """In the LRC format of music players: those timed with the song, or in a recording of it."""
    found = doors.songs.get(id, caller.owner)
    timed = _timeline(doors, caller, found).lines
    if not timed:
        raise UnknownId("lines", id)
    name = safe(found.title or found.caption) + ENDING
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return PlainTextResponse(lrc(timed), 200, headers)


@router.patch(f"{_LIBRARY}/songs/{{id}}", summary="Name, rate or tag a song")
def change(id: str, change: SongChange, doors: Here, caller: Who) -> SongView:
    """What is not named stays as it is. A title is cut to one line."""
    rating = (change.rating or 0) if "rating" in change.model_fields_set else None
    tags = None if change.tags is None else tuple(change.tags)
    return song_view(doors.songs.change(id, Change(change.title, rating, tags), caller.owner))


@router.delete(f"{_LIBRARY}/songs/{{id}}", summary="Delete a song, for a while with undo")
def delete(id: str, doors: Here, caller: Who) -> SongView:
    """Lists leave it out from now on; `removed` says until when it can be had back."""
    return song_view(doors.songs.delete(id, caller.owner))


@router.post(f"{_LIBRARY}/songs/{{id}}/restore", summary="Undo the deletion of a song")
def restore(id: str, doors: Here, caller: Who) -> SongView:
    """A song that was not deleted stays as it is."""
    return song_view(doors.songs.restore(id, caller.owner))


@router.get(f"{_LIBRARY}/songs/{{id}}/versions", summary="The versions of a song")
def versions(id: str, doors: Here, caller: Who) -> VersionsView:
    """What it was made from, and all that was made from those: covers, repaints, replays."""
    found = doors.songs.versions(id, caller.owner)
    views = [VersionView(**song_values(one), depth=depth) for one, depth in found]
    return VersionsView(versions=views)


@router.get(f"{_LIBRARY}/tags", summary="All tags")
def tags(doors: Here, caller: Who) -> TagsView:
    """And how many songs have each of them."""
    found = doors.songs.tags(caller.owner)
    return TagsView(tags=[TagView(tag=tag, songs=count) for tag, count in found])


@router.get(f"{_LIBRARY}/playlists", summary="All playlists")
def playlists(doors: Here, caller: Who) -> PlaylistsView:
    """By name, without their songs."""
    found = doors.playlists.all(caller.owner)
    return PlaylistsView(playlists=[PlaylistView(**playlist_values(one)) for one in found])


@router.post(
    f"{_LIBRARY}/playlists", status_code=201, summary="Make a playlist", response_model=PlaylistView
)
def create(given: NewPlaylist, doors: Here, caller: Who) -> Response:
    """Of these songs, in this order."""
    made = doors.playlists.create(caller.key, given.name, given.songs, caller.owner)
    where = {"Location": f"{_LIBRARY}/playlists/{made.id}"}
    return JSONResponse(playlist_values(made), 201, where)


@router.get(f"{_LIBRARY}/playlists/{{id}}", summary="Show a playlist")
def playlist(id: str, doors: Here, caller: Who) -> WholePlaylist:
    """With its songs, in order."""
    found, inside = doors.playlists.get(id, caller.owner)
    return WholePlaylist(**playlist_values(found), songs=[song_view(one) for one in inside])


@router.patch(f"{_LIBRARY}/playlists/{{id}}", summary="Change a playlist")
def change_playlist(id: str, given: PlaylistChange, doors: Here, caller: Who) -> PlaylistView:
    """`songs` takes the place of all that are in it."""
    changed = doors.playlists.change(id, given.name, given.songs, caller.owner)
    return PlaylistView(**playlist_values(changed))


@router.delete(f"{_LIBRARY}/playlists/{{id}}", status_code=204, summary="Remove a playlist")
def remove_playlist(id: str, doors: Here, caller: Who) -> Response:
    """Its songs stay in the library."""
    doors.playlists.delete(id, caller.owner)
    return Response(status_code=204)


@router.get(
    f"{_LIBRARY}/export",
    summary="Songs as a ZIP archive",
    response_class=StreamingResponse,
    responses=_ZIP,
)
def export(
    doors: Here,
    caller: Who,
    song: Annotated[list[str] | None, Query(max_length=PAGE)] = None,
    playlist: str | None = None,
) -> Response:
    """Each song with its tags, the record of how it was made and its lines; `songs.json` has the
    requests. Either songs or a playlist."""
    if (song is None) == (playlist is None):
        raise InvalidRequest("song", song, "ids of songs, or a playlist")
    if playlist is not None:
        return _archive(doors, doors.playlists.get(playlist, caller.owner)[1])
    return _archive(doors, doors.songs.some(song or (), caller.owner))


@router.post(
    f"{_LIBRARY}/export",
    summary="Many songs as a ZIP archive",
    response_class=StreamingResponse,
    responses=_ZIP,
)
def export_many(given: Selection, doors: Here, caller: Who) -> Response:
    """The same for a selection in the body."""
    return _archive(doors, doors.songs.some(given.songs, caller.owner))


@router.get("/v1/jobs/{id}/outputs/{number}/peaks", summary="The waveform of an output")
def peaks(
    id: str,
    number: int,
    doors: Here,
    caller: Who,
    buckets: Annotated[int, Query(ge=1, le=20_000)] = _POINTS,
) -> PeaksView:
    """With its loudness, its tempo, and when its lines and sections are sung, where they are
    known. It is measured once, when it is first asked for."""
    made = doors.library.get(id, number, caller.owner)
    song = doors.songs.get(f"{id}.{number}", caller.owner)
    try:
        found = doors.waveforms.of(doors.files.get(made.file))
    except InvalidSource as error:
        text = "this kind of file has no waveform here."
        raise Refusal(409, "no_waveform", text, "kind", "wav, flac, ogg, opus or mp3") from error
    return peaks_view(found.of(buckets), _timeline(doors, caller, song, found.seconds))


def _timeline(doors: Doors, caller: Caller, song: Song, seconds: float | None = None) -> Timeline:
    length = seconds or song.seconds or 0.0
    return timeline_of(doors.queue, doors.library, song, length, caller.owner)


def _archive(doors: Doors, chosen: Sequence[Song]) -> Response:
    if not chosen:
        raise UnknownId("song", "")
    headers = {"Content-Disposition": 'attachment; filename="songs.zip"'}
    pieces = Archive(doors.queue, doors.files, doors.library).of(chosen)
    return StreamingResponse(pieces, 200, headers, "application/zip")
