"""How a song was made, so that it can be made again: recorded with it, read back from it.

Equal provenance means equal bytes. What decides the bytes beside the request and its seeds is
called the numerics: device, versions, threads, precision, compiled or not, tiles and pieces. A
whole pass is recorded, since the songs that were rendered beside one decide its rounding too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from headroom.device import Device
from headroom.errors import InvalidRequest, InvalidSource
from headroom.memory.plan import Cut, Plan, cuts
from headroom.models.base import AnyModel
from headroom.params.describe import describe
from headroom.params.read import validate
from headroom.params.request import Request

R = TypeVar("R", bound=Request)
PACKAGES = ("headroom-audio", "torch", "numpy", "safetensors", "tokenizers", "soxr", "soundfile")
WEIGHT_FILES = ("*.safetensors", "*.pt", "config.json", "tokenizer.json")
SAMPLES, SAMPLE_BYTES = 16, 4096


class _Recorded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(_Recorded):
    """A request as it was carried out: every field, and which of them somebody had set."""

    kind: str
    values: dict[str, JsonValue]
    set_fields: tuple[str, ...]


class CutOf(_Recorded):
    """How one stage was cut."""

    stage: str
    pieces: int
    tile: int | None


class Pinned(_Recorded):
    """The numerics a replay can put in force again."""

    dtype: Literal["float32", "bfloat16", "float16"]
    compiled: bool
    threads: int
    matmul: str  # torch's float32 matrix product: highest, high or medium
    cuts: tuple[CutOf, ...]


class WeightFile(_Recorded):
    """A file of weights: its size, and a hash of its header and samples of its data."""

    folder: str
    name: str
    size: int
    sha256: str


class SourceFile(_Recorded):
    """A file the request reads, and the hash of all its bytes."""

    field: str
    path: str
    sha256: str


class Provenance(_Recorded):
    """Everything that decided one song. `song` counts the songs of the pass from 0."""

    format: Literal[1] = 1
    family: str
    model: str
    requests: tuple[Asked, ...]
    song: int
    seed: int
    numerics: Pinned
    device: str
    device_kind: str
    isa: str
    versions: dict[str, str]
    weights: tuple[WeightFile, ...]
    sources: tuple[SourceFile, ...]

    def wished(self) -> tuple[Cut, ...]:
        """The cuts as a wish for the planner."""
        return tuple(Cut(c.stage, c.pieces, c.tile) for c in self.numerics.cuts)


def record(
    family: str, model: AnyModel, device: Device, plan: Plan, requests: Sequence[Request]
) -> Provenance:
    """The provenance of a pass, as that of its first song (`song` and `seed` are still 0)."""
    numerics = model.numerics()
    return Provenance(
        family=family,
        model=model.name,
        requests=tuple(_asked(r) for r in requests),
        song=0,
        seed=0,
        numerics=Pinned(
            dtype=numerics.dtype,
            compiled=numerics.compiled,
            threads=torch.get_num_threads(),
            matmul=torch.get_float32_matmul_precision(),
            cuts=tuple(CutOf(stage=c.stage, pieces=c.pieces, tile=c.tile) for c in _cuts(plan)),
        ),
        device=device.name,
        device_kind=device.kind,
        isa=isa(),
        versions=versions(),
        weights=tuple(w for folder in model.folders() for w in _weights(folder)),
        sources=tuple(s for r in requests for s in _sources(r)),
    )


def requests_of(provenance: Provenance, model: AnyModel) -> tuple[Request, ...]:
    """The requests of the recorded pass. Raises InvalidRequest where the model has no such kind."""
    return tuple(_request(asked, model) for asked in provenance.requests)


def check_sources(provenance: Provenance) -> None:
    """Raise InvalidSource for a file that is gone or holds other bytes than it did."""
    for source in provenance.sources:
        path = Path(source.path)
        if not path.is_file():
            raise InvalidSource(source.field, path, "is not there", "the file it was made from")
        if file_sha256(path) != source.sha256:
            allowed = f"the file it was made from (sha256 {source.sha256[:12]}…)"
            raise InvalidSource(source.field, path, "has changed since", allowed)


def differences(then: Provenance, now: Provenance) -> Iterator[tuple[str, str, str]]:
    """(what, then, now) for all that decides the bytes and is not the same."""
    pairs = {
        "model": (then.model, now.model),
        "device": (f"{then.device_kind} {then.device}", f"{now.device_kind} {now.device}"),
        "isa": (then.isa, now.isa),
        "weights": (_digest(then.weights), _digest(now.weights)),
    }
    pairs |= {name: (old, now.versions.get(name, "none")) for name, old in then.versions.items()}
    numbers, new = then.numerics, now.numerics
    pairs |= {
        name: (str(getattr(numbers, name)), str(getattr(new, name)))
        for name in ("dtype", "compiled", "threads", "matmul")
    }
    ours = {c.stage: c for c in new.cuts}
    for cut in numbers.cuts:
        pairs[f"cut of {cut.stage}"] = (_shown(cut), _shown(ours.get(cut.stage)))
    yield from ((what, old, new) for what, (old, new) in pairs.items() if old != new)


def parse(text: str | bytes, where: Path) -> Provenance:
    """Provenance from JSON: its own, or a sidecar's with it under `provenance`."""
    try:
        return Sidecar.model_validate_json(text).provenance
    except ValidationError:
        pass
    try:
        return Provenance.model_validate_json(text)
    except ValidationError as error:
        why = f"says nothing this version can replay ({error.error_count()} faults)"
        raise InvalidSource(
            "replay", where, why, "a song or a sidecar this program wrote"
        ) from None


