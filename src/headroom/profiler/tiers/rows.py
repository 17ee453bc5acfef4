"""The inputs and results of a tier test, as values that processes exchange. No torch.

A process works at one size: `Work` goes to it and `TierRow`s come back, both as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headroom.models.registry import USUAL
from headroom.units import GIB

Variant = Literal["default", "no-quant", "no-offload", "batch"]
Status = Literal["ok", "does not fit", "failed"]
BATCHES = (1, 2, 4, 8)  # songs at once, in turn


@dataclass(frozen=True, slots=True)
class Case:
    """One song, or one batch, to make at a size.

    variant  default: as the tier says; no-quant: nothing converted; no-offload: nothing converted,
             and all models stay on the card; batch: as the tier says, with several songs
    series   a series ends with its first case that is not ok; "": no series
    """

    variant: Variant = "default"
    use_lm: bool = False
    songs: int = 1
    series: str = ""

    @property
    def name(self) -> str:
        """Its name in tables and files."""
        if self.variant != "batch":
            return self.variant
        return f"batch-{'LM' if self.use_lm else 'noLM'}-{self.songs}"

    @property
    def options(self) -> dict[str, Any]:
        """The options that deviate from the tier's row."""
        if self.variant == "no-quant":
            return {"quantization": "none"}
        if self.variant == "no-offload":
            return {"offload": False, "offload_dit": False, "quantization": "none"}
        return {}


