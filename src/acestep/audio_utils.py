"""Compatible `acestep.audio_utils`: saves audio, processes it, and derives names from it.

Audio is a tensor or an array [channels, samples]; files are written by `headroom.audio`. Importing
this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from headroom import paths
from headroom.audio.encode import FORMATS
from headroom.audio.wave import Audio
from headroom.errors import InvalidRequest

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from headroom.audio.files import Format

    Sound: TypeAlias = Tensor | npt.NDArray[Any]

ENDINGS = (".flac", ".wav", ".mp3", ".opus", ".ogg", ".aac", ".m4a")
SILENT_RMS, SILENT_PEAK = 1e-5, 1e-4
_BLOCK = 1 << 20


class AudioSaver:
    """Writes audio to files; unset arguments follow `default_format` and the defaults of mp3.

    Raises InvalidRequest for an unknown format, InvalidOutput for a place that cannot be written
    to.
    """

    MP3_DEFAULT_BITRATE = "128k"
    MP3_ALLOWED_BITRATES = frozenset({"128k", "192k", "256k", "320k"})
    MP3_DEFAULT_SAMPLE_RATE = 48_000
    MP3_ALLOWED_SAMPLE_RATES = frozenset({44_100, 48_000})

    def __init__(self, default_format: str = "flac") -> None:
        self.default_format = _format(default_format)

    def save_audio(
        self,
        audio_data: Sound,
        output_path: str | Path,
        sample_rate: int = 48_000,
        format: str | None = None,
        channels_first: bool = True,
        mp3_bitrate: str | None = None,
        mp3_sample_rate: int | None = None,
    ) -> str:
        """Write one file, completely or not at all; its path, with an extension if it had none."""
        from headroom.audio.files import write_audio
        from headroom.audio.resample import resample

        kind = self.default_format if format is None else _format(format)
        path = Path(output_path)
        if path.suffix.lower() not in ENDINGS:
            path = path.with_name(f"{path.name}.{'wav' if kind.startswith('wav') else kind}")
        audio = Audio(_tensor(audio_data, channels_first), sample_rate)
        bitrate = None
        if kind == "mp3":
            bitrate = _kilobits(mp3_bitrate or self.MP3_DEFAULT_BITRATE)
            audio = resample(audio, int(mp3_sample_rate or self.MP3_DEFAULT_SAMPLE_RATE))
        return str(write_audio(path, audio, kind, bitrate, field="output_path"))

    def convert_audio(
        self,
        input_path: str | Path,
        output_path: str | Path,
        output_format: str,
        remove_input: bool = False,
        mp3_bitrate: str | None = None,
        mp3_sample_rate: int | None = None,
    ) -> str:
        """Read a file and write it in another format. Raises InvalidSource."""
        from headroom.audio.files import read_audio

        audio = read_audio(input_path, "input_path")
        written = self.save_audio(
            audio.samples, output_path, audio.rate, output_format,
            mp3_bitrate=mp3_bitrate, mp3_sample_rate=mp3_sample_rate,
        )  # fmt: skip
        if remove_input and paths.resolved(written) != paths.resolved(input_path):
            Path(input_path).unlink()
        return written

    def save_batch(
        self,
        audio_batch: Sound | Sequence[Sound],
        output_dir: str | Path,
        file_prefix: str = "audio",
        sample_rate: int = 48_000,
        format: str | None = None,
        channels_first: bool = True,
        mp3_bitrate: str | None = None,
        mp3_sample_rate: int | None = None,
    ) -> list[str]:
        """Write `audio_0000`, `audio_0001`, …: a list, or [batch, channels, samples]."""
        whole = not isinstance(audio_batch, Sequence) and audio_batch.ndim < 3
        sounds = cast("Sequence[Sound]", [audio_batch] if whole else audio_batch)
        return [
            self.save_audio(
                sound, Path(output_dir) / f"{file_prefix}_{number:04d}", sample_rate, format,
                channels_first, mp3_bitrate, mp3_sample_rate,
            )
            for number, sound in enumerate(sounds)
        ]  # fmt: skip


def save_audio(
    audio_data: Sound,
    output_path: str | Path,
    sample_rate: int = 48_000,
    format: str | None = None,
    channels_first: bool = True,
    mp3_bitrate: str | None = None,
    mp3_sample_rate: int | None = None,
) -> str:
    """Like `AudioSaver().save_audio`: a flac file by default."""
    return AudioSaver().save_audio(
        audio_data, output_path, sample_rate, format, channels_first, mp3_bitrate, mp3_sample_rate
    )


def apply_fade(audio_data: Sound, fade_in_samples: int = 0, fade_out_samples: int = 0) -> Sound:
    """A copy [channels, samples] with linear fades from and to silence, each in samples."""
    from headroom.audio.level import fade

    audio = Audio(_tensor(audio_data), 1)
    return _like(audio_data, fade(audio, max(0, fade_in_samples), max(0, fade_out_samples)))


def normalize_audio(audio_data: Sound, target_db: float = -1.0) -> Sound:
    """A copy whose peak is at `target_db` dB of full scale; silence stays as it is."""
    from headroom.audio.level import normalise

    return _like(audio_data, normalise(Audio(_tensor(audio_data), 1), target_db))


def is_audio_silent(
    audio_data: Sound | None,
    rms_threshold: float = SILENT_RMS,
    peak_threshold: float = SILENT_PEAK,
    channels_first: bool = True,
) -> tuple[bool, float, float]:
    """Whether audio is silent, its root mean square, and its peak; empty audio is silent."""
    if audio_data is None:
        return True, 0.0, 0.0
    samples = _tensor(audio_data).double()
    if samples.numel() == 0:
        return True, 0.0, 0.0
    rms, peak = float(samples.square().mean().sqrt()), float(samples.abs().max())
    return rms <= rms_threshold and peak <= peak_threshold, rms, peak


def generate_uuid_from_params(params_dict: Mapping[str, Any]) -> str:
    """A name in the form of a UUID derived from parameters: equal parameters give equal names."""
    text = json.dumps(params_dict, sort_keys=True, ensure_ascii=False, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(digest[a:b] for a, b in pairwise(cuts))


def generate_uuid_from_audio_data(audio_data: Sound, seed: int | None = None) -> str:
    """A name derived from samples and seed: SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256(_tensor(audio_data).numpy().tobytes()).hexdigest()
    return digest if seed is None else hashlib.sha256(f"{digest}_{seed}".encode()).hexdigest()


