"""Hugging Face and ModelScope: what a repository holds, and where a file of it is.

Only these two read the services' answers. Source: the services' public HTTP interfaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode, urljoin

from headroom import paths
from headroom.errors import DownloadFailed
from headroom.weights.client import Client
from headroom.weights.transfer import Remote

MODELSCOPE = "https://modelscope.cn"
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one revision."""

    repo: str
    revision: str
    files: tuple[Remote, ...]


class Source(Protocol):
    """A place models are published at."""

    @property
    def name(self) -> str: ...
    @property
    def client(self) -> Client: ...
    def listing(self, repo: str) -> Listing:
        """Everything in a repository. Raises DownloadFailed."""
        ...

    def url(self, listing: Listing, remote: Remote) -> str: ...
    def cached(self, repo: str, remote: Remote) -> Path | None:
        """Where the source's own programs may have put the same file on this machine."""
        ...


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """huggingface.co, or the mirror that HF_ENDPOINT names; the revision is pinned to a commit."""

    endpoint: str
    client: Client = field(default_factory=Client)
    cache: Path | None = None
    revision: str = "main"
    name: str = field(default="Hugging Face", init=False)

    def listing(self, repo: str) -> Listing:
        api = f"{self.endpoint}/api/models/{repo}"
        commit = _text(_object(self.client.json(f"{api}/revision/{self.revision}")[0], api), "sha")
        files: list[Remote] = []
        page: str | None = f"{api}/tree/{commit}?recursive=true"
        while page:
            rows, headers = self.client.json(page)
            files += _remotes(rows, page)
            following = _NEXT.search(str(headers.get("Link", "")))
            page = urljoin(page, following[1]) if following else None
        return Listing(repo, commit, tuple(files))

    def url(self, listing: Listing, remote: Remote) -> str:
        return f"{self.endpoint}/{listing.repo}/resolve/{listing.revision}/{quote(remote.path)}"

    def cached(self, repo: str, remote: Remote) -> Path | None:
        if self.cache is None or remote.sha256 is None:
            return None
        blob = self.cache / f"models--{repo.replace('/', '--')}" / "blobs" / remote.sha256
        return blob if paths.is_file(blob) else None


@dataclass(frozen=True, slots=True)
class ModelScope:
    """modelscope.cn. It takes no token of another service."""

    endpoint: str = MODELSCOPE
    client: Client = field(default_factory=Client)
    name: str = field(default="ModelScope", init=False)

    def listing(self, repo: str) -> Listing:
        url = f"{self.endpoint}/api/v1/models/{repo}/repo/files?Revision=master&Recursive=true"
        answer = _object(self.client.json(url)[0], url)
        data = answer.get("Data")
        rows = data.get("Files") if isinstance(data, dict) else None
        if not isinstance(rows, list):
            message = str(answer.get("Message") or "no list of files")[:120]
            raise DownloadFailed(f"{url}: {message}.")
        files = []
        for row in (_object(row, url) for row in rows):
            if row.get("Type") == "blob":
                sha256 = _checksum(row.get("Sha256"), _SHA256)
                files.append(Remote(_text(row, "Path"), _count(row, "Size"), sha256))
        return Listing(repo, "master", tuple(files))

    def url(self, listing: Listing, remote: Remote) -> str:
        query = urlencode({"Revision": listing.revision, "FilePath": remote.path})
        return f"{self.endpoint}/api/v1/models/{listing.repo}/repo?{query}"

    def cached(self, repo: str, remote: Remote) -> Path | None:
        return None


def sources(preference: str = "auto", token: str | None = None) -> tuple[Source, ...]:
    """The sources to try, in order. Raises DownloadFailed where HF_HUB_OFFLINE is set."""
    # Imported here, for it is slow: it knows where token, cache and mirror are said.
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise DownloadFailed("HF_HUB_OFFLINE is set: nothing is downloaded.")
    hugging_face = HuggingFace(
        constants.ENDPOINT, Client(token or get_token()), Path(constants.HF_HUB_CACHE)
    )
    both: dict[str, tuple[Source, ...]] = {
        "auto": (hugging_face, ModelScope(MODELSCOPE)),
        "huggingface": (hugging_face,),
        "modelscope": (ModelScope(MODELSCOPE),),
    }
    return both[preference]


def _remotes(rows: object, url: str) -> Iterator[Remote]:
    if not isinstance(rows, list):
        raise DownloadFailed(f"{url}: no list of files.")
    for row in (_object(row, url) for row in rows):
        if row.get("type") != "file":
            continue
        large = row.get("lfs")
        if isinstance(large, Mapping):
            sha256 = _checksum(large.get("oid"), _SHA256)
            yield Remote(_text(row, "path"), _count(large, "size"), sha256)
        else:
            git_sha1 = _checksum(row.get("oid"), _SHA1)
            yield Remote(_text(row, "path"), _count(row, "size"), None, git_sha1)


def _object(value: object, url: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DownloadFailed(f"{url}: answered {str(value)[:80]!r} where an object was expected.")
    return value


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise DownloadFailed(f"the listing says {value!r} for {name}.")
    return value


def _count(row: Mapping[str, object], name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DownloadFailed(f"the listing says {value!r} for {name}.")
    return value


def _checksum(value: object, form: re.Pattern[str]) -> str | None:
    text = str(value or "").lower()
    return text if form.fullmatch(text) else None
