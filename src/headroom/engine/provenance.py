"""How a song was made: recorded with the song, and read back to reproduce it.

Equal provenance means equal bytes. What decides the bytes apart from the request and its seeds is
called the numerics: device, versions, threads, precision, compiled or not, tiles and pieces. The
whole pass is recorded, since songs that are rendered together affect each other's rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from headroom.audio.tags import PROVENANCE, read_tags
from headroom.errors import InvalidFile, InvalidRequest, InvalidSource
from headroom.files import JSON_BYTES, open_regular, parse_json, read_text
from headroom.memory.plan import Cut, Residency, Wish, Wishes
from headroom.memory.precision import PRECISIONS
from headroom.models.base import AnyModel
from headroom.params.read import validate
from headroom.params.request import Request

R = TypeVar("R", bound=Request)
_MOST, _MOST_THREADS = (1 << 31) - 1, 4096  # of a count that a file states
SIDECAR = ".json"  # the ending of the file beside a song
WRITTEN_HERE = "a song or a sidecar that this program wrote"


class _Recorded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(_Recorded):
    """A request as it was carried out: every field, and which of them were set explicitly."""

    kind: str
    values: dict[str, JsonValue]
    set_fields: tuple[str, ...]


def asked_of(request: Request) -> Asked:
    """The record of a request."""
    return Asked(
        kind=type(request).__name__,
        values=request.model_dump(mode="json"),
        set_fields=tuple(sorted(request.model_fields_set)),
    )


class CutOf(_Recorded):
    """How one stage was cut."""

    stage: str
    pieces: int = Field(ge=1, le=_MOST)
    tile: int | None = Field(ge=1, le=_MOST)


class Pinned(_Recorded):
    """The numerics that a replay can restore."""

    dtype: Literal["float32", "bfloat16", "float16"]
    compiled: bool
    threads: int = Field(ge=1, le=_MOST_THREADS)
    matmul: str  # torch's float32 matrix product: highest, high or medium
    cuts: tuple[CutOf, ...]
    converted: dict[str, str] = {}  # precision of every part with converted weights
    on_host: tuple[str, ...] = ()  # parts that computed on the host, not the device

    @field_validator("converted")
    @classmethod
    def _are_known(cls, value: dict[str, str]) -> dict[str, str]:
        if not set(value.values()) <= set(PRECISIONS):
            raise ValueError("precisions that nobody knows")
        return value


class WeightFile(_Recorded):
    """A file of weights: its size, and a hash of its header and samples of its data."""

    folder: str
    name: str
    size: int
    sha256: str


class SourceFile(_Recorded):
    """A file that the request reads, and the hash of its whole content."""

    field: str
    path: str
    sha256: str


class Provenance(_Recorded):
    """Everything that decided one song. `song` counts the songs of the pass from 0."""

    format: Literal[1] = 1
    family: str
    model: str
    requests: tuple[Asked, ...] = Field(min_length=1)
    song: int = Field(ge=0, le=_MOST)
    seed: int
    numerics: Pinned
    device: str
    device_kind: str
    isa: str
    versions: dict[str, str]
    weights: tuple[WeightFile, ...]
    sources: tuple[SourceFile, ...]

    def wished(self) -> Wishes:
        """The wishes for the planner that make the same kernels work on the same numbers."""
        cuts = tuple(Cut(c.stage, c.pieces, c.tile) for c in self.numerics.cuts)
        converted, hosts = self.numerics.converted, self.numerics.on_host
        parts = tuple(
            Wish(
                name,
                (Residency.HOST,) if name in hosts else (),
                (converted[name],) if name in converted else (),
            )
            for name in {**converted, **dict.fromkeys(hosts)}
        )
        return Wishes(cuts=cuts, components=parts)


def requests_of(provenance: Provenance, model: AnyModel) -> tuple[Request, ...]:
    """The requests of the recorded pass. Raises InvalidRequest for a kind the model lacks."""
    return tuple(restored(recorded, model.requests) for recorded in provenance.requests)


def restored(recorded: Asked, requests: Iterable[type[Request]], field: str = "replay") -> Request:
    """The recorded request. Raises InvalidRequest for a kind that is not among `requests`."""
    kinds = {kind.__name__: kind for kind in requests}
    if recorded.kind not in kinds:
        raise InvalidRequest(field, recorded.kind, "a request of " + ", ".join(kinds))
    return _as_set(validate(kinds[recorded.kind], recorded.values), frozenset(recorded.set_fields))


def check_sources(provenance: Provenance) -> None:
    """Raise InvalidSource for a file that is missing or whose content has changed."""
    for source in provenance.sources:
        path = Path(source.path)
        try:
            with open_regular(path) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except InvalidFile as error:
            why = "is not there" if error.missing else error.why
            raise InvalidSource(source.field, path, why, "the file it was made from") from error
        if digest != source.sha256:
            allowed = f"the file it was made from (sha256 {source.sha256[:12]}…)"
            raise InvalidSource(source.field, path, "has changed since", allowed)


def differences(then: Provenance, now: Provenance) -> Iterator[tuple[str, str, str]]:
    """(what, then, now) for everything that decides the bytes and has changed."""
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


def read(path: str | Path, field: str = "replay") -> Provenance:
    """Read how a song was made, from its sidecar or from the tags of its file.

    Raises InvalidSource for a file that does not exist or does not contain it.
    """
    where = Path(path)
    if where.suffix.lower() != SIDECAR:
        return _parse(read_tags(where, field).get(PROVENANCE, ""), where, field)
    try:
        text = read_text(where, JSON_BYTES)
    except InvalidFile as error:
        raise InvalidSource(field, where, error.why, WRITTEN_HERE) from error
    return _parse(text, where, field)


def _parse(text: str, where: Path, field: str) -> Provenance:
    """Provenance from JSON: a bare one, or a sidecar with it under `provenance`."""
    if not text:
        raise InvalidSource(field, where, "does not say how it was made", WRITTEN_HERE)
    try:
        document = parse_json(text)
        inner = document.get("provenance", document) if isinstance(document, dict) else document
        return Provenance.model_validate(inner)
    except (ValueError, RecursionError) as error:  # not JSON, or not of this shape
        faults = error.error_count() if isinstance(error, ValidationError) else 0
        detail = f"{faults} fields are missing or wrong" if faults else "no JSON"
        why = f"does not say how it was made ({detail})"
        raise InvalidSource(field, where, why, WRITTEN_HERE) from error


def _as_set(request: R, names: frozenset[str]) -> R:
    """The same request, with only these fields counting as set explicitly."""
    values = {name: getattr(request, name) for name in type(request).model_fields}
    return type(request).model_construct(_fields_set=set(names), **values)


def _shown(cut: CutOf | None) -> str:
    return "none" if cut is None else f"{cut.pieces} pieces, tile {cut.tile}"


def _digest(files: Sequence[WeightFile]) -> str:
    """A short digest that identifies a set of weights."""
    text = "\n".join(sorted(f"{f.name} {f.size} {f.sha256}" for f in files))
    data = text.encode("utf-8", "surrogatepass")  # a file may hold a lone surrogate
    return hashlib.sha256(data).hexdigest()[:12] if files else "none"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
