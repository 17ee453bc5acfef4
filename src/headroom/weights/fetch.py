"""Downloading models, and verifying what is there.

A file that is there and is the announced one is never fetched again; one that broke off is
continued; every file is checked by size and checksum before it takes its name. One process at a
time works on a folder. Remote code is not downloaded: none is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from headroom import paths
from headroom.errors import DownloadFailed, InvalidOutput, InvalidRequest
from headroom.units import MIB, gib
from headroom.weights.catalog import MODELS, Kind, Model, inspect
from headroom.weights.header import SINGLE
from headroom.weights.manifest import Kept, Manifest, read_manifest, sha256_of, write_manifest
from headroom.weights.sources import Listing, Source
from headroom.weights.transfer import Remote, fetch, reuse, unwritable

_WANTED = (".safetensors", ".json", ".jinja")  # what a folder is made of, beside two names
_WANTED_NAMES = ("merges.txt", "silence_latent.pt")
_MARGIN = 64 * MIB  # left free on the disk
_LOCK = ".headroom-lock"


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a download is: the file at work, and bytes there and wanted of all files."""

    model: str
    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What became of one model. `fetched` are bytes that came over the line."""

    model: str
    folder: Path
    source: str
    revision: str
    files: int
    nbytes: int
    fetched: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at a folder found. `hashed` counts the files held against a checksum."""

    folder: Path
    files: int
    hashed: int
    nbytes: int
    faults: tuple[str, ...]


Show = Callable[[Transfer], None]
Say = Callable[[str], None]  # a sentence for people


@dataclass(frozen=True, slots=True)
class _Order:
    """One model as one source offers it."""

    model: Model
    source: Source
    listing: Listing
    files: tuple[Remote, ...]

    @property
    def nbytes(self) -> int:
        return sum(remote.size for remote in self.files)


def download(
    names: Sequence[str],
    into: Path,
    sources: Sequence[Source],
    *,
    force: bool = False,
    show: Show = lambda transfer: None,
    say: Say = lambda sentence: None,
) -> list[Downloaded]:
    """Bring models into folders below `into`, from the first source that delivers.

    Raises InvalidRequest for a name that is not in the catalog, InvalidOutput where the folder
    takes no more, DownloadFailed where no source delivers (what has come is kept, and continued
    by the next call). `force` fetches also what is there.
    """
    models = [_known(name) for name in names]
    catalogues: dict[tuple[str, str], Listing] = {}
    orders = [_order(model, sources, catalogues, say) for model in models]
    _room(into, orders, force)
    counter = _Counter(sum(order.nbytes for order in orders), show)
    results = []
    for order in orders:
        later = sources[list(sources).index(order.source) + 1 :]
        results.append(_bring(order, into, later, catalogues, counter, force, say))
    return results


def verify(folder: Path, kind: Kind, count: Callable[[int], None] = lambda n: None) -> Verified:
    """Hold a folder against its manifest, if it has one, and its files against their headers.

    `count` is told the bytes of each piece that is read. Raises nothing for what it finds.
    """
    manifest = read_manifest(folder)
    faults: list[str] = []
    kept = manifest.files if manifest else {}
    for name, one in kept.items():
        path = folder / name
        if not paths.is_file(path):
            faults.append(f"{name}: missing")
        elif path.stat().st_size != one.size:
            faults.append(f"{name}: {path.stat().st_size} bytes instead of {one.size}")
        elif (found := sha256_of(path, count)) != one.sha256:
            faults.append(f"{name}: SHA-256 is {found}, it was {one.sha256}")
    named = {fault.partition(":")[0] for fault in faults}
    faults += [fault for fault in inspect(folder, kind) if fault.partition(":")[0] not in named]
    files = [
        path for path in folder.iterdir() if paths.is_file(path) and not path.name.startswith(".")
    ]
    size = sum(path.stat().st_size for path in files)
    return Verified(folder, len(files), len(kept), size, tuple(faults))


class _Counter:
    """Bytes of all files of a download that are there."""

    def __init__(self, total: int, show: Show) -> None:
        self.total, self.show, self.done = total, show, 0

    def of(self, model: str, file: str) -> Callable[[int], None]:
        def count(more: int) -> None:
            self.done += more
            self.show(Transfer(model, file, self.done, self.total))

        return count


def _known(name: str) -> Model:
    if name not in MODELS:
        raise InvalidRequest("model", name, ", ".join(MODELS))
    return MODELS[name]


def _order(
    model: Model, sources: Sequence[Source], catalogues: dict[tuple[str, str], Listing], say: Say
) -> _Order:
    """What the first source that can be asked says of a model."""
    refusals: list[str] = []
    for source in sources:
        try:
            key = (source.name, model.repo)
            if key not in catalogues:
                catalogues[key] = source.listing(model.repo)
            files = tuple(_wanted(model, catalogues[key].files))
            _check_offer(model, source, files)
            return _Order(model, source, catalogues[key], files)
        except DownloadFailed as error:
            refusals.append(f"{source.name}: {error}")
            if source is not sources[-1]:
                say(f"{model.name}: {source.name} does not deliver ({error}) Trying the next.")
    raise DownloadFailed(f"{model.name} could not be downloaded. " + " ".join(refusals))


