"""Read the sizes of an Oobleck VAE and derive strides, widths and halos from them. No torch.

Oobleck is the convolutional autoencoder of Stable Audio (Evans et al., 2024): five strided blocks
of three dilated residual units each, Snake activations, no attention, so it can be tiled in time.
Reads the `AutoencoderOobleck` format of config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from headroom.nn.config_fields import LARGEST, ConfigFields, read_config

DILATIONS = (1, 3, 9)  # of the three residual units of a block
KERNEL = 7  # of a residual unit's first convolution
DEEP_BLOCKS = 2  # decoder blocks with large weights and few rows; the others are cut finer
WIDEST = 1 << 14  # channels of any layer
_UNIT_REACH = KERNEL // 2 * sum(DILATIONS)


def spread(length: int, core: int, halo: int) -> int:
    """The least core, at most `core`, with which the same number of windows covers `length`.

    The windows at both ends keep one halo more than the others.
    """
    inner = length - 2 * halo
    if inner <= core:
        return core
    count = -(-inner // core)
    return -(-inner // count)


@dataclass(frozen=True, slots=True)
class OobleckConfig:
    """Sizes from config.json. `ratios` and `multiples` run in the encoder's order."""

    encoder_width: int
    ratios: tuple[int, ...]
    multiples: tuple[int, ...]
    decoder_width: int
    latent_channels: int
    audio_channels: int
    sample_rate: int

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return prod(self.ratios)

    @property
    def encoder_widths(self) -> tuple[int, ...]:
        """Channels before the first block and after each."""
        return tuple(self.encoder_width * m for m in (1, *self.multiples))

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """Channels before the first block and after each."""
        return tuple(self.decoder_width * m for m in reversed((1, *self.multiples)))

    @property
    def strides(self) -> tuple[int, ...]:
        """Upsampling factors in the decoder's order."""
        return self.ratios[::-1]

    @property
    def deep_rate(self) -> int:
        """Rows per latent frame after the decoder's deep blocks."""
        return prod(self.strides[:DEEP_BLOCKS])

    @property
    def wide_halo(self) -> int:
        """Rows beyond its own that the decoder's wide blocks depend on, each side."""
        return self._reach(self.strides[DEEP_BLOCKS:])

    @property
    def decode_halo(self) -> int:
        """Latent frames beyond its own that a frame's samples depend on, each side; 9."""
        return self._reach(self.strides) + 3  # conv1

    @property
    def encode_halo(self) -> int:
        """Latent frames of samples beyond its own that a latent depends on, each side; 7."""
        reach = 1  # conv2
        for stride in reversed(self.ratios):
            reach = reach * stride + stride // 2 + _UNIT_REACH
        return -(-(reach + 3) // self.hop)  # conv1

    @staticmethod
    def _reach(strides: tuple[int, ...]) -> int:
        """Reach of an output through conv2 and blocks of these strides, in rows of their input."""
        reach = 3  # conv2
        for stride in reversed(strides):
            reach = 1 + -(-(reach + _UNIT_REACH - stride // 2) // stride)
        return reach

    @classmethod
    def read(cls, folder: Path) -> OobleckConfig:
        """From config.json of a VAE folder; raises InvalidCheckpoint if it is missing or wrong."""
        return cls.parse(read_config(folder), folder)

    @classmethod
    def parse(cls, raw: Mapping[str, object], where: str | Path = "config.json") -> OobleckConfig:
        """From the fields of config.json; raises InvalidCheckpoint that names every wrong field."""
        fields = ConfigFields(raw, where)
        config = cls(
            encoder_width=fields.size("encoder_hidden_size", most=WIDEST),
            ratios=fields.sizes("downsampling_ratios", most=64),
            multiples=fields.sizes("channel_multiples", most=1024),
            decoder_width=fields.size("decoder_channels", most=WIDEST),
            latent_channels=fields.size("decoder_input_channels", most=WIDEST),
            audio_channels=fields.size("audio_channels", most=16),
            sample_rate=fields.size("sampling_rate", most=768_000),
        )
        fields.check()
        if len(config.ratios) != len(config.multiples):
            fields.fault("downsampling_ratios and channel_multiples differ in length")
        if any(ratio % 2 for ratio in config.ratios):
            fields.fault(f"downsampling_ratios {config.ratios} must be even")
        if config.hop > LARGEST:
            fields.fault(f"downsampling_ratios are {config.hop} samples a frame; up to {LARGEST}")
        if config.encoder_width != 2 * config.latent_channels:
            fields.fault(
                f"encoder_hidden_size is {config.encoder_width}; mean and scale of "
                f"{config.latent_channels} latent channels need {2 * config.latent_channels}"
            )
        fields.check()
        return config
