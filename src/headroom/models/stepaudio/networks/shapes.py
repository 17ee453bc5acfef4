"""Sizes of the smaller networks, read from the shapes of their tensors. No torch.

Their files come without a config that can be read without running something. What a shape does not
tell is a constant of the published design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from headroom.errors import InvalidCheckpoint

STACK = 7  # frames of filter banks in a row of the linguistic tokenizer
STEPS = 10  # of the flow
_LARGEST = 1 << 17
_MOST_LAYERS = 512


class Shapes:
    """The shapes of a file's tensors by name; asking for an absent one is a fault of the file."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], folder: str | Path = "") -> None:
        self._shapes, self._folder = shapes, folder

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def size(self, name: str, axis: int) -> int:
        """One dimension of a tensor, from 1 to 131072. Raises InvalidCheckpoint."""
        shape = self._shapes.get(name)
        if shape is None:
            raise self.fault(f"{name}: missing")
        if not -len(shape) <= axis < len(shape) or not 1 <= shape[axis] <= _LARGEST:
            raise self.fault(f"{name}: has the impossible shape {list(shape)}")
        return shape[axis]

    def count(self, pattern: str) -> int:
        """How many tensors there are whose name is the pattern with 0, 1, 2 … for `{}`."""
        number = 0
        while pattern.format(number) in self._shapes and number < _MOST_LAYERS:
            number += 1
        if number == 0:
            raise self.fault(f"{pattern.format(0)}: missing")
        return number

    def fault(self, what: str) -> InvalidCheckpoint:
        return InvalidCheckpoint(self._folder, [what])

    def divided(self, what: str, number: int, by: int) -> int:
        """number / by. Raises InvalidCheckpoint if it is no whole number."""
        if number % by:
            raise self.fault(f"{what} is {number}; a multiple of {by} is needed")
        return number // by


@dataclass(frozen=True, slots=True)
class LinguisticSizes:
    """Of the network of linguistic codes. Heads are 128 wide."""

    inputs: int
    width: int
    heads: int
    hidden: int
    layers: int
    memory: int
    codes: int


