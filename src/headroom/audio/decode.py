"""Decoding of audio files, block by block. Importing this file imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_SET, BufferedReader
from pathlib import Path

import soundfile

from headroom.audio import containers
from headroom.audio.containers import Part
from headroom.audio.formats import READABLE
from headroom.audio.layout import vorbis_places, wave_places
from headroom.audio.media import is_media, open_media
from headroom.audio.sound import Block, OpenSound
from headroom.errors import InvalidFile, InvalidSource
from headroom.files import open_regular

BLOCK = 1 << 16  # frames; fewer with many channels
_MOST_BLOCK = 1 << 19  # samples, over all channels
RATES = range(1_000, 1_000_001)
_UNKNOWN = 1 << 48  # headers without a length say 2^63 − 1
# Decoders may deliver a little less than the header promises: two mp3 frames, or two of the longest
# Vorbis blocks. If more is missing, the file is truncated.
_SLACK = {"MP3": 2 * 1152, "OGG": 2 * 8192}
_FLOATING = ("FLOAT", "DOUBLE")


@contextmanager
def open_sound(path: str | Path, field: str) -> Iterator[OpenSound]:
    """The file, from its first sample.

    Raises InvalidSource for faults that the header shows: not a regular file, empty, no audio, a
    truncated Ogg file; and, when the block ends, for a file that has changed meanwhile.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_regular(path, field))
        before = _stamp(file)
        if is_media(file):
            sound = stack.enter_context(open_media(file, path, field))
        else:
            sound = _through_sndfile(file, path, field, stack)
        if sound.rate not in RATES:
            why, allowed = f"has a rate of {sound.rate} Hz", f"{RATES[0]} to {RATES[-1]} Hz"
            raise InvalidSource(field, path, why, allowed)
        yield sound
        if _stamp(file) != before:
            raise InvalidSource(field, path, "changed while it was read", "a file that is complete")


def _regular(path: str | Path, field: str) -> BufferedReader:
    try:
        file = open_regular(Path(path).absolute())
    except InvalidFile as error:
        raise InvalidSource(field, path, error.why, READABLE) from error
    except ValueError as error:
        raise InvalidSource(field, path, f"cannot be read ({error})", READABLE) from error
    why = ""
    if os.fstat(file.fileno()).st_size == 0:
        why = "is empty (0 bytes)"
    elif Path(path).suffix.lower() == ".raw":
        why = "has no header that says what it holds"
    if why:
        file.close()
        raise InvalidSource(field, path, why, READABLE)
    return file


def _stamp(file: BufferedReader) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


class PartOfFile:
    """A part of a file, presented as a file of its own with some bytes replaced."""

    def __init__(self, file: BufferedReader, part: Part) -> None:
        self._file, self._part, self._at = file, part, 0

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._part.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int) -> bytes:
        self._file.seek(self._part.start + self._at)
        data = bytearray(self._file.read(max(0, min(count, self._part.size - self._at))))
        for at, new in self._part.patches:
            for i, byte in enumerate(new, at - self._at):
                if 0 <= i < len(data):
                    data[i] = byte
        self._at += len(data)
        return bytes(data)

    def write(self, data: object) -> int:
        """Not supported; the codec library requires the method to exist."""
        raise OSError("the file is only read")


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """Reads front to back only: the library's seek after a read fails if the length is unknown."""

    def seekable(self) -> bool:
        return False


def _through_sndfile(
    file: BufferedReader, path: str | Path, field: str, stack: ExitStack
) -> OpenSound:
    layout = containers.layout(file)
    if layout.torn:
        raise InvalidSource(field, path, layout.torn, READABLE)
    streams: list[_Stream] = []
    remarks = layout.remarks
    for part in layout.parts:
        try:
            stream = stack.enter_context(_Stream(PartOfFile(file, part)))
        except (soundfile.LibsndfileError, TypeError) as error:
            why = f"cannot be read as audio ({codec_message(error)})"
            raise InvalidSource(field, path, why, READABLE) from error
        if streams and _shape(stream) != _shape(streams[0]):
            remarks += ("a later stream has another rate or number of channels and is left out",)
            break
        streams.append(stream)
    first = streams[0]
    lossy = first.format in ("OGG", "MP3")
    places = vorbis_places(first.channels)
    if first.format != "OGG":
        places = wave_places(first.channels, layout.mask)
    length_known = all(_length_is_known(s, layout.has_length) for s in streams)
    return OpenSound(
        rate=first.samplerate,
        places=places,
        promised=sum(s.frames for s in streams) if length_known else None,
        slack=_SLACK.get(first.format, 0) * len(streams),
        floating=first.subtype in _FLOATING,
        whole=not lossy and first.subtype not in _FLOATING,
        remarks=remarks,
        blocks=lambda: _blocks(streams, path, field),
    )


def _shape(stream: _Stream) -> tuple[int, int]:
    return stream.samplerate, stream.channels


def _blocks(streams: list[_Stream], path: str | Path, field: str) -> Iterator[Block]:
    count = 0
    frames = max(1, min(BLOCK, _MOST_BLOCK // streams[0].channels))
    for stream in streams:
        while True:
            try:
                block: Block = stream.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                why = f"is cut short or damaged after {count} samples ({codec_message(error)})"
                raise InvalidSource(field, path, why, READABLE) from error
            if not len(block):
                break
            count += len(block)
            yield block


def _length_is_known(stream: _Stream, has_length: bool) -> bool:
    return has_length if stream.format == "MP3" else 0 <= int(stream.frames) < _UNKNOWN


def codec_message(error: Exception) -> str:
    """The codec library's message, without the name of our file object."""
    text = getattr(error, "error_string", None) or str(error)
    return str(text).rstrip(". ")
