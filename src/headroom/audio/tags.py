"""Tags in audio files: title, artist, comment, and a record of how the sound was generated.

wav and mp3 use ID3 2.4 frames; flac, ogg and opus use Vorbis comments; m4a uses its own atoms.
Equal tags give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mutagen
import mutagen.id3
import mutagen.mp4
from mutagen.flac import FLAC
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, MP4Tags
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from headroom.audio.formats import READABLE
from headroom.errors import InvalidSource

PROVENANCE = "HEADROOM"
"""The tag that holds, as JSON, how a file was made."""

TITLE, ARTIST, COMMENT = "title", "artist", "comment"
_FRAMES: Mapping[str, str] = MappingProxyType({TITLE: "TIT2", ARTIST: "TPE1", COMMENT: "COMM"})
_id3: Any = mutagen.id3  # its classes are untyped
_mp4: Any = mutagen.mp4
_ATOMS: Mapping[str, str] = MappingProxyType(
    {TITLE: "\xa9nam", ARTIST: "\xa9ART", COMMENT: "\xa9cmt"}
)
_FREE = "----:com.apple.iTunes:"
_UTF_8 = 3


def write_tags(path: str | Path, tags: Mapping[str, str]) -> None:
    """Write tags into an audio file, in place: `title`, `artist`, `comment`, and uppercase names.

    Characters that a tag cannot hold (NUL, lone surrogates) are removed from the values. Raises
    OSError if the file cannot be changed, ValueError for any other name.
    """
    for name in tags:
        if name not in _FRAMES and not (name.isascii() and name.isalnum() and name.isupper()):
            raise ValueError(f"a tag is title, artist, comment or a word in capitals, not {name!r}")
    kind = _kind(Path(path))
    if kind is None:
        raise ValueError(f"{str(path)!r} is no file that holds tags")
    try:
        file: Any = kind(str(path))
        if file.tags is None:
            file.add_tags()
        for name, value in tags.items():
            _put(file.tags, name, _clean(value))
        file.save()
    except mutagen.MutagenError as error:
        cause = error.__context__
        raise (cause if isinstance(cause, OSError) else OSError(str(error))) from error


def read_tags(path: str | Path, field: str = "source_audio") -> dict[str, str]:
    """The tags of an audio file: `title`, `artist`, `comment`, and all others in uppercase.

    If a name has several values, the first is returned. Raises InvalidSource for a file that is
    missing, unreadable, or not an audio file of a kind that holds tags.
    """
    allowed = READABLE
    try:
        kind = _kind(Path(path))
        if kind is None:
            raise InvalidSource(field, path, "is no audio file with tags", allowed)
        tags: Any = kind(str(path)).tags
    except FileNotFoundError as error:
        raise InvalidSource(field, path, "is not there", allowed) from error
    except (OSError, ValueError, mutagen.MutagenError) as error:
        raise InvalidSource(field, path, f"cannot be read ({error})", allowed) from error
    if tags is None:
        return {}
    if isinstance(tags, MP4Tags):
        return _of_mp4(tags)
    return _of_id3(tags) if isinstance(tags, _id3.ID3) else _of_vorbis(tags)


def _kind(path: Path) -> type[mutagen.FileType] | None:
    """The kind of file, by its first bytes: names of files being written do not tell it."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return WAVE
    if head[:4] == b"fLaC":
        return FLAC
    if head[:4] == b"OggS":
        return OggOpus if b"OpusHead" in head else OggVorbis
    if head[4:8] == b"ftyp":
        return MP4
    if head[:3] == b"ID3" or head[:1] == b"\xff":
        return MP3
    return None


def _clean(value: str) -> str:
    return value.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _put(tags: Any, name: str, value: str) -> None:
    if isinstance(tags, MP4Tags):
        if name in _ATOMS:
            tags[_ATOMS[name]] = [value]
        else:
            tags[_FREE + name] = [_mp4.MP4FreeForm(value.encode("utf-8"))]
    elif not isinstance(tags, _id3.ID3):
        tags[name.upper()] = value
    elif name == COMMENT:
        frame = _id3.COMM(encoding=_UTF_8, lang="eng", desc="", text=[value])
        tags.setall("COMM", [frame])
    elif name in _FRAMES:
        frame = getattr(_id3, _FRAMES[name])(encoding=_UTF_8, text=[value])
        tags.setall(_FRAMES[name], [frame])
    else:
        frame = _id3.TXXX(encoding=_UTF_8, desc=name, text=[value])
        tags.setall(f"TXXX:{name}", [frame])


def _of_id3(tags: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    named = [(name, frame) for name, kind in _FRAMES.items() for frame in tags.getall(kind)]
    named += [(frame.desc.upper(), frame) for frame in tags.getall("TXXX")]
    for name, frame in named:
        texts.setdefault(name, str(frame.text[0]) if frame.text else "")
    return texts


def _of_mp4(tags: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, atom in _ATOMS.items():
        if tags.get(atom):
            texts[name] = str(tags[atom][0])
    for key, values in tags.items():
        if key.startswith(_FREE) and values:
            texts[key.removeprefix(_FREE).upper()] = bytes(values[0]).decode("utf-8", "replace")
    return texts


def _of_vorbis(tags: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in tags:
        name = name.lower() if name.lower() in _FRAMES else name.upper()
        texts.setdefault(name, value)
    return texts
