"""Sizes of small checkpoints and of the released ones, in the words of config.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass

LEVELS = (8, 8, 8, 5, 5, 5)
POOL = 5
ENCODER_FIELDS = (
    "encoder_hidden_size",
    "encoder_intermediate_size",
    "encoder_num_attention_heads",
    "encoder_num_key_value_heads",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DitSizes:
    """A DiT folder. Field names are those of its config.json; the encoder's may be absent (2B)."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    sliding_window: int
    audio_acoustic_hidden_dim: int
    text_hidden_dim: int
    num_lyric_encoder_hidden_layers: int
    num_timbre_encoder_hidden_layers: int
    num_attention_pooler_hidden_layers: int
    timbre_fix_frame: int
    fsq_dim: int
    encoder_hidden_size: int | None = None
    encoder_intermediate_size: int | None = None
    encoder_num_attention_heads: int | None = None
    encoder_num_key_value_heads: int | None = None
    fsq_input_levels: tuple[int, ...] = LEVELS

    @property
    def xl(self) -> bool:
        return self.encoder_hidden_size is not None

    @property
    def encoder(self) -> tuple[int, int, int, int]:
        """Width, MLP width, heads and key heads of every encoder."""
        return (
            self.encoder_hidden_size or self.hidden_size,
            self.encoder_intermediate_size or self.intermediate_size,
            self.encoder_num_attention_heads or self.num_attention_heads,
            self.encoder_num_key_value_heads or self.num_key_value_heads,
        )

    @property
    def key_count(self) -> int:
        """Tensors in the file: DiT, lyrics, timbre, text, null, tokenizer, detokenizer."""
        pooler = self.num_attention_pooler_hidden_layers
        return (
            20 + 19 * self.num_hidden_layers
            + 3 + 11 * self.num_lyric_encoder_hidden_layers
            + 4 + 11 * self.num_timbre_encoder_hidden_layers
            + 1 + 1
            + 10 + 11 * pooler
            + 6 + 11 * pooler
        )  # fmt: skip

    def config(self, *, turbo: bool = True, version: str | None = None) -> dict[str, object]:
        """config.json of the folder."""
        known = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        stated = {k: v for k, v in known.items() if v is not None}
        latent = self.audio_acoustic_hidden_dim
        kinds = ["sliding_attention", "full_attention"]
        return {
            "architectures": ["AceStepConditionGenerationModel"],
            "model_type": "acestep",
            **stated,
            "in_channels": 3 * latent,
            "timbre_hidden_dim": latent,
            "patch_size": 2,
            "rope_theta": 1000000,
            "rope_scaling": None,
            "rms_norm_eps": 1e-6,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": True,
            "layer_types": [kinds[i % 2] for i in range(self.num_hidden_layers)],
            "pool_window_size": POOL,
            "fsq_input_num_quantizers": 1,
            "is_turbo": turbo,
            "model_version": version or ("turbo" if turbo else "base"),
            # what only training or other code reads, as the released files carry it
            "data_proportion": 0.5,
            "timestep_mu": -0.4,
            "timestep_sigma": 1.0,
            "vocab_size": 64003,
            "max_position_embeddings": 32768,
            "num_audio_decoder_hidden_layers": 24,
            "use_cache": True,
            "tie_word_embeddings": True,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSizes:
    """The VAE folder, field names of its config.json."""

    encoder_hidden_size: int
    channel_multiples: tuple[int, ...]
    decoder_channels: int
    decoder_input_channels: int
    downsampling_ratios: tuple[int, ...] = (2, 4, 4, 6, 10)
    audio_channels: int = 2
    sampling_rate: int = 48_000

    def config(self) -> dict[str, object]:
        """config.json of the folder."""
        stated = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"_class_name": "AutoencoderOobleck", **stated}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSizes:
    """The text encoder folder, field names of its config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int

    def config(self) -> dict[str, object]:
        """config.json of the folder."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **asdict(self),
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000,
            "rope_scaling": None,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "sliding_window": None,
            "tie_word_embeddings": True,
        }


@dataclass(frozen=True, slots=True)
class Sizes:
    """One checkpoint directory: its three folders, and the frames of its silence latent."""

    dit: DitSizes
    vae: VaeSizes
    text: TextSizes
    silence_frames: int


VOCABULARY = 320  # 256 bytes, the special tokens, and room that no token uses


def _dit_2b(latent: int, timbre_frames: int) -> DitSizes:
    return DitSizes(
        hidden_size=48, intermediate_size=96, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=7,
        audio_acoustic_hidden_dim=latent, text_hidden_dim=24,
        num_lyric_encoder_hidden_layers=3, num_timbre_encoder_hidden_layers=2,
        num_attention_pooler_hidden_layers=2, timbre_fix_frame=timbre_frames, fsq_dim=48,
    )  # fmt: skip


_DIT_XL = DitSizes(
    hidden_size=64, intermediate_size=112, num_hidden_layers=4,
    num_attention_heads=8, num_key_value_heads=2, head_dim=16, sliding_window=7,
    audio_acoustic_hidden_dim=8, text_hidden_dim=24,
    num_lyric_encoder_hidden_layers=3, num_timbre_encoder_hidden_layers=2,
    num_attention_pooler_hidden_layers=2, timbre_fix_frame=30, fsq_dim=48,
    encoder_hidden_size=48, encoder_intermediate_size=96,
    encoder_num_attention_heads=4, encoder_num_key_value_heads=2,
)  # fmt: skip


def _vae(latent: int, multiples: tuple[int, ...]) -> VaeSizes:
    # The encoder's width is also its output: mean and scale of every latent channel.
    return VaeSizes(
        encoder_hidden_size=2 * latent,
        channel_multiples=multiples,
        decoder_channels=4,
        decoder_input_channels=latent,
    )


_TEXT = TextSizes(
    hidden_size=24, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=VOCABULARY,
)  # fmt: skip

PRESETS = {
    "2b-like": Sizes(_dit_2b(8, 30), _vae(8, (1, 2, 2, 2, 2)), _TEXT, 64),
    "xl-like": Sizes(_DIT_XL, _vae(8, (1, 2, 2, 2, 2)), _TEXT, 64),
    # 64 latent channels as in the released VAE, so that whole songs can be made
    "pipeline": Sizes(_dit_2b(64, 50), _vae(64, (1, 1, 1, 1, 1)), _TEXT, 200),
}

REAL_2B = DitSizes(
    hidden_size=2048, intermediate_size=6144, num_hidden_layers=24,
    num_attention_heads=16, num_key_value_heads=8, head_dim=128, sliding_window=128,
    audio_acoustic_hidden_dim=64, text_hidden_dim=1024,
    num_lyric_encoder_hidden_layers=8, num_timbre_encoder_hidden_layers=4,
    num_attention_pooler_hidden_layers=2, timbre_fix_frame=750, fsq_dim=2048,
)  # fmt: skip

REAL_XL = DitSizes(
    hidden_size=2560, intermediate_size=9728, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, head_dim=128, sliding_window=128,
    audio_acoustic_hidden_dim=64, text_hidden_dim=1024,
    num_lyric_encoder_hidden_layers=8, num_timbre_encoder_hidden_layers=4,
    num_attention_pooler_hidden_layers=2, timbre_fix_frame=750, fsq_dim=2048,
    encoder_hidden_size=2048, encoder_intermediate_size=6144,
    encoder_num_attention_heads=16, encoder_num_key_value_heads=8,
)  # fmt: skip
