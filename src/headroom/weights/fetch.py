"""Download models, with resumption and checksums.

A file that is present and matches the source is never fetched again; an interrupted one is resumed;
every file is checked by size and checksum before it gets its final name. One process at a time
works on a folder. Remote code is not downloaded: none is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import getproxies

from filelock import FileLock, Timeout

from headroom import paths
from headroom.errors import DownloadFailed, InvalidFile, InvalidOutput
from headroom.units import MIB, gib
from headroom.weights.catalog import ReleasedModel
from headroom.weights.header import SINGLE
from headroom.weights.manifest import Kept, Manifest, read_manifest, sha256_of, write_manifest
from headroom.weights.names import is_file_name, same_file
from headroom.weights.sources import Listing, ModelSource
from headroom.weights.transfer import Count, Remote, fetch, unwritable

# The files of a folder, besides those that its kind must have.
_WANTED = (".safetensors", ".json", ".jinja")
_WANTED_NAMES = ("merges.txt",)
_MARGIN = 64 * MIB  # left free on the disk
_LOCK = ".headroom-lock"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Progress of a download: the current file, and the bytes present and total of all files."""

    model: str
    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The result for one model. `fetched`: bytes received over the network."""

    model: str
    folder: Path
    source: str
    revision: str
    files: int
    nbytes: int
    fetched: int


Show = Callable[[Transfer], None]
Report = Callable[[str], None]  # takes a sentence for the user


@dataclass(frozen=True, slots=True)
class _Offer:
    """One model as offered by one source."""

    model: ReleasedModel
    source: ModelSource
    listing: Listing
    files: tuple[Remote, ...]

    @property
    def nbytes(self) -> int:
        return sum(remote.size for remote in self.files)


@dataclass(slots=True)
class _Order:
    """One model to download: its folder, the offers to try, and why earlier ones failed."""

    model: ReleasedModel
    folder: Path
    offers: Iterator[_Offer]
    refusals: list[str] = field(default_factory=list)


def download(
    models: Sequence[ReleasedModel],
    into: Path,
    sources: Sequence[ModelSource],
    *,
    force: bool = False,
    dry: bool = False,
    show: Show = lambda transfer: None,
    report: Report = lambda sentence: None,
) -> list[Downloaded]:
    """Download models into folders below `into`, from the first source that delivers.

    Raises InvalidOutput if the folder cannot be written, DownloadFailed if no source delivers
    (partial files are kept and resumed by the next call). `force` also fetches files that are
    present; `dry` only reports how much there is to fetch.
    """
    listings: dict[tuple[str, str], Listing] = {}
    orders = [_order(model, into, sources, listings, report) for model in models]
    offers = [next(order.offers) for order in orders]
    coming = [_missing(offer, into, force) for offer in offers]
    for offer, size in zip(offers, coming, strict=True):
        have = f"{gib(offer.nbytes)} in {len(offer.files)} files, {gib(size)} to come"
        report(f"{offer.model.name}: {have} from {offer.source.name}.")
    if len(offers) > 1:
        report(f"in all {gib(sum(offer.nbytes for offer in offers))}, {gib(sum(coming))} to come.")
    if dry:
        return []
    _room(into, sum(coming))
    counter = _Counter(sum(offer.nbytes for offer in offers), show)
    return [
        _bring(order, offer, counter, force, report)
        for order, offer in zip(orders, offers, strict=True)
    ]


class _Counter:
    """Counts the bytes present of all files of a download."""

    def __init__(self, total: int, show: Show) -> None:
        self.total, self.show, self.done = total, show, 0

    def of(self, model: str, file: str) -> Count:
        def count(more: int) -> None:
            self.done += more
            self.show(Transfer(model, file, self.done, self.total))

        return count


# --- offers ----------------------------------------------------------------------------------


def _order(
    model: ReleasedModel,
    into: Path,
    sources: Sequence[ModelSource],
    listings: dict[tuple[str, str], Listing],
    report: Report,
) -> _Order:
    order = _Order(model, into / model.name, iter(()))
    order.offers = _offers(order, sources, listings, report)
    return order


def _offers(
    order: _Order,
    sources: Sequence[ModelSource],
    listings: dict[tuple[str, str], Listing],
    report: Report,
) -> Iterator[_Offer]:
    """The model as offered by each source; sources are asked one after the other."""
    model = order.model
    for source in sources:
        try:
            key = (source.name, model.repo)
            if key not in listings:
                listings[key] = source.listing(model.repo)
            files = _wanted(model, listings[key].files, report)
            _check(model, files)
        except DownloadFailed as error:
            order.refusals.append(f"{source.name}: {error}")
            report(f"{model.name}: {source.name} does not deliver ({error})")
            continue
        yield _Offer(model, source, listings[key], files)
    raise DownloadFailed(_give_up(order, sources))


def _wanted(model: ReleasedModel, files: Sequence[Remote], report: Report) -> tuple[Remote, ...]:
    """The files of one model that we read: those directly in its folder, and those of folders
    within it that its kind names. No code."""
    prefix = f"{model.inside}/" if model.inside else ""
    chosen = []
    for remote in files:
        name = _name(model, remote)
        read = name.endswith(_WANTED) or name in (*_WANTED_NAMES, *model.kind.files)
        if not remote.path.startswith(prefix) or not read:
            continue
        if is_file_name(name) or name in model.kind.files:
            chosen.append(remote)
        elif ".." in name or "\\" in name or ":" in name:
            report(f"{model.name}: left out {remote.path!r}, no file of its folder.")
    return tuple(chosen)


def _name(model: ReleasedModel, remote: Remote) -> str:
    """The name of a file within the model's folder."""
    return remote.path.removeprefix(f"{model.inside}/" if model.inside else "")


