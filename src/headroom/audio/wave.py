"""The type `Audio`: samples in memory and their rate. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.audio.formats import Format

SILENCE = 1e-6
"""Samples below this are silence. Source: ACE-Step 1.5, treatment of reference audio."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Sound in memory.

    samples  float32 [channels, frames] on the host, nominally within ±1
    rate     frames per second, Hz

    Raises ValueError for any other shape or type, and for a rate that is not positive.
    """

    samples: Tensor
    rate: int

    def __post_init__(self) -> None:
        shape, kind = tuple(self.samples.shape), str(self.samples.dtype)
        if len(shape) != 2 or shape[0] < 1 or kind != "torch.float32":
            raise ValueError(f"audio is float32 [channels, frames], not {kind} {list(shape)}")
        if self.samples.device.type not in ("cpu", "meta"):
            raise ValueError(f"audio lies on the host, not on {self.samples.device}")
        if self.rate < 1:
            raise ValueError(f"audio has a rate above 0 Hz, not {self.rate}")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        """Number of samples in one channel."""
        return int(self.samples.shape[1])

    @property
    def seconds(self) -> float:
        return self.frames / self.rate

    def save(
        self,
        path: str | Path,
        format: Format | None = None,
        bitrate: int | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        force: bool = False,
    ) -> Path:
        """Write to a file, in the format given by its name; see `headroom.audio.encode.write`.

        With `force` an existing file is replaced; without it, InvalidOutput is raised.
        """
        from headroom.audio.encode import write_audio

        return write_audio(path, self, format, bitrate, tags, force=force)

    def write_to(
        self,
        path: Path,
        format: Format,
        bitrate: int | None,
        tags: Mapping[str, str],
        field: str,
    ) -> None:
        """Write to a reserved file; `field` names it in errors. Raises InvalidOutput, OSError."""
        from headroom.audio.encode import write_audio

        write_audio(path, self, format, bitrate, tags, field)


def stereo(audio: Audio) -> Audio:
    """The audio in two channels: mono is duplicated; more than two are mixed by ITU-R BS.775.

    Channels are assumed to be in the order of a WAV file. A mix that exceeds full scale is divided
    by its peak.
    """
    if audio.channels == 1:
        return Audio(audio.samples.repeat(2, 1), audio.rate)
    if audio.channels == 2:
        return audio
    import torch

    from headroom.audio.layout import to_stereo, wave_places

    matrix = torch.from_numpy(to_stereo(wave_places(audio.channels)))
    mixed = matrix.t() @ audio.samples
    highest = float(mixed.abs().max()) if audio.frames else 0.0
    return Audio(mixed / highest if highest > 1 else mixed, audio.rate)


def clamped(audio: Audio) -> Audio:
    """The audio with samples outside ±1 clipped to ±1."""
    return Audio(audio.samples.clamp(-1.0, 1.0), audio.rate)


def silent(audio: Audio) -> bool:
    """Whether every sample is below 1e-6 in magnitude; audio without samples is silent."""
    return bool((audio.samples.abs() < SILENCE).all())


def pad(audio: Audio, before: float, after: float) -> Audio:
    """The audio with zeros before and after, in seconds (rounded to frames), for outpainting."""
    if not (before >= 0 and after >= 0):
        raise ValueError(f"padding is 0 s or more, not {before} s and {after} s")
    left, right = round(before * audio.rate), round(after * audio.rate)
    samples = audio.samples.new_zeros(audio.channels, left + audio.frames + right)
    samples[:, left : left + audio.frames] = audio.samples
    return Audio(samples, audio.rate)
