"""Weights of the networks, from their sizes alone. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.hardware.machine import DType
from headroom.memory.footprint import Component, Form
from headroom.memory.precision import PRECISIONS, matrix_bytes
from headroom.models.stepaudio.layout import (
    FLOW,
    LANGUAGE,
    LINGUISTIC,
    SEMANTIC,
    VOCODER,
    VOICE,
)
from headroom.models.stepaudio.networks import shapes as sizes
from headroom.models.stepaudio.networks.config import RELEASED as STEP1
from headroom.models.stepaudio.networks.config import Step1Sizes
from headroom.models.stepaudio.networks.shapes import (
    FlowSizes,
    LinguisticSizes,
    SemanticSizes,
    SpeakerSizes,
    VocoderSizes,
)
from headroom.models.stepaudio.sound.bands import BANDS

SMALL: DType = "float32"  # of all networks but the language model: they are small, and exact codes
FLOAT = 4  # bytes
LANGUAGE_PRECISIONS = ("int8", "fp8")
"""Precisions the language model can be converted to; with fewer bits audio codes break."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The sizes of all networks of a model."""

    language: Step1Sizes = STEP1
    linguistic: LinguisticSizes = sizes.LINGUISTIC
    semantic: SemanticSizes = sizes.SEMANTIC
    voice: SpeakerSizes = sizes.SPEAKER
    flow: FlowSizes = sizes.FLOW
    vocoder: VocoderSizes = sizes.VOCODER


RELEASED = Networks()


def components(networks: Networks, dtype: str) -> tuple[Component, ...]:
    """Every network. `dtype` is that of the language model."""
    small = (
        (LINGUISTIC, linguistic_weights(networks.linguistic)),
        (SEMANTIC, semantic_weights(networks.semantic)),
        (VOICE, voice_weights(networks.voice)),
        (FLOW, flow_weights(networks.flow)),
        (VOCODER, vocoder_weights(networks.vocoder)),
    )
    parts = (Component(name, (), FLOAT * count, streams=False) for name, count in small)
    return (*parts, language_component(networks.language, dtype))


def language_component(s: Step1Sizes, dtype: str) -> Component:
    """The language model in its own precision, and in those that do not break the codes.

    Its weights are never streamed: each token would wait for all of them.
    """
    size = PRECISIONS[dtype].bits // 8
    matrices = layer_matrices(s)
    rest = s.width * (2 * s.vocabulary + 1) + 2 * s.layers * s.width
    others = []
    for precision in LANGUAGE_PRECISIONS:
        stored = [matrix_bytes(rows, columns, precision, size) for rows, columns in matrices]
        blocks = (sum(a for a, _ in stored),) * s.layers
        scales = s.layers * sum(b for _, b in stored)
        others.append(Form(precision, blocks, rest * size + scales))
    blocks = (sum(rows * columns for rows, columns in matrices) * size,) * s.layers
    return Component(LANGUAGE, blocks, rest * size, dtype, tuple(others), core=True, streams=False)


def layer_matrices(s: Step1Sizes) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the matrices of a layer of the language model."""
    narrow = s.kv_heads * s.head_dim
    attention = ((s.width, s.width), (narrow, s.width), (narrow, s.width), (s.width, s.width))
    return (*attention, (s.hidden, s.width), (s.hidden, s.width), (s.width, s.hidden))


def linguistic_weights(s: LinguisticSizes) -> int:
    """Of the encoder, the statistics of its input, and the means of the codes."""

    def layer(inputs: int) -> int:
        attention = 3 * s.width * (inputs + 1) + s.width * (s.width + 1) + s.width * s.memory
        forward = _affine(s.width, s.hidden) + _affine(s.hidden, s.width)
        return attention + forward + 2 * inputs + 2 * s.width

    encoder = layer(s.inputs) + (s.layers - 1) * layer(s.width) + 2 * s.width
    return encoder + 2 * s.inputs + s.codes * s.width


def semantic_weights(s: SemanticSizes) -> int:
    """Of the encoder and the codes."""
    block = 3 * _affine(s.width, s.width) + s.width * s.width
    block += _affine(s.width, s.hidden) + _affine(s.hidden, s.width) + 4 * s.width
    front = s.width * (3 * s.bands + 1) + s.width * (3 * s.width + 1)
    return front + s.layers * block + (s.positions + s.codes) * s.width


def voice_weights(s: SpeakerSizes) -> int:
    """With folded batch norms."""
    c = s.channels
    total = (9 * c + c) + (9 * c * c + c) + 8 * (9 * c * c + c) + 2 * (c * c + c)
    total += s.first * (c * BANDS // 8 * 5 + 1)
    width = s.first
    for number, count in enumerate(s.blocks):
        for i in range(count):
            inputs, half = width + i * s.growth, s.bottleneck // 2
            total += 2 * inputs + _affine(inputs, s.bottleneck) + 3 * s.bottleneck * s.growth
            total += _affine(s.bottleneck, half) + _affine(half, s.growth)
        width += count * s.growth
        total += 2 * width + width * (width // 2)
        total += width // 2 if number == len(s.blocks) - 1 else 0
        width //= 2
    return total + 2 * width * s.outputs + 2 * s.outputs


def flow_weights(s: FlowSizes) -> int:
    """Of the encoder and the network that is integrated."""
    w, d = s.width, s.dit_width
    layer = 4 * _affine(w, w) + w * w + 2 * w + _affine(w, s.hidden) + _affine(s.hidden, w) + 4 * w
    encoder = 2 * (_affine(w, w) + 2 * w) + 2 * w + (s.layers + s.up_layers) * layer
    encoder += w * (w * (s.ahead + 1) + 1) + w * (3 * w + 1) + w * (5 * w + 1)
    inner = s.dit_heads * s.dit_head_dim
    block = 3 * _affine(d, inner) + 4 * s.dit_head_dim + _affine(inner, d) + _affine(d, 9 * d)
    block += 2 * d * (3 * d + 1) + 2 * d + _affine(d, s.dit_hidden) + _affine(s.dit_hidden, d)
    dit = _affine(s.frequencies, d) + _affine(d, d) + _affine(4 * s.mel, d)
    dit += _affine(d, 2 * d) + _affine(d, s.mel) + s.blocks * block
    return s.rows * (w // 2) + _affine(s.voice, s.mel) + encoder + _affine(w, s.mel) + dit


def vocoder_weights(s: VocoderSizes) -> int:
    """With folded weight norms."""
    total = s.width * (7 * s.mel + 1) + (s.fft + 2) * (7 * s.channels(len(s.up) - 1) + 1)
    down = 1
    for stage in reversed(range(len(s.up))):
        before, after = s.channels(stage - 1), s.channels(stage)
        total += before * after * s.kernels[stage] + after
        total += after * ((s.fft + 2) * (2 * down if down > 1 else 1) + 1)
        for side in (*s.side, s.source_side[stage]):
            total += 2 * len(s.dilations) * (after * (after * side + 1) + after)
        down *= s.up[stage]
    p = s.pitch_width
    pitch = p * (3 * s.mel + 1) + 4 * p * (3 * p + 1) + p + 1
    return total + pitch + s.harmonics + 1


def _affine(inputs: int, outputs: int) -> int:
    """A matrix and its bias."""
    return outputs * (inputs + 1)