def _check(model: ReleasedModel, files: Sequence[Remote]) -> None:
    names = {_name(model, remote) for remote in files}
    absent = [name for name in model.kind.files if name not in names]
    if model.kind.weights and not any(name.endswith(".safetensors") for name in names):
        absent.append(SINGLE[0])
    if absent:
        raise DownloadFailed(f"{model.repo} holds no {', '.join(absent)} for {model.name}.")
    same = same_file(_name(model, remote) for remote in files)
    if same is not None:
        raise DownloadFailed(f"{model.repo} holds {same[0]!r} and {same[1]!r}, one name twice.")


def _give_up(order: _Order, sources: Sequence[ModelSource]) -> str:
    """What failed, and what the user can do: check network and proxy, or download by hand."""
    # The text before an @ is a user name and a password.
    proxies = sorted((kind, url.rpartition("@")[2]) for kind, url in getproxies().items())
    shown = ", ".join(f"{kind} {place}" for kind, place in proxies if kind != "no")
    inside = f", folder {order.model.inside}" if order.model.inside else ""
    pages = " or ".join(source.page(order.model.repo) for source in sources)
    names = ", ".join(order.model.kind.files)
    return (
        f"{order.model.name} could not be downloaded. {' '.join(order.refusals)}\n"
        "  network: is it there, and does it reach these hosts? What has come is kept: the same "
        "command continues it.\n"
        f"  proxy: {shown or 'none is set'} (HTTPS_PROXY, ALL_PROXY, NO_PROXY); a mirror is named "
        "by HF_ENDPOINT, the other source by --source.\n"
        f"  by hand: put {names} and all .safetensors and .json files of {pages}{inside} into "
        f"{order.folder}, then run `acestep models verify {order.model.name}`."
    )


# --- files already present -------------------------------------------------------------------