def _wanted(model: Model, files: Sequence[Remote]) -> Iterator[Remote]:
    """The files of one model: those right in its folder that we read, and no code."""
    prefix = f"{model.inside}/" if model.inside else ""
    for remote in files:
        name = remote.path.removeprefix(prefix)
        inside = remote.path.startswith(prefix) and not any(sign in name for sign in "/\\:")
        if (
            inside
            and not name.startswith(".")
            and (name.endswith(_WANTED) or name in _WANTED_NAMES)
        ):
            yield remote


def _check_offer(model: Model, source: Source, files: Sequence[Remote]) -> None:
    names = {remote.name for remote in files}
    absent = [name for name in model.files if name not in names]
    if not any(name.endswith(".safetensors") for name in names):
        absent.append(SINGLE[0])
    if absent:
        raise DownloadFailed(f"{model.repo} holds no {', '.join(absent)} for {model.name}.")


def _room(into: Path, orders: Sequence[_Order], force: bool) -> None:
    """Refuse before the first byte where the disk cannot hold what is still to come."""
    needed = 0
    for order in orders:
        for remote in order.files:
            target = into / order.model.name / remote.name
            there = [remote.part(target), *([] if force else [target])]
            have = max((path.stat().st_size for path in there if paths.is_file(path)), default=0)
            needed += max(remote.size - have, 0)
    place = into.absolute()
    while not paths.exists(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed and needed + _MARGIN > free:
        why = f"has {gib(free)} free, {gib(needed)} are still to come"
        allowed = f"a disk with {gib(needed + _MARGIN)} free"
        raise InvalidOutput("checkpoint_dir", into, why, allowed)


def _bring(
    order: _Order,
    into: Path,
    later: Sequence[Source],
    catalogues: dict[tuple[str, str], Listing],
    counter: _Counter,
    force: bool,
    say: Say,
) -> Downloaded:
    before = counter.done
    try:
        return _bring_from(order, into, counter, force, say)
    except DownloadFailed as error:
        if not later:
            raise
        say(f"{order.model.name}: {order.source.name} broke off ({error}) Trying the next.")
        counter.done = before
        other = _order(order.model, later, catalogues, say)
        counter.total += other.nbytes - order.nbytes
        rest = later[list(later).index(other.source) + 1 :]
        return _bring(other, into, rest, catalogues, counter, force, say)


def _bring_from(order: _Order, into: Path, counter: _Counter, force: bool, say: Say) -> Downloaded:
    folder = into / order.model.name
    with _alone(folder, order.model.name, say):
        old = read_manifest(folder)
        names = {remote.name for remote in order.files}
        kept = {name: one for name, one in old.files.items() if name in names} if old else {}
        fetched = 0
        for remote in order.files:
            count = counter.of(order.model.name, remote.name)
            sha256 = None if force else _present(folder / remote.name, remote)
            if sha256 is not None:
                count(remote.size)
            else:
                sha256, came = _one(order, remote, folder / remote.name, count, force)
                fetched += came
            kept[remote.name] = Kept(remote.size, sha256)
            # After each file: what is checked stays known if the next one breaks off.
            write_manifest(folder, _manifest(order, kept))
    return Downloaded(
        order.model.name, folder, order.source.name, order.listing.revision,
        len(order.files), order.nbytes, fetched,
    )  # fmt: skip


def _one(
    order: _Order, remote: Remote, target: Path, count: Callable[[int], None], force: bool
) -> tuple[str, int]:
    """SHA-256 of a file that was not there, and the bytes that came over the line for it."""
    found = None if force else order.source.cached(order.listing.repo, remote)
    if found is not None:
        sha256 = reuse(found, remote, target, count)
        if sha256 is not None:
            return sha256, 0
    part = remote.part(target)
    had = part.stat().st_size if paths.is_file(part) else 0
    url = order.source.url(order.listing, remote)
    sha256 = fetch(order.source.client, url, remote, target, count)
    return sha256, max(remote.size - had, 0)


def _present(path: Path, remote: Remote) -> str | None:
    """SHA-256 of a file that is already the announced one; None where it must be fetched."""
    if not paths.is_file(path) or path.stat().st_size != remote.size:
        return None
    sha256 = sha256_of(path)
    return sha256 if remote.fault(path, sha256) is None else None


def _manifest(order: _Order, kept: dict[str, Kept]) -> Manifest:
    return Manifest(order.source.name, order.listing.repo, order.listing.revision, kept)


@contextmanager
def _alone(folder: Path, model: str, say: Say) -> Iterator[None]:
    """Make the folder and keep other processes out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{model}: another process is downloading it; waiting for that one.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise unwritable(folder, error) from error