class Sidecar(_Recorded):
    """The part of a sidecar that is read again."""

    provenance: Provenance


def versions() -> dict[str, str]:
    """The versions that are installed of everything that touches samples."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def isa() -> str:
    """The CPU instructions torch chose its kernels by; they decide rounding on the host."""
    return str(torch.backends.cpu.get_cpu_capability())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _asked(request: Request) -> Asked:
    return Asked(
        kind=type(request).__name__,
        values=request.model_dump(mode="json"),
        set_fields=tuple(sorted(request.model_fields_set)),
    )


def _request(asked: Asked, model: AnyModel) -> Request:
    kinds = {kind.__name__: kind for kind in model.requests}
    if asked.kind not in kinds:
        raise InvalidRequest("replay", asked.kind, "a request of " + ", ".join(kinds))
    return _as_set(validate(kinds[asked.kind], asked.values), frozenset(asked.set_fields))


def _as_set(request: R, names: frozenset[str]) -> R:
    """The same request, of which only these fields count as set by somebody."""
    values = {name: getattr(request, name) for name in type(request).model_fields}
    return type(request).model_construct(_fields_set=set(names), **values)


def _cuts(plan: Plan) -> tuple[Cut, ...]:
    return cuts(plan.stages)


def _shown(cut: CutOf | None) -> str:
    return "none" if cut is None else f"{cut.pieces} pieces, tile {cut.tile}"


def _digest(files: Sequence[WeightFile]) -> str:
    """One short word for a set of weights."""
    text = "\n".join(sorted(f"{f.name} {f.size} {f.sha256}" for f in files))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if files else "none"


def _weights(folder: Path) -> Iterator[WeightFile]:
    for path in sorted({p for pattern in WEIGHT_FILES for p in folder.glob(pattern)}):
        digest = sampled_sha256(path)
        yield WeightFile(
            folder=folder.name, name=path.name, size=path.stat().st_size, sha256=digest
        )


def sampled_sha256(path: Path) -> str:
    """SHA-256 of a file's first 64 KiB and of 16 samples spread over the rest.

    It tells one training of a network from another without reading gigabytes; it is no seal.
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
