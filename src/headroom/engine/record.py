"""Records how a pass of songs is about to be made: its provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import torch

from headroom import paths
from headroom.device import Device
from headroom.engine.provenance import (
    CutOf,
    Pinned,
    Provenance,
    SourceFile,
    WeightFile,
    asked_of,
    file_sha256,
)
from headroom.memory.plan import Plan, Residency, cuts
from headroom.memory.precision import NATIVE, PRECISIONS
from headroom.models.base import AnyModel
from headroom.params.describe import describe
from headroom.params.request import Request

PACKAGES = ("headroom-audio", "torch", "numpy", "safetensors", "tokenizers", "soxr", "soundfile")
WEIGHT_FILES = ("*.safetensors", "*.pt", "config.json", "tokenizer.json")
SAMPLES, SAMPLE_BYTES = 16, 4096


def record(
    family: str, model: AnyModel, device: Device, plan: Plan, requests: Sequence[Request]
) -> Provenance:
    """The provenance of a pass, stated for its first song (`song` and `seed` are still 0)."""
    numerics = model.numerics()
    return Provenance(
        family=family,
        model=model.name,
        requests=tuple(asked_of(r) for r in requests),
        song=0,
        seed=0,
        numerics=Pinned(
            dtype=numerics.dtype,
            compiled=numerics.compiled,
            threads=torch.get_num_threads(),
            matmul=torch.get_float32_matmul_precision(),
            cuts=tuple(
                CutOf(stage=c.stage, pieces=c.pieces, tile=c.tile) for c in cuts(plan.stages)
            ),
            converted={
                p.component: p.precision
                for p in plan.placements
                if p.precision in PRECISIONS and p.precision not in NATIVE
            },
            on_host=tuple(
                p.component
                for p in plan.placements
                if p.residency is Residency.HOST and device.kind != "cpu"
            ),
        ),
        device=device.name,
        device_kind=device.kind,
        isa=isa(),
        versions=versions(),
        weights=tuple(w for folder in model.folders() for w in _weights(folder)),
        sources=tuple(s for r in requests for s in _sources(r)),
    )


def versions() -> dict[str, str]:
    """The installed versions of every package that touches samples."""
    versions_by_name = {}
    for name in PACKAGES:
        try:
            versions_by_name[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions_by_name


def isa() -> str:
    """The CPU instruction set torch chose its kernels by; it decides rounding on the host."""
    return str(torch.backends.cpu.get_cpu_capability())


def _weights(folder: Path) -> Iterator[WeightFile]:
    there = {p for pattern in WEIGHT_FILES for p in folder.glob(pattern) if paths.is_file(p)}
    for path in sorted(there):
        digest = sampled_sha256(path)
        yield WeightFile(
            folder=folder.name, name=path.name, size=path.stat().st_size, sha256=digest
        )


def sampled_sha256(path: Path) -> str:
    """SHA-256 of a file's first 64 KiB and of 16 samples spread over the rest.

    It tells one trained version of a network from another without reading gigabytes; it does not
    protect against tampering.
    """
    head = SAMPLES * SAMPLE_BYTES
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(head))
        for index in range(SAMPLES if size > head else 0):
            file.seek(head + (size - head) * index // SAMPLES)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _sources(request: Request) -> Iterator[SourceFile]:
    for param in describe(type(request)):
        if param.kind is Path:
            value = getattr(request, param.name)
            for path in value if isinstance(value, tuple) else (value,):
                if path is not None:
                    yield SourceFile(
                        field=param.name, path=str(path), sha256=file_sha256(Path(path))
                    )
