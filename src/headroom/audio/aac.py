"""AAC in m4a files, written with PyAV. Importing this file imports neither PyAV nor torch."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headroom.audio.formats import GET_MEDIA, KINDS, has_media
from headroom.errors import InvalidOutput

if TYPE_CHECKING:
    from headroom.audio.wave import Audio

_FRAME = 1 << 16
_LEAST, _MOST = 16_000, 256_000  # bits per second and channel that the encoder accepts


def check_media(field: str, value: object) -> None:
    """Raise InvalidOutput where PyAV, which writes these files, is not installed."""
    if not has_media():
        why = f"is written through PyAV, which is not installed here ({GET_MEDIA})"
        others = ", ".join(name for name, kind in KINDS.items() if not kind.media)
        raise InvalidOutput(field, str(value), why, f"PyAV, or another format ({others})")


def encode_aac(path: Path, audio: Audio, kilobits: int) -> None:
    """Write the file. The same audio gives the same bytes. Raises OSError."""
    import av

    rate = min(max(1000 * kilobits // audio.channels, _LEAST), _MOST) * audio.channels
    layout = "mono" if audio.channels == 1 else "stereo"
    with _as_oserror():
        container: Any
        options = {"fflags": "+bitexact", "movie_timescale": str(audio.rate)}
        with av.open(str(path), "w", format="ipod", options=options) as container:
            stream = container.add_stream("aac", rate=audio.rate, layout=layout, bit_rate=rate)
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
            for start in range(0, audio.frames, _FRAME):
                block = audio.samples[:, start : start + _FRAME].numpy()
                samples = np.ascontiguousarray(np.clip(block, -1.0, 1.0))
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = audio.rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def frames_written(path: Path) -> int:
    """Frames of a file written here, from its header. Raises OSError if it is incomplete."""
    import av

    with _as_oserror():
        container: Any
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            seconds = stream.duration * stream.time_base
            return round(float(seconds) * int(stream.codec_context.rate))


@contextmanager
def _as_oserror() -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        code = error.errno if error.errno in errno.errorcode else errno.EIO
        raise OSError(code, error.strerror) from error
