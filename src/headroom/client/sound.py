"""The sound of songs that a service makes or has made: fetched when it is needed. No torch before
that."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.audio.files import read_audio
from headroom.audio.formats import Format, container
from headroom.audio.wave import Audio
from headroom.client.link import Link
from headroom.engine.wire.events import AudioStored
from headroom.errors import InvalidRequest, UnknownId
from headroom.runtime.events import AudioReady

if TYPE_CHECKING:
    from torch import Tensor


class FetchedAudio(Audio):
    """Audio whose file lies with a service. Its length is known; its samples, which are those of
    the stored file, are fetched and decoded when asked for, and torch is imported then.

    path    of the file at the service
    stored  its format and bit rate (None: as the format has)
    """

    __slots__ = ("_decoded", "_length", "_link", "_path", "_stored")
    _decoded: Audio | None
    _length: float
    _link: Link
    _path: str
    _stored: tuple[Format, int | None]

    def __init__(
        self, link: Link, path: str, stored: tuple[Format, int | None], seconds: float
    ) -> None:
        values = (None, seconds, link, path, stored)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"FetchedAudio({self._link.url}{self._path}, {self._length:g} s)"

    @property
    def samples(self) -> Tensor:
        return self._whole().samples

    @property
    def rate(self) -> int:
        return self._whole().rate

    @property
    def seconds(self) -> float:
        return self._length

    def write_to(
        self,
        path: Path,
        format: Format,
        bitrate: int | None,
        tags: Mapping[str, str],
        field: str,
    ) -> None:
        """Write the file as the service has it or makes it, with the tags that it put into it."""
        kind, rate = self._stored
        same = format == kind and bitrate in (None, rate)
        params = None if same else {"format": format, "bitrate": bitrate}
        self._link.download(self._path, params, path)

    def _whole(self) -> Audio:
        decoded = self._decoded
        if decoded is None:
            with tempfile.TemporaryDirectory(prefix="headroom-song-") as folder:
                file = Path(folder) / f"song.{container(self._stored[0])}"
                self._link.download(self._path, None, file)
                decoded = read_audio(file, "download")
            object.__setattr__(self, "_decoded", decoded)
        return decoded


class EarlySound:
    """The sound of the songs of a job while they are decoded."""

    def __init__(self, link: Link, job: str) -> None:
        self._link, self._job = link, job
        self._next: dict[int, int] = {}  # the first sample of a song that was not fetched yet

    def fetched(self, told: AudioStored) -> AudioReady | None:
        """What was decoded since the last call, in the song that an event tells of; None: nothing,
        or it is gone. Raises HeadroomError."""
        start = 0 if told.start == 0 else self._next.get(told.song, 0)
        if told.start + told.frames <= start:
            return None
        try:
            audio = self._link.tried(lambda: self._read(told.song, start))
        except (UnknownId, InvalidRequest):  # the job has ended, or the song begins again
            return None
        self._next[told.song] = start + audio.frames
        return AudioReady(told.song, start, audio)

    def _read(self, song: int, start: int) -> Audio:
        path = f"/v1/jobs/{self._job}/outputs/{song + 1}/preview"
        with tempfile.TemporaryDirectory(prefix="headroom-preview-") as folder:
            file = Path(folder) / "preview.wav"
            with self._link.streamed(path, {"start": start}) as response, file.open("wb") as to:
                to.writelines(response.iter_bytes())
            return read_audio(file, "preview")
