"""Sizes of ACE-Step's networks, read from a checkpoint folder's config.json. No torch.

One rule tells the two families apart: a config with `encoder_hidden_size` is an XL one, whose
encoders keep width 2048 while the DiT is wider, and whose timbre encoder prepends a learned CLS
token that the 2B files carry but never use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import InvalidCheckpoint

LATENT_RATE = 25  # latent frames a second
CODE_FRAMES = 5  # latent frames one 5 Hz code stands for
SAMPLE_RATE = 48_000
HOP = SAMPLE_RATE // LATENT_RATE  # samples a latent frame


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
        """Source and mask channels: what of the input is constant over the steps."""
        return self.in_channels - self.latent_channels

    def layer_windows(self, layers: int) -> tuple[int | None, ...]:
        """Windows of the first `layers` layers; every stack takes the same list from index 0."""
        return tuple(self.windows[i % len(self.windows)] for i in range(layers))


@dataclass(frozen=True, slots=True)
class TextEncoderConfig:
    """Sizes of the Qwen3 text encoder."""

    sizes: BlockSizes
    layers: int
    vocabulary: int


def read_json(folder: Path) -> dict[str, object]:
    """config.json of a checkpoint folder; InvalidCheckpoint where there is none or it is torn."""
    path = folder / "config.json"
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidCheckpoint(folder, [f"config.json: {error.strerror or error}"]) from error
    except ValueError as error:
        raise InvalidCheckpoint(folder, [f"config.json: not JSON ({error})"]) from error
    if not isinstance(value, dict):
        raise InvalidCheckpoint(folder, ["config.json: holds no object"])
    return value


class _Fields:
    """Typed reading of a config, with a fault a field."""

    def __init__(self, raw: Mapping[str, object], folder: str | Path) -> None:
        self.raw, self.folder = raw, folder

    def number(self, name: str, default: float | None = None) -> float:
        value = self.raw.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise InvalidCheckpoint(
                self.folder, [f"config.json: {name} is {value!r}; a positive number is needed"]
            )
        return value

    def size(self, name: str, default: int | None = None) -> int:
        return int(self.number(name, default))

    def blocks(self, prefix: str, fallback: BlockSizes | None = None) -> BlockSizes:
        def size(name: str, other: int | None) -> int:
            return self.size(f"{prefix}{name}", other)

        return BlockSizes(
            width=size("hidden_size", fallback.width if fallback else None),
            hidden=size("intermediate_size", fallback.hidden if fallback else None),
            heads=size("num_attention_heads", fallback.heads if fallback else None),
            kv_heads=size("num_key_value_heads", fallback.kv_heads if fallback else None),
            head_dim=self.size("head_dim", 128),
            eps=self.number("rms_norm_eps", 1e-6),
            theta=self._theta(),
        )

    def _theta(self) -> float:
        # transformers 5 moved the base frequency into a table of its own.
        rope = self.raw.get("rope_parameters")
        if "rope_theta" not in self.raw and isinstance(rope, Mapping):
            return _Fields(rope, self.folder).number("rope_theta", 1e6)
        return self.number("rope_theta", 1e6)


def dit_config(raw: Mapping[str, object], folder: str | Path = "") -> AceStepConfig:
    """The sizes a DiT folder's config.json states. Fields that only training reads are ignored."""
    fields = _Fields(raw, folder)
    dit = fields.blocks("")
    layers = fields.size("num_hidden_layers")
    window = fields.size("sliding_window", 128) if raw.get("use_sliding_window", True) else None
    kinds = raw.get("layer_types")
    if not isinstance(kinds, list):
        kinds = ["sliding_attention" if i % 2 == 0 else "full_attention" for i in range(layers)]
    levels = raw.get("fsq_input_levels", (8, 8, 8, 5, 5, 5))
    if not isinstance(levels, (list, tuple)) or not all(isinstance(n, int) for n in levels):
        raise InvalidCheckpoint(folder, [f"config.json: fsq_input_levels is {levels!r}"])
    latent = fields.size("audio_acoustic_hidden_dim", 64)
    return AceStepConfig(
        dit=dit,
        encoder=fields.blocks("encoder_", dit),
        dit_layers=layers,
        lyric_layers=fields.size("num_lyric_encoder_hidden_layers", 8),
        timbre_layers=fields.size("num_timbre_encoder_hidden_layers", 4),
        pooler_layers=fields.size("num_attention_pooler_hidden_layers", 2),
        windows=tuple(window if str(kind).startswith("sliding") else None for kind in kinds),
        in_channels=fields.size("in_channels", 3 * latent),
        latent_channels=latent,
        patch=fields.size("patch_size", 2),
        text_width=fields.size("text_hidden_dim", 1024),
        timbre_frames=fields.size("timbre_fix_frame", 750),
        pool=fields.size("pool_window_size", CODE_FRAMES),
        levels=tuple(levels),
        timbre_cls="encoder_hidden_size" in raw,
        turbo=bool(raw.get("is_turbo", False)),
        stems=bool(raw.get("is_lego_sft", False)),
        version=str(raw.get("model_version", "")),
    )


def text_encoder_config(raw: Mapping[str, object], folder: str | Path = "") -> TextEncoderConfig:
    """The sizes a Qwen3 folder's config.json states."""
    fields = _Fields(raw, folder)
    return TextEncoderConfig(
        sizes=fields.blocks(""),
        layers=fields.size("num_hidden_layers"),
        vocabulary=fields.size("vocab_size"),
    )
