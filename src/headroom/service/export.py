"""Songs as one ZIP archive, written while it is sent: no song is in memory as a whole."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from headroom.audio.lrc import ENDING, lrc
from headroom.audio.tags import TITLE, write_tags
from headroom.errors import HeadroomError, UnknownId
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.songs import Song
from headroom.log import log
from headroom.service.song_answers import timeline_of
from headroom.storage.base import PIECE

LIST = "songs.json"
_LONGEST = 80  # characters of a name, without its ending: Windows allows 260 for the whole path
_BAD = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_DEVICES = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE
)
_EARLIEST = 1980  # a ZIP archive has no years before it


class Archive:
    """Makes archives of songs. Each song comes with its title and tags written into the file, the
    record of how it was made, and its lines as an LRC file; a list has what was asked for."""

    def __init__(self, queue: Queue, files: Files, library: Library) -> None:
        self._queue, self._files, self._library = queue, files, library

    def of(self, songs: Sequence[Song]) -> Iterator[bytes]:
        """The archive, piece by piece. A song that is removed meanwhile is left out. Raises
        StorageFailed."""
        pipe, names, told = _Pipe(), Names(), []
        with zipfile.ZipFile(pipe, "w") as archive:
            for song in songs:
                try:
                    entry = self._entry(song, names)
                    yield from self._added(archive, pipe, song, entry)
                    told.append(self._told(song, entry))
                except UnknownId:
                    log.warning("song %s was removed before it was exported", song.id)
            text = json.dumps({"format": 1, "songs": told}, ensure_ascii=False, indent=1)
            archive.writestr(_dated(LIST, None), text.encode())
        yield pipe.take()

    def _entry(self, song: Song, names: Names) -> str:
        suffix = Path(self._files.get(song.file).name).suffix
        return names.new(song.title or song.caption or "song", suffix)

    def _added(
        self, archive: zipfile.ZipFile, pipe: _Pipe, song: Song, entry: str
    ) -> Iterator[bytes]:
        with self._tagged(song, Path(entry).suffix) as path:
            info = _dated(entry, song)
            info.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(info, "w") as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield pipe.take()
        stem = entry.removesuffix(Path(entry).suffix)
        made = self._library.get(song.job, song.output)
        archive.writestr(_dated(f"{stem}.json", song), made.tags.encode())
        lines = timeline_of(self._queue, self._library, song, song.seconds or 0.0).lines
        if lines:
            archive.writestr(_dated(stem + ENDING, song), lrc(lines).encode())
        yield pipe.take()

    @contextmanager
    def _tagged(self, song: Song, suffix: str) -> Iterator[Path]:
        """A copy of the file with what the library knows of the song in its tags."""
        with tempfile.TemporaryDirectory(prefix="headroom-export-") as folder:
            path = Path(folder) / f"song{suffix}"
            with self._files.local(song.file) as source:
                shutil.copyfile(source, path)
            tags = {TITLE: song.title}
            if song.tags:
                tags["KEYWORDS"] = ", ".join(song.tags)
            if song.rating:
                tags["RATING"] = str(song.rating)
            try:
                write_tags(path, tags)
            except (OSError, ValueError, HeadroomError) as error:  # it is exported as it is
                log.warning("song %s was exported without tags: %s", song.id, error)
            yield path

    def _told(self, song: Song, entry: str) -> JsonValue:
        return {
            "file": entry,
            "id": song.id,
            "title": song.title,
            "rating": song.rating,
            "tags": list(song.tags),
            "created": song.created,
            "seconds": song.seconds,
            "parent": song.parent,
            "asked": json.loads(self._queue.get(song.job).request),
        }


class Names:
    """Names of files in one folder, which every system can write, each once whatever its case."""

    def __init__(self) -> None:
        self._taken = {LIST}

    def new(self, title: str, suffix: str) -> str:
        """A name for a title that nobody has yet."""
        stem = safe(title)
        suffix = suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ".audio"
        number = 1
        while True:
            whole = stem if number == 1 else f"{stem} ({number})"
            kinds = (suffix, ".json", ENDING)
            names = {f"{whole}{kind}".casefold() for kind in kinds}
            if not names & self._taken:
                self._taken |= names
                return whole + suffix
            number += 1


def safe(title: str) -> str:
    """A title as the name of a file on any system, without an ending."""
    plain = " ".join(_BAD.sub(" ", title).split())[:_LONGEST].strip(" .")
    while len(plain.encode()) > 2 * _LONGEST:  # most systems count bytes: at most 255 of them
        plain = plain[:-1].rstrip(" .")
    if _DEVICES.fullmatch(plain.partition(".")[0].strip()):
        plain = f"_{plain}"
    return plain or "song"


class _Pipe(io.RawIOBase):
    """What an archive is written to, and taken from piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since it was last asked for."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _dated(name: str, song: Song | None) -> zipfile.ZipInfo:
    made = datetime.now() if song is None else datetime.fromtimestamp(song.created)
    year = min(max(made.year, _EARLIEST), 2107)
    return zipfile.ZipInfo(name, (year, *made.timetuple()[1:6]))
