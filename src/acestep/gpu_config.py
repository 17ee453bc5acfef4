"""Compatible `acestep.gpu_config`: limits and defaults by card size, from the published tiers.

Importing has no effect; the card is probed when its size is first needed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from headroom.engine.limits import caps_of
from headroom.hardware.machine import Machine, card, group
from headroom.memory.policy import Policy, resolve_policy
from headroom.models.acestep.tiers import LM_NAMES, LM_SIZES, TIERS, lm_size, tier_of
from headroom.settings import Settings, load
from headroom.units import GIB

# The size of each language model in ACE-Step's own table, in GB: weights and cache.
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
    """Size of the card in GB: the simulated one if set, else the real one; 0 without a card."""
    machine = current_machine(load())
    return machine.limit / GIB if machine.accelerated else 0.0


def current_machine(settings: Settings) -> Machine:
    """The card that the settings simulate, else the real machine or group of cards, with the cap
    they set."""
    simulated = settings.vram_for("simulated")
    if simulated is not None:
        return card(simulated)
    from headroom.device import open_device
    from headroom.hardware.host import named_devices
    from headroom.hardware.probe import probe_device

    machines = []
    for word in named_devices(settings):
        device = open_device(word, shared=settings.accounts)
        cap = settings.vram_for(device.kind)
        machine = probe_device(device, settings.cache_dir)
        machines.append(machine if cap is None else replace(machine, cap=int(cap * GIB)))
    return group(machines)


def current_policy(machine: Machine, settings: Settings) -> Policy:
    """The policy in force on a machine under the settings' policy, as in the engine."""
    return resolve_policy(machine, settings.policy, settings, TIERS)


def get_gpu_tier(gpu_memory_gb: float) -> str:
    """Name of the tier of a card of that size."""
    return tier_of(gpu_memory_gb).name


def get_gpu_config(gpu_memory_gb: float | None = None) -> GPUConfig:
    """The row for a card of that size; without a size, for this machine's card.

    `ACESTEP_MAX_DURATION` and `ACESTEP_MAX_BATCH_SIZE` lower its limits.
    """
    settings = load()
    if gpu_memory_gb is not None:
        return _row(card(max(0.0, gpu_memory_gb)), settings)
    machine = current_machine(settings)
    return _row(machine if machine.accelerated else card(0), settings)


def get_global_gpu_config() -> GPUConfig:
    """The shared row, created on first use."""
    with _lock:
        if not _shared:
            _shared.append(get_gpu_config())
        return _shared[0]


def set_global_gpu_config(config: GPUConfig) -> None:
    """Share this row from now on."""
    with _lock:
        _shared[:] = [config]


def is_lm_model_size_allowed(model_name: str, available_models: list[str]) -> bool:
    """Whether a language model's size is one of these."""
    size = lm_size(model_name)
    return size is not None and size in {lm_size(name) for name in available_models}


def check_duration_limit(
    duration: float, gpu_config: GPUConfig, lm_initialized: bool
) -> tuple[bool, str]:
    """Whether a length is allowed, and a sentence if it is not."""
    most = gpu_config.max_duration_with_lm if lm_initialized else gpu_config.max_duration_without_lm
    return _within("duration", duration, most, gpu_config, lm_initialized)


def check_batch_size_limit(
    batch_size: int, gpu_config: GPUConfig, lm_initialized: bool
) -> tuple[bool, str]:
    """Whether this many songs at once are allowed, and a sentence if they are not."""
    most = (
        gpu_config.max_batch_size_with_lm
        if lm_initialized
        else gpu_config.max_batch_size_without_lm
    )
    return _within("batch size", batch_size, most, gpu_config, lm_initialized)


def _within(
    name: str, value: float, maximum: float, config: GPUConfig, with_lm: bool
) -> tuple[bool, str]:
    if value <= maximum:
        return True, ""
    words = "with" if with_lm else "without"
    return False, (
        f"{name} {value:g} is above {maximum:g}, the limit of {config.tier} "
        f"({config.gpu_memory_gb:g} GB) {words} a language model"
    )


def _row(machine: Machine, settings: Settings) -> GPUConfig:
    tier = tier_of(machine.limit / GIB)
    policy = resolve_policy(machine, "published", settings, TIERS)
    caps = caps_of(settings)
    with_lm, without = (policy.limits(lm, *caps) for lm in (True, False))
    return GPUConfig(
        tier=tier.name,
        gpu_memory_gb=machine.limit / GIB,
        max_duration_with_lm=int(with_lm["seconds"].maximum),
        max_duration_without_lm=int(without["seconds"].maximum),
        max_batch_size_with_lm=int(with_lm["count"].maximum),
        max_batch_size_without_lm=int(without["count"].maximum),
        init_lm_default=policy.init_lm,
        available_lm_models=[name for name in LM_NAMES if lm_size(name) in tier.lms],
        recommended_lm_model=next((n for n in LM_NAMES if lm_size(n) == tier.recommended), ""),
        lm_backend_restriction="pt_mlx_only" if machine.kind == "mps" else tier.backends,
        recommended_backend=policy.lm_loop,
        offload_to_cpu_default=bool(policy.offload),
        offload_dit_to_cpu_default=bool(policy.offload_dit),
        quantization_default=policy.quantization != "none",
        compile_model_default=bool(policy.compile),
        lm_memory_gb={size: LM_MEMORY_GB[size] for size in tier.lms},
    )
