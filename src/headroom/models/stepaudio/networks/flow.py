"""From codes to a mel spectrogram: flow matching (Lipman et al., 2023) from a fixed noise.

The codes and the spectrogram of the prompt stand in front of those to be made, so that the new part
continues it; the prompt's part of the result is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.diffusion.noise import draw_noise
from headroom.models.stepaudio.networks.flow_dit import FlowDiT
from headroom.models.stepaudio.networks.flow_encoder import UP, FlowEncoder
from headroom.models.stepaudio.networks.shapes import STEPS, FlowSizes

GUIDANCE = 0.7  # v = 1.7 · conditional − 0.7 · unconditional
NOISE_SEED = 0
"""Of the noise that every flow starts from. The published weights were made with a table that each
process drew anew, so any table is as good; a fixed one gives equal sound for equal codes."""
MOST_FRAMES = 30_000  # of prompt and result: 600 s


class Flow(nn.Module):
    """Keys: input_embedding.embedding, spk_embed_affine_layer, encoder, encoder_proj,
    decoder.estimator."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.input_embedding = nn.ModuleDict(
            {"embedding": nn.Embedding(sizes.rows, sizes.width // 2)}
        )
        self.spk_embed_affine_layer = nn.Linear(sizes.voice, sizes.mel)
        self.encoder = FlowEncoder(sizes)
        self.encoder_proj = nn.Linear(sizes.width, sizes.mel)
        self.decoder = nn.ModuleDict({"estimator": FlowDiT(sizes)})

    def forward(
        self,
        pairs: Tensor,
        prompt_mel: Tensor,
        voice: Tensor,
        noise: Tensor,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        """The spectrogram of codes after a prompt.

        pairs       rows of the table [P, 2], the prompt's first
        prompt_mel  of the prompt [M, mel], M = 2 · the prompt's pairs (see `fitted`)
        voice       of the speaker [voice]
        noise       to start from [2 P, mel] (see `flow_noise`)

        Returns [2 P − M, mel]. `progress(done, total)` is called after every step, and may raise.
        """
        constant = torch.stack((self.given(pairs, prompt_mel, voice),) * 2)
        constant[1] = 0  # without guidance by anything
        estimator = self.decoder["estimator"]
        x, times = noise, flow_times()
        for step in range(STEPS):
            t = torch.full((1,), times[step], dtype=x.dtype, device=x.device)
            state = torch.cat((x.expand(2, -1, -1), constant), -1)
            guided, free = estimator(state, t)
            velocity = torch.lerp(free, guided, 1 + GUIDANCE)
            x = x + (times[step + 1] - times[step]) * velocity
            progress(step + 1, STEPS)
        return x[prompt_mel.shape[0] :]

    def given(self, pairs: Tensor, prompt_mel: Tensor, voice: Tensor) -> Tensor:
        """What every step gets besides the state: encoding, voice, condition; [2 P, 3 · mel]."""
        table = self.input_embedding["embedding"]
        hidden = self.encoder_proj(self.encoder(table(pairs).flatten(1)))
        speaker = self.spk_embed_affine_layer(F.normalize(voice, dim=0))
        condition = torch.zeros_like(hidden)
        condition[: prompt_mel.shape[0]] = prompt_mel
        return torch.cat((hidden, speaker.expand_as(hidden), condition), -1)


def flow_times() -> tuple[float, ...]:
    """The times 0 … 1 between which steps are made: 1 − cos(k / 10 · π / 2)."""
    return tuple(1 - math.cos(k / STEPS * math.pi / 2) for k in range(STEPS + 1))


def flow_noise(frames: int, mel: int) -> Tensor:
    """The start of the fixed noise, [frames, mel], on the host; a longer one begins with it."""
    return draw_noise([NOISE_SEED], [frames], mel)[0]


def fitted(mel: Tensor, pairs: int) -> Tensor:
    """A prompt's spectrogram [M, mel] at the rate of its codes, [2 · pairs, mel]: the nearest frame
    before each place."""
    frames = UP * pairs
    at = torch.arange(frames, device=mel.device) * mel.shape[0] // frames
    return mel[at]