def _missing(offer: _Offer, into: Path, force: bool) -> int:
    """Bytes still to be fetched."""
    needed = 0
    for remote in offer.files:
        target = into / offer.model.name / _name(offer.model, remote)
        candidates = [remote.part(target), *([] if force else [target])]
        have = max((path.stat().st_size for path in candidates if paths.is_file(path)), default=0)
        needed += max(remote.size - have, 0)
    return needed


def _room(into: Path, needed: int) -> None:
    """Raise before the first byte if the disk cannot hold what is still to be fetched."""
    place = into.absolute()
    while not paths.exists(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed and needed + _MARGIN > free:
        why = f"has {gib(free)} free, {gib(needed)} are still to come"
        allowed = f"a disk with {gib(needed + _MARGIN)} free"
        raise InvalidOutput("checkpoint_dir", into, why, allowed)


def _present(path: Path, remote: Remote) -> str | None:
    """SHA-256 of a file that already matches the source's; None if it must be fetched."""
    if not paths.is_file(path) or path.stat().st_size != remote.size:
        return None
    sha256 = sha256_of(path)
    return sha256 if remote.fault(path, sha256) is None else None


# --- downloading -----------------------------------------------------------------------------


def _bring(
    order: _Order, offer: _Offer, counter: _Counter, force: bool, report: Report
) -> Downloaded:
    """Download the model, from this offer or the ones after it."""
    while True:
        before = counter.done
        try:
            return _bring_from(offer, order.folder, counter, force, report)
        except DownloadFailed as error:
            order.refusals.append(f"{offer.source.name}: {error}")
            report(f"{order.model.name}: {offer.source.name} broke off ({error})")
            counter.done = before
            after = next(order.offers)
            counter.total += after.nbytes - offer.nbytes
            offer = after


def _bring_from(
    offer: _Offer, folder: Path, counter: _Counter, force: bool, report: Report
) -> Downloaded:
    with _alone(folder, offer.model.name, report):
        files, fetched = _known(folder, offer), 0
        for remote in offer.files:
            name = _name(offer.model, remote)
            count, target = counter.of(offer.model.name, name), folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            sha256 = None if force else _present(target, remote) or _linked(offer, remote, target)
            if sha256 is not None:
                count(remote.size)
            else:
                part = remote.part(target)
                had = part.stat().st_size if paths.is_file(part) else 0
                url = offer.source.url(offer.listing, remote)
                sha256 = fetch(offer.source.client, url, remote, target, count)
                fetched += max(remote.size - had, 0)
            files[name] = Kept(remote.size, sha256)
            # Written after each file, so that checked files stay known if the next one fails.
            listing = offer.listing
            manifest = Manifest(offer.source.name, listing.repo, listing.revision, files)
            write_manifest(folder, manifest)
    return Downloaded(
        offer.model.name, folder, offer.source.name, offer.listing.revision,
        len(offer.files), offer.nbytes, fetched,
    )  # fmt: skip


def _known(folder: Path, offer: _Offer) -> dict[str, Kept]:
    """The entries of the folder's manifest for the files on offer."""
    try:
        old = read_manifest(folder)
    except InvalidFile:
        old = None  # the manifest only saves work, and is written again
    names = {_name(offer.model, remote) for remote in offer.files}
    return {name: entry for name, entry in old.files.items() if name in names} if old else {}


def _linked(offer: _Offer, remote: Remote, target: Path) -> str | None:
    """Hard-link a file that the source's own tools fetched; None if it has no matching one."""
    cached = offer.source.cached(offer.listing, remote)
    sha256 = _present(cached, remote) if cached is not None else None
    if cached is None or sha256 is None:
        return None
    try:
        target.unlink(missing_ok=True)
        target.hardlink_to(paths.resolved(cached))
    except OSError:
        return None  # another disk, or no links: fetching it always works
    return sha256


@contextmanager
def _alone(folder: Path, model: str, report: Report) -> Iterator[None]:
    """Create the folder and lock out other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(f"{model}: another process is downloading it; waiting for that one.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise unwritable(folder, error) from error
