"""Declares the settings for the use of memory; `fields` has the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from headroom.settings.declaration import Setting, amount, count, maybe, switch, word

# The words for the precision of weights, and ACE-Step's words for the same; `memory.precision`
# defines them, and a test keeps the two in agreement.
PRECISION_WORDS = ("auto", "none", "int8", "fp8", "w8a8", "int4")
_OLD_WORDS = ("int8_weight_only", "fp8_weight_only", "w8a8_dynamic", "int4_weight_only")
QUANTIZATIONS = (*PRECISION_WORDS, *_OLD_WORDS)
Policy = Literal["published", "adaptive"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
BACKENDS = ("auto", "vllm", "pt", "mlx")
_MAYBE = "auto, or true or false"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """Memory settings from the environment and `.env`. None leaves a choice to the policy."""

    max_mps_vram: Annotated[
        float | None,
        Setting(
            "HEADROOM_MAX_MPS_VRAM",
            ("MAX_MPS_VRAM",),
            "The same as HEADROOM_MAX_VRAM, on Apple's devices only.",
            "a number of GiB above 0",
            "HEADROOM_MAX_VRAM",
            amount,
        ),
    ] = None
    max_xpu_vram: Annotated[
        float | None,
        Setting(
            "HEADROOM_MAX_XPU_VRAM",
            ("MAX_XPU_VRAM",),
            "The same as HEADROOM_MAX_VRAM, on Intel's devices only.",
            "a number of GiB above 0",
            "HEADROOM_MAX_VRAM",
            amount,
        ),
    ] = None
    memory_limit: Annotated[
        float | None,
        Setting(
            "HEADROOM_MEMORY_LIMIT",
            ("ACESTEP_MEMORY_LIMIT_GB",),
            "Another limit of the device's memory, in GiB; the smaller one holds.",
            "a number of GiB above 0",
            "none",
            amount,
        ),
    ] = None
    policy: Annotated[
        Policy,
        Setting(
            "HEADROOM_POLICY",
            (),
            "Whether a card gets what its published tier says, or the best that fits.",
            "one of " + ", ".join(POLICIES),
            "published",
            word(*POLICIES),
        ),
    ] = "published"
    offload: Annotated[
        bool | None,
        Setting(
            "HEADROOM_OFFLOAD",
            ("ACESTEP_OFFLOAD_TO_CPU",),
            "Whether parts leave the card while nobody uses them.",
            _MAYBE,
            "as the policy says",
            maybe,
        ),
    ] = None
    offload_dit: Annotated[
        bool | None,
        Setting(
            "HEADROOM_OFFLOAD_DIT",
            ("ACESTEP_OFFLOAD_DIT_TO_CPU",),
            "Whether the DiT leaves the card too.",
            _MAYBE,
            "as the policy says",
            maybe,
        ),
    ] = None
    quantization: Annotated[
        str,
        Setting(
            "HEADROOM_QUANTIZATION",
            ("ACESTEP_QUANTIZATION",),
            "Precision of the DiT's weights.",
            "one of " + ", ".join(QUANTIZATIONS),
            "as the policy says",
            word(*QUANTIZATIONS),
        ),
    ] = "auto"
    compile: Annotated[
        bool | None,
        Setting(
            "HEADROOM_COMPILE",
            ("ACESTEP_COMPILE_MODEL",),
            "Whether to compile what runs often.",
            _MAYBE,
            "where it pays",
            maybe,
        ),
    ] = None
    init_lm: Annotated[
        bool | None,
        Setting(
            "HEADROOM_INIT_LM",
            ("ACESTEP_INIT_LM_DEFAULT", "ACESTEP_INIT_LLM"),
            "Whether the planner language model is loaded.",
            _MAYBE,
            "as the policy says",
            maybe,
        ),
    ] = None
    lm_model: Annotated[
        str | None,
        Setting(
            "HEADROOM_LM_MODEL",
            ("ACESTEP_LM_MODEL_PATH",),
            "Planner language model, by the name of its folder.",
            "the name of a model folder, or none",
            "as the policy says",
            str,
        ),
    ] = None
    lm_backend: Annotated[
        str,
        Setting(
            "HEADROOM_LM_BACKEND",
            ("ACESTEP_LM_BACKEND",),
            "How the language model runs.",
            "one of " + ", ".join(BACKENDS),
            "auto",
            word(*BACKENDS),
        ),
    ] = "auto"
    vae_on_cpu: Annotated[
        bool,
        Setting(
            "HEADROOM_VAE_ON_CPU",
            ("ACESTEP_VAE_ON_CPU",),
            "Decode on the host.",
            "true or false",
            "false",
            switch,
        ),
    ] = False
    decode_tile: Annotated[
        int | None,
        Setting(
            "HEADROOM_DECODE_TILE",
            ("ACESTEP_VAE_DECODE_CHUNK_SIZE",),
            "Latent frames a tile of decoding.",
            "a whole number, at least 1",
            "the largest that fits",
            count,
        ),
    ] = None
    gpu_management: Annotated[
        bool,
        Setting(
            "HEADROOM_GPU_MANAGEMENT",
            (),
            "Give the card's memory back after each request and when idle.",
            "true or false",
            "false",
            switch,
        ),
    ] = False
    gpu_idle_timeout: Annotated[
        float,
        Setting(
            "HEADROOM_GPU_IDLE_TIMEOUT",
            ("GPU_IDLE_TIMEOUT",),
            "Seconds after which an unused part leaves the card, under management.",
            "a number of seconds above 0",
            "600",
            amount,
        ),
    ] = 600.0
    alloc_conf: Annotated[
        str | None,
        Setting(
            "PYTORCH_CUDA_ALLOC_CONF",
            (),
            "Options of torch's allocator, in its own words; set before CUDA starts.",
            "as torch documents it",
            "growing segments, where torch has them",
            str,
        ),
    ] = None
