"""What clients see of the library, and what they send to it: the JSON forms of songs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from headroom.audio.lrc import TimedText
from headroom.audio.waveform import Waveform
from headroom.jobs.playlists import MOST_SONGS, Playlist
from headroom.jobs.songs import MOST_TAGS, RATINGS, TAG_LENGTH, Song
from headroom.jobs.texts import MOST_NAME
from headroom.service.timeline import Timeline

Rating = Annotated[int, Field(ge=RATINGS[0], le=RATINGS[-1])]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_LENGTH)]
Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]
Ids = Annotated[list[str], Field(max_length=MOST_SONGS)]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SongView(_View):
    """A song of the library; times in seconds since 1970."""

    id: str
    job: str
    number: int = Field(description="Which of the outputs of its job it is, from 1.")
    url: str = Field(description="Where its bytes are.")
    peaks: str = Field(description="Where its waveform is.")
    file: str = Field(description="The id by which requests name it as their source.")
    title: str
    caption: str
    lyrics: str
    tags: list[str]
    rating: int | None
    kind: str = Field(description="The media type of its bytes.")
    seconds: float | None
    size: int
    created: float
    parent: str | None = Field(description="The song that it is a version of.")
    deleted: float | None
    removed: float | None = Field(description="When a deleted song is gone for good.")


class SongsView(_View):
    """Some songs; `next` is the cursor of the page behind them."""

    songs: list[SongView]
    next: str | None


class WholeSong(SongView):
    """A song with the record of how it was made, and what jobs have told of it since."""

    made: dict[str, JsonValue]
    answers: dict[str, JsonValue] = Field(description="The newest of each kind of output.")
    lrc: str | None = Field(description="Where its lines are; null if nobody knows their times.")


class VersionView(SongView):
    """A song with its depth in the tree of versions."""

    depth: int


class VersionsView(_View):
    """Versions of a song, each before those made from it."""

    versions: list[VersionView]


class TagView(_View):
    """A tag, and how many songs have it."""

    tag: str
    songs: int


class TagsView(_View):
    """All tags."""

    tags: list[TagView]


class PlaylistView(_View):
    """A playlist, and how many songs are in it."""

    id: str
    name: str
    created: float
    changed: float
    count: int


class PlaylistsView(_View):
    """All playlists, by name."""

    playlists: list[PlaylistView]


class WholePlaylist(PlaylistView):
    """A playlist with its songs, in order."""

    songs: list[SongView]


class TimedView(_View):
    """A line or a section, in seconds of the song."""

    text: str
    start: float
    end: float


class PeaksView(_View):
    """What a player shows of an output: the highest and lowest sample of equal parts of it, and
    what happens when."""

    seconds: float
    top: list[float]
    bottom: list[float]
    loudness: float | None = Field(description="LUFS (ITU-R BS.1770); null for silence.")
    tempo: float | None = Field(description="Beats per minute.")
    lines: list[TimedView]
    sections: list[TimedView]


class SongChange(_Sent):
    """What is to be changed; a `rating` of null takes it away."""

    title: str | None = Field(default=None, max_length=1000)
    rating: Rating | None = None
    tags: list[Tag] | None = Field(default=None, max_length=MOST_TAGS)


class NewPlaylist(_Sent):
    """A playlist to be made."""

    name: Name
    songs: Ids = []


class PlaylistChange(_Sent):
    """What is to be changed; `songs` are all of them in their order."""

    name: Name | None = None
    songs: Ids | None = None


class Selection(_Sent):
    """Songs, by their ids."""

    songs: Ids


def song_view(song: Song) -> SongView:
    """A song."""
    return SongView(**song_values(song))


def song_values(song: Song) -> dict[str, Any]:
    """The values of a song's form."""
    url = f"/v1/jobs/{song.job}/outputs/{song.output}"
    own = {name: getattr(song, name) for name in SongView.model_fields if hasattr(song, name)}
    return own | {"number": song.output, "url": url, "peaks": f"{url}/peaks"}


def playlist_values(playlist: Playlist) -> dict[str, Any]:
    """The values of a playlist's form."""
    names = ("id", "name", "created", "changed")
    return {name: getattr(playlist, name) for name in names} | {"count": playlist.songs}


def peaks_view(found: Waveform, when: Timeline) -> PeaksView:
    """A waveform with its timeline."""
    return PeaksView(
        seconds=found.seconds,
        top=list(found.top),
        bottom=list(found.bottom),
        loudness=found.loudness,
        tempo=when.tempo,
        lines=[_timed(one) for one in when.lines],
        sections=[_timed(one) for one in when.sections],
    )


def _timed(one: TimedText) -> TimedView:
    return TimedView(text=one.text, start=one.start, end=one.end)
