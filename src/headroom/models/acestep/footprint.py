"""What rendering songs takes, in bytes, from sizes alone: components and stages. No torch.

Weights are exact (a test counts the modules against them). Workspaces are upper estimates of the
widest moment of a stage, in terms of the tensors that are alive then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.models.acestep.config import AceStepConfig, BlockSizes, TextEncoderConfig
from headroom.models.acestep.parts import (
    CODES,
    CONDITIONER,
    DIT,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.prompts import CAPTION_TOKENS, LYRIC_TOKENS
from headroom.models.acestep.song import Song, same_condition
from headroom.models.acestep.tasks import SourceChannels
from headroom.nn.oobleck_layout import KERNEL, OobleckConfig

TIME_FEATURES = 256
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
DECODE_TILES = (256, 128, 64, 32)  # latent frames, the fastest first
ENCODE_TILE = 64  # latent frames of a recording encoded at once
_PROMPT_TOKENS = 96  # what the templates add to a person's words, at most
_STATES = 12  # latents at once: noise, source, mask, velocities, what rules remember
_DECODE_ALIVE, _ENCODE_ALIVE = 5, 5  # activations of the widest rate that live at once


@dataclass(frozen=True, slots=True)
class Networks:
    """The sizes of all networks of a model, and the type they compute in."""

    config: AceStepConfig
    text_encoder: TextEncoderConfig
    vae: OobleckConfig
    dtype: str

    @property
    def size(self) -> int:
        """Bytes a value."""
        return DTYPE_BYTES[self.dtype]


def footprint(songs: Sequence[Song], networks: Networks) -> Footprint:
    """Components and stages of one pass over the songs."""
    return Footprint(components(songs, networks), stages(songs, networks))


# --- weights -----------------------------------------------------------------------------


def attention_weights(s: BlockSizes) -> int:
    """Parameters of one attention: four projections and two head norms."""
    return s.width * s.head_dim * 2 * (s.heads + s.kv_heads) + 2 * s.head_dim


def layer_weights(s: BlockSizes) -> int:
    """Parameters of one encoder layer."""
    return attention_weights(s) + 3 * s.width * s.hidden + 2 * s.width


def dit_layer_weights(s: BlockSizes) -> int:
    """Parameters of one DiT block."""
    return 2 * attention_weights(s) + 3 * s.width * s.hidden + (3 + 6) * s.width


def components(songs: Sequence[Song], networks: Networks) -> tuple[Component, ...]:
    """Every network the songs use."""
    config, text, size = networks.config, networks.text_encoder, networks.size
    e, d = config.encoder, config.dit

    def component(name: str, blocks: Sequence[int], rest: int) -> Component:
        return Component(name, tuple(b * size for b in blocks), rest * size, networks.dtype)

    def stack(layers: int) -> list[int]:
        return [layer_weights(e)] * layers

    lyric_rest = e.width * config.text_width + 2 * e.width
    timbre_rest = e.width * (config.latent_channels + 2 + config.timbre_cls)
    levels = len(config.levels)
    patch_in = d.width * (config.in_channels * config.patch + 1)
    patch_out = config.latent_channels * (d.width * config.patch + 1)
    found = [
        component(
            TEXT_ENCODER,
            [layer_weights(text.sizes)] * text.layers,
            text.sizes.width * (text.vocabulary + 1),
        ),
        component(
            CONDITIONER,
            stack(config.lyric_layers + config.timbre_layers),
            lyric_rest + timbre_rest + e.width * config.text_width + e.width,
        ),
        component(TIME, (), 2 * (d.width * (TIME_FEATURES + 7 * d.width) + 8 * d.width)),
        component(
            DIT,
            [dit_layer_weights(d)] * config.dit_layers,
            patch_in + patch_out + d.width * (e.width + 1) + 3 * d.width,
        ),
        component(VAE_DECODER, (), decoder_weights(networks.vae)),
    ]
    if any(song.channels is SourceChannels.HINTS for song in songs):
        tokenizer = e.width * (config.latent_channels + 1 + e.width + 3)
        quantizer = 2 * e.width * levels + levels + e.width
        detokenizer = e.width * (e.width + 2 + config.pool)
        detokenizer += config.latent_channels * (e.width + 1)
        found.append(
            component(CODES, stack(2 * config.pooler_layers), tokenizer + quantizer + detokenizer)
        )
    if _sounds(songs):
        found.append(component(VAE_ENCODER, (), encoder_weights(networks.vae)))
    return tuple(found)


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
    """Three residual units: two Snakes, a convolution of 7, one of 1."""
    return 3 * (4 * width + width * (width * KERNEL + 1) + width * (width + 1))


# --- workspaces --------------------------------------------------------------------------


def stages(songs: Sequence[Song], networks: Networks) -> tuple[Stage, ...]:
    """The stages `render` runs, in its order."""
    config, size = networks.config, networks.size
    e, d = config.encoder, config.dit
    longest, steps = max(song.frames for song in songs), songs[0].sampling.steps
    found: list[Stage] = []
    if _sounds(songs):
        found.append(Stage("encode", (VAE_ENCODER,), (Way(_encode(networks)),)))
    if any(song.channels is SourceChannels.HINTS for song in songs):
        # A row for each frame, one more for each code, and the groups before and after.
        rows = longest // config.pool * (config.pool + 1) + config.pool + 1
        room = rows * _stack_row(e) + longest * 4 * e.width
        found.append(Stage("codes", (CODES,), (Way(room * size),)))
    leaders = [song for song, before in zip(songs, (None, *songs), strict=False)
               if before is None or not same_condition(before, song)]  # fmt: skip
    heard = sum(condition_rows(s, config) + _timbre_rows(s, config) for s in leaders)
    found.append(
        Stage("condition", (TEXT_ENCODER, CONDITIONER), (Way(heard * _stack_row(e) * size),))
    )
    found.append(Stage("schedule", (TIME,), (Way(2 * (steps + 2) * 8 * d.width * size),)))
    rows = sum(condition_rows(song, config) for song in leaders)
    table = (steps + 1) * (config.dit_layers + 2) * 6 * d.width * size  # made in two steps
    latents = len(songs) * longest * config.latent_channels * 4
    work = max(_denoise(songs, config, rows, size), table) + table + _STATES * latents
    found.append(Stage("denoise", (DIT,), (Way(work),), passes=steps))
    found.append(
        Stage(
            "decode",
            (VAE_DECODER,),
            tuple(Way(_decode(networks, tile), tile=tile) for tile in DECODE_TILES),
        )
    )
    return tuple(found)


def condition_rows(song: Song, config: AceStepConfig) -> int:
    """Rows of a song's condition, at most: a token is at least a byte of the text it stands for."""
    asked = max(len(text.encode()) for text in (song.instruction, song.instruction_after or ""))
    caption = len(song.caption.encode()) + asked + _PROMPT_TOKENS
    lyrics = len(song.lyrics.encode()) + _PROMPT_TOKENS
    return min(caption, CAPTION_TOKENS) + min(lyrics, LYRIC_TOKENS) + max(1, len(song.references))


