"""List a repository's files on Hugging Face or ModelScope, and find their addresses.

Only these two classes parse the services' responses. Listings do not go through HfApi, which
follows a page's `Link` to any host with the token, without a limit. Source: the services' HTTP
interfaces.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode

import httpx2
from huggingface_hub import constants, get_token, try_to_load_from_cache

from headroom.errors import DownloadFailed, shown
from headroom.weights.client import Client, origin
from headroom.weights.transfer import Remote

MODELSCOPE = "https://modelscope.cn"
_HUGGING_FACE = "https://huggingface.co"
_REVISION = "main"
_PAGES = 100
_LONGEST_URL = 1000  # characters of an address; ours have about a hundred
_LARGEST = 1 << 50  # bytes of a file
_FILES = 20_000  # a hundred times as many as in the largest of the repositories
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one revision."""

    repo: str
    revision: str
    files: tuple[Remote, ...]


@dataclass(frozen=True, slots=True)
class ModelSource(ABC):
    """A service that publishes models."""

    endpoint: str
    client: Client = field(default_factory=Client)
    name: ClassVar[str]

    @abstractmethod
    def listing(self, repo: str) -> Listing:
        """Everything in a repository. Raises DownloadFailed."""

    @abstractmethod
    def page(self, repo: str) -> str:
        """The web page that shows the repository's files."""

    @abstractmethod
    def url(self, listing: Listing, remote: Remote) -> str: ...
    def cached(self, listing: Listing, remote: Remote) -> Path | None:
        """Where the source's own tools stored the same file on this machine; None: they did not."""
        return None


@dataclass(frozen=True, slots=True)
class HuggingFace(ModelSource):
    """huggingface.co, or the mirror that HF_ENDPOINT names; the revision is pinned to a commit."""

    cache: Path | None = None
    name = "Hugging Face"

    def listing(self, repo: str) -> Listing:
        api = f"{self.endpoint}/api/models/{repo}"
        about, _ = self.client.json(f"{api}/revision/{_REVISION}")
        commit = _checksum(_field(about, "sha", str), _SHA1)
        if commit is None:
            raise DownloadFailed(f"{api}: names no commit.")
        page, files = f"{api}/tree/{commit}?recursive=true", list[Remote]()
        for _ in range(_PAGES):
            rows, following = self.client.json(page)
            files += _remotes(rows)
            if following is None:
                return Listing(repo, commit, tuple(files))
            page = self._same_host(page, following)
            if len(files) > _FILES:
                break
        raise DownloadFailed(f"{api}: the listing does not end (over {len(files)} files).")

    def page(self, repo: str) -> str:
        return f"{self.endpoint}/{repo}/tree/{_REVISION}"

    def url(self, listing: Listing, remote: Remote) -> str:
        return f"{self.endpoint}/{listing.repo}/resolve/{listing.revision}/{quote(remote.path)}"

    def cached(self, listing: Listing, remote: Remote) -> Path | None:
        if self.cache is None:
            return None
        path = try_to_load_from_cache(
            listing.repo, remote.path, cache_dir=self.cache, revision=listing.revision
        )
        return Path(path) if isinstance(path, str) else None

    def _same_host(self, page: str, following: str) -> str:
        if following.startswith(f"{_HUGGING_FACE}/"):  # as a mirror passes it on
            following = self.endpoint + following.removeprefix(_HUGGING_FACE)
        try:
            if len(following) > _LONGEST_URL:
                raise DownloadFailed(f"{page}: the next page is at {shown(following)}.")
            target = httpx2.URL(page).join(following)
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise DownloadFailed(f"{page}: the next page is at {shown(following)}.") from error
        if origin(target) != origin(httpx2.URL(page)):
            raise DownloadFailed(f"{page}: the next page is elsewhere, at {shown(following)}.")
        return str(target)


class ModelScope(ModelSource):
    """modelscope.cn. It accepts no token of another service."""

    name = "ModelScope"

    def listing(self, repo: str) -> Listing:
        url = f"{self.endpoint}/api/v1/models/{repo}/repo/files?Revision=master&Recursive=true"
        answer, _ = self.client.json(url)
        match answer:
            case {"Data": {"Files": list(rows)}} if len(rows) <= _FILES:
                return Listing(repo, "master", tuple(_blobs(rows)))
            case {"Message": str(message)}:
                raise DownloadFailed(f"{url}: {message[:120]!r}.")
            case _:
                raise DownloadFailed(f"{url}: answered no list of files.")

    def page(self, repo: str) -> str:
        return f"{self.endpoint}/models/{repo}/files"

    def url(self, listing: Listing, remote: Remote) -> str:
        query = urlencode({"Revision": listing.revision, "FilePath": remote.path})
        return f"{self.endpoint}/api/v1/models/{quote(listing.repo)}/repo?{query}"


def sources(preference: str = "auto", token: str | None = None) -> tuple[ModelSource, ...]:
    """The sources to try, in order. Raises DownloadFailed if HF_HUB_OFFLINE is set."""
    if constants.is_offline_mode():
        raise DownloadFailed("HF_HUB_OFFLINE is set: nothing is downloaded.")
    client, cache = Client(token or get_token()), Path(constants.HF_HUB_CACHE)
    hugging_face = HuggingFace(constants.ENDPOINT, client, cache)
    places = {"huggingface": hugging_face, "modelscope": ModelScope(MODELSCOPE)}
    return tuple(places.values()) if preference == "auto" else (places[preference],)


def _remotes(rows: object) -> Iterator[Remote]:
    if not isinstance(rows, list):
        raise DownloadFailed("the listing is not a list of files.")
    for row in rows:
        if _field(row, "type", str) == "file":
            path = _field(row, "path", str)
            large = row.get("lfs")
            if isinstance(large, Mapping):
                yield Remote(path, _size(large, "size"), _checksum(large.get("oid"), _SHA256))
            else:
                git_sha1 = _checksum(row.get("oid"), _SHA1)
                yield Remote(path, _size(row, "size"), None, git_sha1)


def _blobs(rows: list[Any]) -> Iterator[Remote]:
    for row in rows:
        if _field(row, "Type", str) == "blob":
            sha256 = _checksum(row.get("Sha256"), _SHA256)
            yield Remote(_field(row, "Path", str), _size(row, "Size"), sha256)


def _field(row: object, name: str, kind: type[_T]) -> _T:
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, kind) or value == "":
        raise DownloadFailed(f"the listing says {str(value)[:80]!r} for {name}.")
    return value


def _size(row: object, name: str) -> int:
    value = _field(row, name, int)
    if isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise DownloadFailed(f"the listing says {shown(value)} for {name}.")
    return value


def _checksum(value: object, form: re.Pattern[str]) -> str | None:
    text = str(value or "").lower()
    return text if form.fullmatch(text) else None
