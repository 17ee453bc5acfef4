"""Sizes of ACE-Step's networks, read from a checkpoint folder's config.json. No torch.

One rule tells the two families apart: a config with `encoder_hidden_size` is an XL one, whose
encoders keep width 2048 while the DiT is wider, and whose timbre encoder prepends a learned CLS
token that the 2B files carry but never use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom.models.acestep.text.codes_text import CODE_RATE, code_levels
from headroom.nn.config_fields import LAYERS, VOCABULARY, ConfigFields

LATENT_RATE = 25  # latent frames per second
CODE_FRAMES = LATENT_RATE // CODE_RATE  # latent frames per code
SAMPLE_RATE = 48_000
HOP = SAMPLE_RATE // LATENT_RATE  # samples per latent frame
SLIDING, FULL = "sliding_attention", "full_attention"  # in `layer_types`


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Sizes of one stack of transformer layers."""

    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    theta: float


@dataclass(frozen=True, slots=True)
class AceStepConfig:
    """Every number the networks of one DiT folder are built from."""

    dit: BlockSizes
    encoder: BlockSizes
    dit_layers: int
    lyric_layers: int
    timbre_layers: int
    pooler_layers: int
    windows: tuple[int | None, ...]
    in_channels: int
    latent_channels: int
    patch: int
    text_width: int
    timbre_frames: int
    pool: int
    levels: tuple[int, ...]
    timbre_cls: bool
    turbo: bool
    stems: bool
    version: str

    @property
    def context_channels(self) -> int:
        """Source and mask channels: the part of the input that is constant over the steps."""
        return self.in_channels - self.latent_channels

    def layer_windows(self, layers: int) -> tuple[int | None, ...]:
        """Attention windows of the first `layers` layers; every stack uses the same list from index
        0.
        """
        return tuple(self.windows[i % len(self.windows)] for i in range(layers))


@dataclass(frozen=True, slots=True)
class TextEncoderConfig:
    """Sizes of the Qwen3 text encoder."""

    sizes: BlockSizes
    layers: int
    vocabulary: int


def dit_config(raw: Mapping[str, object], folder: str | Path = "") -> AceStepConfig:
    """The sizes a DiT folder's config.json states. Fields that only training reads are ignored.

    Raises InvalidCheckpoint with every field that is missing or out of bounds.
    """
    fields = ConfigFields(raw, folder)
    dit = _blocks(fields, "")
    layers = fields.size("num_hidden_layers", most=LAYERS)
    latent = fields.size("audio_acoustic_hidden_dim", 64)
    config = AceStepConfig(
        dit=dit,
        encoder=_blocks(fields, "encoder_", dit),
        dit_layers=layers,
        lyric_layers=fields.size("num_lyric_encoder_hidden_layers", 8, most=LAYERS),
        timbre_layers=fields.size("num_timbre_encoder_hidden_layers", 4, most=LAYERS),
        pooler_layers=fields.size("num_attention_pooler_hidden_layers", 2, most=LAYERS),
        windows=_windows(fields, layers),
        in_channels=fields.size("in_channels", 3 * latent),
        latent_channels=latent,
        patch=fields.size("patch_size", 2, most=64),
        text_width=fields.size("text_hidden_dim", 1024),
        timbre_frames=fields.size("timbre_fix_frame", 750),
        pool=fields.size("pool_window_size", CODE_FRAMES, most=64),
        levels=code_levels(fields),
        timbre_cls="encoder_hidden_size" in fields,
        turbo=fields.flag("is_turbo", False),
        stems=fields.flag("is_lego_sft", False),
        version=fields.word("model_version"),
    )
    if config.in_channels != 3 * latent:
        fields.fault(
            f"in_channels is {config.in_channels}; song, source and mask need {3 * latent}"
        )
    fields.check()
    return config


def text_encoder_config(raw: Mapping[str, object], folder: str | Path = "") -> TextEncoderConfig:
    """The sizes a Qwen3 folder's config.json states. Raises InvalidCheckpoint as `dit_config`."""
    fields = ConfigFields(raw, folder)
    config = TextEncoderConfig(
        sizes=_blocks(fields, ""),
        layers=fields.size("num_hidden_layers", most=LAYERS),
        vocabulary=fields.size("vocab_size", most=VOCABULARY),
    )
    fields.check()
    return config


def _blocks(fields: ConfigFields, prefix: str, fallback: BlockSizes | None = None) -> BlockSizes:
    def size(name: str, other: int | None) -> int:
        return fields.size(f"{prefix}{name}", other)

    heads = size("num_attention_heads", fallback.heads if fallback else None)
    kv_heads = size("num_key_value_heads", fallback.kv_heads if fallback else None)
    head_dim = fields.size("head_dim", 128, most=1024)
    if heads % kv_heads:
        fields.fault(
            f"{prefix}num_attention_heads is {heads}; a multiple of "
            f"{prefix}num_key_value_heads, {kv_heads}, is needed"
        )
    if head_dim % 2:
        fields.fault(f"head_dim is {head_dim}; an even number is needed")
    return BlockSizes(
        width=size("hidden_size", fallback.width if fallback else None),
        hidden=size("intermediate_size", fallback.hidden if fallback else None),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        eps=fields.number("rms_norm_eps", 1e-6, most=1.0),
        theta=_theta(fields),
    )


def _theta(fields: ConfigFields) -> float:
    # transformers 5 moved the base frequency into a table of its own.
    table = fields.raw.get("rope_parameters")
    if "rope_theta" in fields or table is None:
        return fields.number("rope_theta", 1e6, least=1.0, most=1e12)
    if not isinstance(table, Mapping):
        fields.fault("rope_parameters is no object")
        return 1.0
    inner = ConfigFields(table, fields.folder)
    theta = inner.number("rope_theta", 1e6, least=1.0, most=1e12)
    fields.faults += inner.faults
    return theta


def _windows(fields: ConfigFields, layers: int) -> tuple[int | None, ...]:
    """How far each layer looks; None: everywhere. Without a list, even layers are windowed."""
    sliding = fields.flag("use_sliding_window", True)
    window = fields.size("sliding_window", 128) if sliding else None
    kinds = fields.words("layer_types", (SLIDING, FULL), most=4 * LAYERS)
    kinds = kinds or tuple(SLIDING if i % 2 == 0 else FULL for i in range(layers))
    if len(kinds) < layers:
        fields.fault(f"layer_types has {len(kinds)} entries for {layers} layers")
    return tuple(window if kind == SLIDING else None for kind in kinds)
