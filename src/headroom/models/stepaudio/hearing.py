"""A recording as codes, voice and spectrogram: all that speaking needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.errors import InvalidSource
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import LONGEST, SHORTEST, SemanticTokenizer
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.vocoder_source import RATE as SOUND_RATE
from headroom.models.stepaudio.sound.levels import RATE, capped, normalised, trimmed
from headroom.models.stepaudio.sound.rates import resampled
from headroom.models.stepaudio.sound.spectra import (
    filter_bank,
    prompt_spectrogram,
    speech_spectrogram,
)
from headroom.models.stepaudio.text.audio_ids import Codes

FULL_SCALE = 32_768  # of the samples that the network of linguistic codes was trained with
QUIET = 1e-4  # a recording whose peak is below this is silent


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording, on the host.

    codes  its audio codes
    mel    its spectrogram [frames, 80], at 50 Hz
    voice  of the speaker [192]
    """

    codes: Codes
    mel: Tensor
    voice: Tensor


def mono(audio: Audio, field: str, path: str) -> Tensor:
    """The samples of a recording in one channel, its peak capped. Raises InvalidSource for
    silence."""
    samples = audio.samples.float().mean(0)
    if float(samples.abs().max()) < QUIET:
        raise InvalidSource(field, path, "is silent", "a recording of speech")
    return capped(samples)


def hear(
    samples: Tensor,
    rate: int,
    networks: tuple[LinguisticTokenizer, SemanticTokenizer, SpeakerNetwork],
    device: torch.device,
) -> Heard:
    """Samples [n] on the host, prepared by `mono` → what they are heard as."""
    linguistic, semantic, speaker = networks
    at_16k = resampled(samples, rate, RATE)
    bank = filter_bank(at_16k, "povey")
    voice = speaker((bank - bank.mean(0)).to(device)).cpu()
    sound = trimmed(normalised(at_16k))
    codes = codes_heard(sound, linguistic, semantic, device)
    return Heard(codes, prompt_spectrogram(resampled(samples, rate, SOUND_RATE)), voice)


def codes_heard(
    sound: Tensor,
    linguistic: LinguisticTokenizer,
    semantic: SemanticTokenizer,
    device: torch.device,
) -> Codes:
    """The codes of samples [n] at 16 kHz on the host."""
    return Codes(
        tuple(_linguistic(sound, linguistic, device)), tuple(_semantic(sound, semantic, device))
    )


def _linguistic(sound: Tensor, network: LinguisticTokenizer, device: torch.device) -> list[int]:
    bank = filter_bank(sound * FULL_SCALE, "hamming")
    codes: list[int] = network(bank.to(device), sound.shape[0]).cpu().tolist()
    return codes


def _semantic(sound: Tensor, network: SemanticTokenizer, device: torch.device) -> list[int]:
    codes: list[int] = []
    for piece in sound.split(LONGEST):
        if piece.shape[0] >= SHORTEST:
            codes += network(speech_spectrogram(piece).to(device)).cpu().tolist()
    return codes
