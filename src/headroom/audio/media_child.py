"""The child process of `media.py`: decodes a media file from standard input with PyAV.

`python media_child.py DEMUXER SECONDS`. Messages on standard output: a letter, the length of the
body (4 bytes, little-endian), the body. H: the header as JSON; S: samples, float32, interleaved;
D: decoding is complete; E: why the file cannot be decoded.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import IO, Any

_MEMORY = 2 << 30  # address space, most of it used by the libraries
_MOST = 1 << 22  # bytes per message


def limit(seconds: int, memory: int = _MEMORY) -> None:
    """Limit time and memory (bytes), where the system supports it."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):  # macOS refuses the first
            continue


def send(out: IO[bytes], kind: bytes, body: bytes = b"") -> None:
    out.write(kind + struct.pack("<I", len(body)) + body)
    out.flush()


def header(stream: Any, container: Any) -> dict[str, object]:
    """Rate, places of the channels, and the number of frames if the container gives it."""
    import av

    context = stream.codec_context
    names = [channel.name for channel in context.layout.channels]
    seconds = None
    if container.format.name != "aac":  # a bare stream's length is only an estimate
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / av.time_base
    frames = None if seconds is None or seconds <= 0 else round(seconds * context.sample_rate)
    return {"rate": context.sample_rate, "places": names, "frames": frames}


def decode_media(file: IO[bytes], out: IO[bytes], demuxer: str) -> None:
    import av

    options = {"protocol_whitelist": "", "format_whitelist": "mov,mp4,matroska,webm,aac"}
    container: Any
    with av.open(file, format=demuxer, options=options, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise ValueError("it has no sound")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        fields = header(stream, container)
        send(out, b"H", json.dumps(fields).encode())
        context = stream.codec_context
        packed = av.AudioResampler(format="flt", layout=context.layout, rate=context.sample_rate)
        for frame in container.decode(stream):
            for resampled in packed.resample(frame):
                put(out, resampled)
        for resampled in packed.resample(None):
            put(out, resampled)
    send(out, b"D")


def put(out: IO[bytes], frame: Any) -> None:
    """Send the samples of a frame, split into messages of limited size."""
    each = 4 * len(frame.layout.channels)
    data = bytes(frame.planes[0])[: frame.samples * each]
    step = _MOST // each * each
    for start in range(0, len(data), step):
        send(out, b"S", data[start : start + step])


def main() -> int:
    limit(int(sys.argv[2]))
    out = sys.stdout.buffer
    try:
        decode_media(sys.stdin.buffer, out, sys.argv[1])
    except BrokenPipeError:
        return 1
    except (OSError, ValueError, MemoryError, AttributeError, TypeError, RuntimeError) as error:
        send(out, b"E", (getattr(error, "strerror", None) or str(error)).encode()[:200])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