def linguistic_sizes(shapes: Shapes) -> LinguisticSizes:
    """From `encoder.…` and `codebook`. Raises InvalidCheckpoint."""
    first = "encoder.encoders0.0."
    width = shapes.size(first + "self_attn.linear_out.weight", 0)
    return LinguisticSizes(
        inputs=shapes.size(first + "norm1.weight", 0),
        width=width,
        heads=max(1, width // 128),
        hidden=shapes.size(first + "feed_forward.w_1.weight", 0),
        layers=1 + shapes.count("encoder.encoders.{}.norm1.weight"),
        memory=shapes.size(first + "self_attn.fsmn_block.weight", 2),
        codes=shapes.size("codebook", 0),
    )


@dataclass(frozen=True, slots=True)
class SemanticSizes:
    """Of the network of semantic codes. Heads are 64 wide."""

    bands: int
    width: int
    heads: int
    hidden: int
    layers: int
    positions: int
    codes: int


def semantic_sizes(shapes: Shapes) -> SemanticSizes:
    """Raises InvalidCheckpoint."""
    width = shapes.size("conv1.weight", 0)
    return SemanticSizes(
        bands=shapes.size("conv1.weight", 1),
        width=width,
        heads=max(1, width // 64),
        hidden=shapes.size("blocks.0.mlp.0.weight", 0),
        layers=shapes.count("blocks.{}.attn_ln.weight"),
        positions=shapes.size("positional_embedding", 0),
        codes=shapes.size("codebook", 0),
    )


@dataclass(frozen=True, slots=True)
class SpeakerSizes:
    """Of the network of voices. `blocks`: layers of each dense block."""

    channels: int
    first: int
    growth: int
    bottleneck: int
    blocks: tuple[int, ...]
    outputs: int


def speaker_sizes(shapes: Shapes) -> SpeakerSizes:
    """Raises InvalidCheckpoint."""
    blocks = shapes.count("blocks.{}.0.local.weight")
    return SpeakerSizes(
        channels=shapes.size("head.conv1.weight", 0),
        first=shapes.size("tdnn.weight", 0),
        growth=shapes.size("blocks.0.0.local.weight", 0),
        bottleneck=shapes.size("blocks.0.0.local.weight", 1),
        blocks=tuple(shapes.count(f"blocks.{b}.{{}}.local.weight") for b in range(blocks)),
        outputs=shapes.size("dense.weight", 0),
    )


@dataclass(frozen=True, slots=True)
class FlowSizes:
    """Of the flow: its encoder, and the network that is integrated."""

    rows: int
    width: int
    voice: int
    mel: int
    heads: int
    hidden: int
    layers: int
    up_layers: int
    ahead: int
    dit_width: int
    dit_heads: int
    dit_head_dim: int
    dit_hidden: int
    blocks: int
    frequencies: int


def flow_sizes(shapes: Shapes) -> FlowSizes:
    """Raises InvalidCheckpoint."""
    width = shapes.size("encoder.embed.out.0.weight", 0)
    dit, layer = "decoder.estimator.", "encoder.encoders.0."
    inner = shapes.size(dit + "blocks.0.attn.to_q.weight", 0)
    head_dim = shapes.size(dit + "blocks.0.attn.q_norm.weight", 0)
    return FlowSizes(
        rows=shapes.size("input_embedding.embedding.weight", 0),
        width=width,
        voice=shapes.size("spk_embed_affine_layer.weight", 1),
        mel=shapes.size("encoder_proj.weight", 0),
        heads=shapes.size(layer + "self_attn.pos_bias_u", 0),
        hidden=shapes.size(layer + "feed_forward.w_1.weight", 0),
        layers=shapes.count("encoder.encoders.{}.norm_mha.weight"),
        up_layers=shapes.count("encoder.up_encoders.{}.norm_mha.weight"),
        ahead=shapes.size("encoder.pre_lookahead_layer.conv1.weight", 2) - 1,
        dit_width=shapes.size(dit + "in_proj.weight", 0),
        dit_heads=shapes.divided("attn.to_q", inner, head_dim),
        dit_head_dim=head_dim,
        dit_hidden=shapes.size(dit + "blocks.0.mlp.fc1.weight", 0),
        blocks=shapes.count(dit + "blocks.{}.attn.to_q.weight"),
        frequencies=shapes.size(dit + "t_embedder.mlp.0.weight", 1),
    )


@dataclass(frozen=True, slots=True)
class VocoderSizes:
    """Of the vocoder.

    up          samples that come out of each stage for one
    kernels     of the transposed convolutions; `side` of the residual blocks of a stage, in order
    source_side of the residual blocks of the source
    dilations   in a residual block
    fft         of the transform that its sound is made with; a quarter of it is the hop
    """

    mel: int
    width: int
    up: tuple[int, ...]
    kernels: tuple[int, ...]
    side: tuple[int, ...]
    source_side: tuple[int, ...]
    dilations: tuple[int, ...]
    fft: int
    harmonics: int
    pitch_width: int

    @property
    def hop(self) -> int:
        """Samples between two frames of the transform."""
        return self.fft // 4

    @property
    def frame(self) -> int:
        """Samples of a frame of the spectrogram."""
        return prod(self.up) * self.hop

    def channels(self, stage: int) -> int:
        """After a stage, counted from 0; before all of them for −1."""
        return self.width >> (stage + 1)


def vocoder_sizes(shapes: Shapes) -> VocoderSizes:
    """From tensors with folded weight norm. Raises InvalidCheckpoint."""
    stages = shapes.count("ups.{}.weight")
    kernels = tuple(shapes.size(f"ups.{i}.weight", 2) for i in range(stages))
    side = shapes.divided("resblocks", shapes.count("resblocks.{}.convs1.0.weight"), stages)
    dilations = shapes.count("resblocks.0.convs1.{}.weight")
    sizes = VocoderSizes(
        mel=shapes.size("conv_pre.weight", 1),
        width=shapes.size("conv_pre.weight", 0),
        up=tuple(max(1, kernel // 2) for kernel in kernels),
        kernels=kernels,
        side=tuple(shapes.size(f"resblocks.{j}.convs1.0.weight", 2) for j in range(side)),
        source_side=tuple(
            shapes.size(f"source_resblocks.{i}.convs1.0.weight", 2) for i in range(stages)
        ),
        dilations=tuple(2 * k + 1 for k in range(dilations)),
        fft=shapes.size("conv_post.weight", 0) - 2,
        harmonics=shapes.size("m_source.l_linear.weight", 1),
        pitch_width=shapes.size("f0_predictor.condnet.0.weight", 0),
    )
    if sizes.fft < 4 or sizes.fft % 4:
        raise shapes.fault(f"conv_post has {sizes.fft + 2} channels; 4 k + 2 are needed")
    if sizes.width % (1 << stages):
        raise shapes.fault(f"conv_pre has {sizes.width} channels; a multiple of {1 << stages}")
    return sizes


LINGUISTIC = LinguisticSizes(560, 512, 4, 2048, 50, 11, 1024)
SEMANTIC = SemanticSizes(128, 1280, 20, 5120, 6, 1500, 4096)
SPEAKER = SpeakerSizes(32, 128, 32, 128, (12, 24, 16), 192)
FLOW = FlowSizes(5121, 512, 192, 80, 8, 2048, 6, 4, 3, 512, 8, 64, 2048, 16, 256)
VOCODER = VocoderSizes(
    80, 512, (8, 5, 3), (16, 11, 7), (3, 7, 11), (7, 7, 11), (1, 3, 5), 16, 9, 512
)
