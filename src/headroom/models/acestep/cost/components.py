"""The weights of ACE-Step's networks in bytes, computed from sizes alone. No torch.

The figures are exact: a test compares them with the real modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headroom.memory.footprint import Component, Form
from headroom.memory.precision import CONVERTED, PRECISIONS, matrix_bytes
from headroom.models.acestep.networks.component_names import (
    CODES,
    CONDITIONER,
    DIT,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.networks.config import AceStepConfig, BlockSizes, TextEncoderConfig
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.song.song import Song
from headroom.nn.oobleck_layout import KERNEL, OobleckConfig

TIME_FEATURES = 256


@dataclass(frozen=True, slots=True)
class Networks:
    """The sizes of all networks of a model, and the data type they compute in."""

    config: AceStepConfig
    text_encoder: TextEncoderConfig
    vae: OobleckConfig
    dtype: str

    @property
    def size(self) -> int:
        """Bytes per value."""
        return PRECISIONS[self.dtype].bits // 8


def layer_matrices(s: BlockSizes) -> int:
    """Parameters in the matrices of one encoder layer: attention and MLP."""
    return 2 * s.width * s.head_dim * (s.heads + s.kv_heads) + 3 * s.width * s.hidden


def layer_vectors(s: BlockSizes) -> int:
    """All other parameters of it: two head norms, two norms."""
    return 2 * s.head_dim + 2 * s.width


def layer_weights(s: BlockSizes) -> int:
    """All parameters of one encoder layer."""
    return layer_matrices(s) + layer_vectors(s)


def dit_matrices(s: BlockSizes) -> int:
    """Parameters in the matrices of one DiT block."""
    return 4 * s.width * s.head_dim * (s.heads + s.kv_heads) + 3 * s.width * s.hidden


def dit_vectors(s: BlockSizes) -> int:
    """All other parameters of it: four head norms, three norms, and six modulation vectors."""
    return 4 * s.head_dim + (3 + 6) * s.width


def components(songs: Sequence[Song], networks: Networks) -> tuple[Component, ...]:
    """Every network that the songs use."""
    config, text, size = networks.config, networks.text_encoder, networks.size
    e, d = config.encoder, config.dit

    def component(name: str, blocks: Sequence[int], rest: int) -> Component:
        others = _converted(d, len(blocks), rest, networks) if name == DIT else ()
        whole = tuple(b * size for b in blocks)
        return Component(name, whole, rest * size, networks.dtype, others, core=name == DIT)

    # A block is its matrices, which are what may pass through; its vectors are among the rest.
    def stack(layers: int) -> list[int]:
        return [layer_matrices(e)] * layers

    lyric_rest = e.width * config.text_width + 2 * e.width
    timbre_rest = e.width * (config.latent_channels + 2 + config.timbre_cls)
    levels = len(config.levels)
    patch_in = d.width * (config.in_channels * config.patch + 1)
    patch_out = config.latent_channels * (d.width * config.patch + 1)
    result = [
        component(
            TEXT_ENCODER,
            [layer_matrices(text.sizes)] * text.layers,
            text.sizes.width * (text.vocabulary + 1) + text.layers * layer_vectors(text.sizes),
        ),
        component(
            CONDITIONER,
            stack(config.lyric_layers + config.timbre_layers),
            lyric_rest
            + timbre_rest
            + e.width * config.text_width
            + e.width
            + (config.lyric_layers + config.timbre_layers) * layer_vectors(e),
        ),
        component(TIME, (), 2 * (d.width * (TIME_FEATURES + 7 * d.width) + 8 * d.width)),
        component(
            DIT,
            [dit_matrices(d)] * config.dit_layers,
            patch_in
            + patch_out
            + d.width * (e.width + 1)
            + 3 * d.width
            + config.dit_layers * dit_vectors(d),
        ),
        component(VAE_DECODER, (), decoder_weights(networks.vae)),
    ]
    if any(song.channels is SourceChannels.HINTS for song in songs):
        tokenizer = e.width * (config.latent_channels + 1 + e.width + 3)
        quantizer = 2 * e.width * levels + levels + e.width
        detokenizer = e.width * (e.width + 2 + config.pool)
        detokenizer += config.latent_channels * (e.width + 1)
        result.append(
            component(
                CODES,
                (),
                tokenizer + quantizer + detokenizer + 2 * config.pooler_layers * layer_weights(e),
            )
        )
    if has_sounds(songs):
        result.append(component(VAE_ENCODER, (), encoder_weights(networks.vae)))
    return tuple(result)


Shapes: TypeAlias = tuple[tuple[int, int], ...]


def attention_shapes(s: BlockSizes) -> Shapes:
    """Rows and columns of the four matrices of one attention."""
    wide, narrow = s.heads * s.head_dim, s.kv_heads * s.head_dim
    return (wide, s.width), (narrow, s.width), (narrow, s.width), (s.width, wide)


def mlp_shapes(s: BlockSizes) -> Shapes:
    """Rows and columns of the three matrices of one MLP."""
    return (s.hidden, s.width), (s.hidden, s.width), (s.width, s.hidden)


def _converted(s: BlockSizes, blocks: int, rest: int, networks: Networks) -> tuple[Form, ...]:
    """The DiT in each precision that its matrices can be converted to."""
    attention, mlp = attention_shapes(s), mlp_shapes(s)
    forms = []
    for precision in CONVERTED:
        sizes = [
            matrix_bytes(rows, columns, precision, networks.size)
            for rows, columns in (*attention, *attention, *mlp)
        ]
        stored, scales = sum(a for a, _ in sizes), sum(b for _, b in sizes)
        grouped = PRECISIONS[precision].group is not None  # matrix-shaped scales pass through
        passing, staying = (stored + scales, 0) if grouped else (stored, scales)
        rest_bytes = rest * networks.size + blocks * staying
        forms.append(Form(precision, (passing,) * blocks, rest_bytes))
    return tuple(forms)


def decoder_weights(vae: OobleckConfig) -> int:
    """Parameters of the decoder with folded weight norm."""
    widths = vae.decoder_widths
    total = widths[0] * (vae.latent_channels * KERNEL + 1)
    for i, stride in enumerate(vae.strides):
        total += 2 * widths[i] + widths[i + 1] * (widths[i] * 2 * stride + 1)
        total += _units(widths[i + 1])
    return total + 2 * widths[-1] + vae.audio_channels * widths[-1] * KERNEL


def encoder_weights(vae: OobleckConfig) -> int:
    """Parameters of the encoder with folded weight norm."""
    widths = vae.encoder_widths
    total = widths[0] * (vae.audio_channels * KERNEL + 1)
    for i, stride in enumerate(vae.ratios):
        total += _units(widths[i]) + 2 * widths[i]
        total += widths[i + 1] * (widths[i] * 2 * stride + 1)
    return total + 2 * widths[-1] + vae.encoder_width * (widths[-1] * 3 + 1)


def _units(width: int) -> int:
    """Parameters of three residual units: two Snakes, a convolution of 7, one of 1."""
    return 3 * (4 * width + width * (width * KERNEL + 1) + width * (width + 1))


def has_sounds(songs: Sequence[Song]) -> bool:
    """Whether any recording has to be encoded."""
    return any(song.source is not None or song.references for song in songs)
