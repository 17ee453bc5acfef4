"""The pitch of a spectrogram, and the sound that the vocoder shapes: harmonics and noise.

Source: neural source-filter models (Wang et al., 2019), as CosyVoice 2 publishes them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import VocoderSizes

RATE = 24_000
LEVEL, NOISE = 0.1, 0.003  # of harmonics, and of the noise in voiced frames
VOICED_HZ = 10.0  # a lower pitch is none


class PitchNetwork(nn.Module):
    """A spectrogram to the pitch of each frame. Keys: condnet.0, .2, .4, .6, .8, classifier."""

    def __init__(self, sizes: VocoderSizes) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(5):
            inputs = sizes.pitch_width if number else sizes.mel
            layers += [nn.Conv1d(inputs, sizes.pitch_width, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(sizes.pitch_width, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """A spectrogram [mel, T] → pitch [T] in Hz."""
        y: Tensor = self.classifier(self.condnet(mel[None])[0].t()).squeeze(-1)
        return y.abs_()


class HarmonicSource(nn.Module):
    """Pitch to sound. Key: l_linear."""

    def __init__(self, sizes: VocoderSizes) -> None:
        super().__init__()
        self.frame = sizes.frame
        self.l_linear = nn.Linear(sizes.harmonics, 1)

    def forward(self, pitch: Tensor, noise: Tensor) -> Tensor:
        """Pitch [T] in Hz and normal noise [T · frame, harmonics] → samples [T · frame].

        The harmonics share one phase at the start: the published program draws phases for the
        overtones, but adds them to a sample that its interpolation never reads.
        """
        voiced = (pitch > VOICED_HZ).to(pitch.dtype).repeat_interleave(self.frame)[:, None]
        order = torch.arange(1, noise.shape[1] + 1, dtype=pitch.dtype, device=pitch.device)
        turns = self._turns(pitch[:, None] * order / RATE % 1)
        waves = LEVEL * torch.sin(2 * math.pi * turns)
        level = voiced * NOISE + (1 - voiced) * (LEVEL / 3)
        y: Tensor = self.l_linear(waves * voiced + level * noise)
        return y.squeeze(-1).tanh_()

    def _turns(self, rates: Tensor) -> Tensor:
        """Turns per sample in each frame [T, n] → the phase of every sample in turns, [T · frame,
        n]: summed from frame to frame, and in a straight line between their middles."""
        # Whole turns are dropped as they are summed, so that long sounds keep their precision.
        ends = (rates * self.frame % 1).cumsum(0) % 1
        slope = rates[1:] * self.frame
        place = torch.arange(rates.shape[0] * self.frame, device=rates.device)
        middle = (place.to(rates.dtype) + 0.5) / self.frame - 0.5
        middle = middle.clamp_(0, rates.shape[0] - 1)
        before = middle.floor()
        at = before.long()
        slope = F.pad(slope, (0, 0, 0, 1))  # behind the last middle nothing changes
        return ends[at] + (middle - before)[:, None] * slope[at]