def _timbre_rows(song: Song, config: AceStepConfig) -> int:
    """Rows the timbre encoder reads, of which it keeps one a reference."""
    return max(1, len(song.references)) * (config.timbre_frames + config.timbre_cls)


def _stack_row(s: BlockSizes) -> int:
    """Values alive for one row in the widest moment of a layer, its MLP: the layer's input, the
    rows after attention, normed, and added to; gate, up, the activated gate, and the product."""
    return 4 * s.width + 4 * s.hidden


def _denoise(songs: Sequence[Song], config: AceStepConfig, rows: int, size: int) -> int:
    """Tokens at the MLP of one layer, context, window masks, keys and values of every layer."""
    d = config.dit
    lengths = [-(-song.frames // config.patch) for song in songs]
    tokens = sum(lengths)
    window = max((w for w in config.windows if w is not None), default=0)
    halves = 2 if any(songs[0].sampling.guided) else 1
    conditions = 1 if songs[0].instruction_after is None else 2
    cache = 2 * config.dit_layers * rows * d.kv_heads * d.head_dim
    return size * (
        tokens * halves * (_stack_row(d) + d.head_dim)
        + sum(length * min(length, 4 * window) for length in set(lengths))
        + conditions * (tokens * d.width + cache + rows * (config.encoder.width + d.width))
    )


def _decode(networks: Networks, tile: int) -> int:
    """A tile of the decoder at its widest rate."""
    vae = networks.vae
    widest = max(
        width * prod(vae.strides[: i + 1]) for i, width in enumerate(vae.decoder_widths[1:])
    )
    return _DECODE_ALIVE * (tile + 2 * vae.decode_halo) * widest * networks.size


def _encode(networks: Networks) -> int:
    """A tile of the encoder at its widest rate."""
    vae = networks.vae
    widest = max(width * prod(vae.ratios[i:]) for i, width in enumerate(vae.encoder_widths[:-1]))
    return _ENCODE_ALIVE * (ENCODE_TILE + 2 * vae.encode_halo) * widest * networks.size


def _sounds(songs: Sequence[Song]) -> bool:
    return any(song.source is not None or song.references for song in songs)