def get_audio_file_hash(audio_file: object) -> str:
    """SHA-256 of a file's bytes; of the name if there is no such file; empty for None."""
    if audio_file is None:
        return ""
    name = str(getattr(audio_file, "name", audio_file))
    digest = hashlib.sha256()
    try:
        with Path(name).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (OSError, ValueError):
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return digest.hexdigest()


def get_lora_weights_hash(dit_handler: object) -> str:
    """A hash of the loaded adapters, of which there are none."""
    return ""


def _format(name: str) -> Format:
    kind = str(name).strip().lower()
    if kind not in FORMATS:
        raise InvalidRequest("format", name, "one of " + ", ".join(FORMATS))
    return kind


def _kilobits(bitrate: str) -> int:
    allowed = AudioSaver.MP3_ALLOWED_BITRATES
    text = str(bitrate).strip().lower()
    text = text if text.endswith("k") else f"{text}k"
    if text not in allowed:
        raise InvalidRequest("mp3_bitrate", bitrate, "one of " + ", ".join(sorted(allowed)))
    return int(text[:-1])


def _tensor(sound: Sound, channels_first: bool = True) -> Tensor:
    """Float32 [channels, samples] on the host."""
    import torch

    samples = torch.as_tensor(sound).detach().cpu().float()
    samples = samples.unsqueeze(0) if samples.ndim == 1 else samples
    if not channels_first and samples.ndim == 2:
        samples = samples.t()
    return samples.contiguous()


def _like(sound: Sound, audio: Audio) -> Sound:
    """Samples converted back to the type of object they were passed as."""
    from torch import Tensor

    samples = audio.samples.reshape(sound.shape)
    return samples if isinstance(sound, Tensor) else samples.numpy()
