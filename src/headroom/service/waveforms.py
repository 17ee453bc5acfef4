"""Waveforms of outputs, measured once for each content and kept as files that can be made again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex
from threading import Lock

from headroom.audio.waveform import Waveform, waveform
from headroom.files import parse_json
from headroom.jobs.files import File, Files
from headroom.log import log

_KEPT = 1000  # files, of at most 150 KB each; the oldest go
_FORM = "1"  # of the files: another one is never read as this one


class Waveforms:
    """Waveforms of files of the service; `folder`: where they are kept, on this machine."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files, self._folder = files, folder
        self._measuring = Lock()  # one at a time: it takes a core for seconds

    def of(self, file: File) -> Waveform:
        """The waveform of a file. Raises InvalidSource, UnknownId, StorageFailed."""
        kept = self._folder / f"{file.hash}.{_FORM}.json"
        found = _kept_in(kept)
        if found is None:
            with self._measuring:
                found = _kept_in(kept)
                if found is None:
                    with self._files.local(file.id) as path:
                        found = waveform(path)
                    self._keep(kept, found)
        return found

    def _keep(self, path: Path, found: Waveform) -> None:
        """Write a waveform; without a place for it, it is measured again next time."""
        part = path.with_suffix(f".{token_hex(4)}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(found)), encoding="ascii")
            part.replace(path)
            dated = sorted((one.stat().st_mtime, one) for one in self._folder.iterdir())
            for _, old in dated[:-_KEPT]:
                old.unlink()
        except OSError as error:  # such as a full disk, or another process that removes the same
            log.warning("a waveform was not kept: %s", error)
            with suppress(OSError):
                part.unlink()


def _kept_in(path: Path) -> Waveform | None:
    try:
        given = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    match given:
        case {
            "seconds": float() | int() as seconds,
            "top": [*top],
            "bottom": [*bottom],
            "loudness": (float() | int() | None) as loudness,
        } if top and len(top) == len(bottom):
            return Waveform(seconds, tuple(top), tuple(bottom), loudness)  # fmt: skip
    return None
