"""`acestep.gpu_config` as programs written for ACE-Step know it, answered by the published tiers.

Importing has no effect; the card is asked when somebody asks for its size.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from headroom.memory.tiers import LM_NAMES, LM_SIZES, Tier, lm_size, tier_of
from headroom.settings import load
from headroom.units import GIB

# What ACE-Step's own table says a language model takes, in GB; R130's budgets, not weights alone.
LM_MEMORY_GB = dict(zip(LM_SIZES, (3.0, 8.0, 12.0), strict=True))


@dataclass
class GPUConfig:
    """One row of the table, with the field names of ACE-Step. Lengths are in seconds."""

    tier: str
    gpu_memory_gb: float
    max_duration_with_lm: int
    max_duration_without_lm: int
    max_batch_size_with_lm: int
    max_batch_size_without_lm: int
    init_lm_default: bool
    available_lm_models: list[str]
    recommended_lm_model: str
    lm_backend_restriction: str
    recommended_backend: str
    offload_to_cpu_default: bool
    offload_dit_to_cpu_default: bool
    quantization_default: bool
    compile_model_default: bool
    lm_memory_gb: dict[str, float] = field(default_factory=dict)
    save_memory_mode: bool = False
    mlx_vae_chunk_size: int = 512


_lock = threading.Lock()
_shared: list[GPUConfig] = []


def get_gpu_memory_gb() -> float:
    """Size of the card in GB: what a setting simulates, else what is here; 0 without a card."""
    simulated = load().max_vram
    if simulated is not None:
        return simulated
    from headroom.device import open_device
    from headroom.hardware.probe import probe

    machine = probe(open_device())
    return machine.total / GIB if machine.accelerated else 0.0


def get_gpu_tier(gpu_memory_gb: float) -> str:
    """Name of the tier of a card of that size."""
    return tier_of(gpu_memory_gb).name


def get_gpu_config(gpu_memory_gb: float | None = None) -> GPUConfig:
    """The row of a card of that size, of the one that is here where none is given.

    `ACESTEP_MAX_DURATION` and `ACESTEP_MAX_BATCH_SIZE` lower its limits.
    """
    size = get_gpu_memory_gb() if gpu_memory_gb is None else gpu_memory_gb
    return _row(tier_of(size), size)


def get_global_gpu_config() -> GPUConfig:
    """The shared row, made when first asked for."""
    with _lock:
        if not _shared:
            _shared.append(get_gpu_config())
        return _shared[0]


def set_global_gpu_config(config: GPUConfig) -> None:
    """Share this row from now on."""
    with _lock:
        _shared[:] = [config]


def is_lm_model_size_allowed(model_name: str, available_models: list[str]) -> bool:
    """Whether a language model is of a size that is among these."""
    size = lm_size(model_name)
    return size is not None and size in {lm_size(name) for name in available_models}


def check_duration_limit(
    duration: float, gpu_config: GPUConfig, lm_initialized: bool
) -> tuple[bool, str]:
    """Whether a length is allowed, and a sentence where it is not."""
    most = gpu_config.max_duration_with_lm if lm_initialized else gpu_config.max_duration_without_lm
    return _within("duration", duration, most, gpu_config, lm_initialized)


def check_batch_size_limit(
    batch_size: int, gpu_config: GPUConfig, lm_initialized: bool
) -> tuple[bool, str]:
    """Whether so many songs at once are allowed, and a sentence where they are not."""
    most = (
        gpu_config.max_batch_size_with_lm
        if lm_initialized
        else gpu_config.max_batch_size_without_lm
    )
    return _within("batch size", batch_size, most, gpu_config, lm_initialized)


def _within(
    what: str, asked: float, most: float, config: GPUConfig, with_lm: bool
) -> tuple[bool, str]:
    if asked <= most:
        return True, ""
    words = "with" if with_lm else "without"
    return False, (
        f"{what} {asked:g} is above {most:g}, the limit of {config.tier} "
        f"({config.gpu_memory_gb:g} GB) {words} a language model"
    )


def _row(tier: Tier, size: float) -> GPUConfig:
    settings = load()
    lengths, songs = tier.seconds, tier.batch
    if settings.max_duration is not None:
        most = int(settings.max_duration)
        lengths = min(lengths[0], most), min(lengths[1], most)
    if settings.max_batch_size is not None:
        songs = min(songs[0], settings.max_batch_size), min(songs[1], settings.max_batch_size)
    names = [name for name in LM_NAMES if lm_size(name) in tier.lms]
    recommended = next((n for n in LM_NAMES if lm_size(n) == tier.recommended), "")
    quantized = settings.quantization not in ("none",) and tier.quantization is not None
    return GPUConfig(
        tier=tier.name,
        gpu_memory_gb=size,
        max_duration_with_lm=lengths[0],
        max_duration_without_lm=lengths[1],
        max_batch_size_with_lm=songs[0],
        max_batch_size_without_lm=songs[1],
        init_lm_default=tier.init_lm if settings.init_lm is None else settings.init_lm,
        available_lm_models=names,
        recommended_lm_model=recommended,
        lm_backend_restriction=tier.backends,
        recommended_backend=tier.backend,
        offload_to_cpu_default=_said(settings.offload, tier.offload != "none"),
        offload_dit_to_cpu_default=_said(settings.offload_dit, tier.offload == "cpu+dit"),
        quantization_default=quantized,
        compile_model_default=_said(settings.compile, tier.compile),
        lm_memory_gb={size_: LM_MEMORY_GB[size_] for size_ in tier.lms},
    )


def _said(setting: bool | None, usual: bool) -> bool:
    return usual if setting is None else setting