@dataclass(frozen=True, slots=True)
class Work:
    """The input of a process.

    vram      size of the card, GiB
    device    auto, or the requested device; anything but a CUDA card is simulated
    model     the model's name; only its sizes where it is not installed
    fields    of the request, besides its length, its seeds and those that ask for planning
    duration  of a song, s
    compile   whether to compile the networks, on a real card; None: where it pays
    threads   of the host, each process; None: torch's own number
    """

    vram: float
    cases: tuple[Case, ...]
    model: str
    fields: Mapping[str, Any]
    duration: float
    device: str = "auto"
    dtype: str = "auto"
    checkpoint_dir: str | None = None
    compile: bool | None = None
    skip_compile: bool = False
    threads: int | None = None
    family: str = USUAL

    def json(self) -> dict[str, Any]:
        """The work as JSON, for sending."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Work:
        """The work that was sent."""
        return cls(**{**values, "cases": tuple(Case(**case) for case in values["cases"])})


@dataclass(frozen=True, slots=True)
class StageBytes:
    """One stage, planned and measured: peak bytes on the device.

    exact  the plan is exact here, so the measurement must equal it; else it is an upper bound
    """

    stage: str
    planned: int
    measured: int
    exact: bool
    seconds: float = 0.0
    host: bool = False


@dataclass(frozen=True, slots=True)
class TierRow:
    """The outcome of a case.

    vram_gb    size of the card, GiB; `tier`: as it was detected
    device     its name; `simulated`: it does not exist, and tensors have shapes only
    weights    installed, random or none
    lm         size of the language model; `lm_backend`: of the tier; `lm_loop`: that ran here
    offload    of the tier, or none; `quantization` of the DiT; `compiled`: the networks were
    songs      that were made; `pieces`: in which they were denoised, one after another
    tile       latent frames of a decoding tile; `frames`: of the song; `leaves`: audio is moved
               off the card tile by tile; `decoded_on_host`: decoded on the processor
    planned_peak, measured_peak  bytes of the worst stage, without the driver's context
    expected_seconds  of a generation, by the plan
    faults     what is wrong; empty: nothing
    promised   the published tier promises it
    said       what else the user should know
    """

    vram_gb: float
    tier: str
    test_variant: str
    use_lm: bool
    batch_size: int
    duration: float
    status: Status
    faults: tuple[str, ...] = ()
    promised: bool = True
    device: str = ""
    simulated: bool = False
    weights: str = ""
    model: str = ""
    lm: str | None = None
    lm_backend: str | None = None
    lm_loop: str | None = None
    offload: str = ""
    quantization: str | None = None
    compiled: bool = False
    songs: int = 0
    pieces: int = 0
    tile: int | None = None
    frames: int = 0
    leaves: bool = False
    decoded_on_host: bool = False
    planned_peak: int = 0
    measured_peak: int = 0
    init_seconds: float | None = None
    generation_seconds: float | None = None
    expected_seconds: float | None = None
    wall_seconds: float = 0.0
    stages: tuple[StageBytes, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the songs were made as they should be."""
        return self.status == "ok"

    @property
    def is_batch(self) -> bool:
        """Whether it belongs to a series of batches."""
        return self.test_variant.startswith("batch-")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the row, shortest first."""
        if not self.ok:
            return self.faults
        notes = ["simulated"] if self.simulated else []
        notes += ["random weights"] if self.weights == "random" else []
        notes += [f"{self.lm_backend} backend"] if self.use_lm else []
        notes += ["compiled"] if self.compiled else []
        return (*notes, self._decoding, self._placing, *self.said)

    @property
    def _decoding(self) -> str:
        if self.decoded_on_host:
            return "VAE decoded on CPU"
        if self.tile is None or self.tile >= self.frames:
            return "VAE in one tile" + ", sound to CPU" * self.leaves
        return f"tiled VAE chunk={self.tile}" + ", tiles to CPU" * self.leaves

    @property
    def _placing(self) -> str:
        if self.offload == "none":
            return "all models on GPU" if self.tier == "unlimited" else "no offload"
        return "offload on"

    def json(self) -> dict[str, Any]:
        """All values, under the names that older tools read where there is one."""
        gigabytes = self.measured_peak / GIB if self.measured_peak else None
        return {
            **asdict(self),
            "tier_gb": self.vram_gb,
            "lm_model": None if self.lm is None else f"acestep-5Hz-lm-{self.lm}",
            "init_success": self.init_seconds is not None,
            "gen_success": self.ok,
            "wall_time": self.wall_seconds,
            "peak_vram_gb": gigabytes,
            "error": "; ".join(self.faults) or None,
            "notes": list(self.notes),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TierRow:
        """The row that was sent."""
        tuples = {name: tuple(values[name]) for name in ("faults", "said")}
        stages = tuple(StageBytes(**stage) for stage in values["stages"])
        return cls(**{**values, **tuples, "stages": stages})


@dataclass(frozen=True, slots=True)
class TierTest:
    """All rows, by size and in the order of their cases.

    interrupted      the user ended it
    boundary, batch_boundary  the extra tests that were requested
    """

    rows: tuple[TierRow, ...]
    seconds: float
    interrupted: bool = False
    boundary: bool = False
    batch_boundary: bool = False
    family: str = USUAL

    @property
    def ok(self) -> bool:
        """Whether every promise was kept. A variant that does not fit breaks none."""
        return bool(self.rows) and not self.interrupted and not self.broken

    @property
    def broken(self) -> tuple[TierRow, ...]:
        """The rows with a fault: failed, or promised and not made."""
        return tuple(r for r in self.rows if r.status == "failed" or (r.promised and not r.ok))

    @property
    def exit_code(self) -> int:
        """The exit code for the command line."""
        return 0 if self.ok else 1

    def json(self) -> dict[str, Any]:
        """The object as plain values for a JSON file."""
        report: dict[str, Any] = {
            "ok": self.ok,
            "interrupted": self.interrupted,
            "wall_time": self.seconds,
            "results": [row.json() for row in self.rows],
        }
        if self.boundary:
            report["boundary"] = {one.name: one.json() for one in capabilities(self.rows)}
        return report


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that small cards need, and the smallest card that works without it."""

    name: str
    least: TierRow | None

    def json(self) -> dict[str, Any]:
        """The object as plain values for a JSON file."""
        least = self.least
        return {
            "min_tier": None if least is None else least.tier,
            "vram_gb": None if least is None else least.vram_gb,
        }


def capabilities(rows: Sequence[TierRow]) -> tuple[Capability, ...]:
    """The smallest of these cards that made its song without converted weights, and the smallest
    that did so with all models staying on the card. Tiers that work this way by default count."""
    single = [row for row in rows if not row.is_batch and row.ok]
    unconverted = [row for row in single if row.quantization is None]
    staying = [row for row in unconverted if row.offload == "none"]
    names = "No INT8 Quantization", "No CPU Offload (all models on GPU)"
    return tuple(
        Capability(name, min(candidates, key=lambda row: row.vram_gb, default=None))
        for name, candidates in zip(names, (unconverted, staying), strict=True)
    )
