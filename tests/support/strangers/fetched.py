"""What sources of models answer, and what a download wrote down of it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, cast

from headroom.errors import DownloadFailed
from headroom.files import parse_json
from headroom.models.acestep.catalogue import CATALOGUE, VAE_KIND
from headroom.weights.client import Client
from headroom.weights.fetch import download
from headroom.weights.manifest import NAME, read_manifest
from headroom.weights.names import is_file_name
from headroom.weights.sources import HuggingFace, ModelScope, ModelSource
from headroom.weights.transfer import Remote
from headroom.weights.verify import verify
from support.strangers.door import Wrong
from support.strangers.words import TOKENS, as_bytes, changed, json_text, torn

_HOST = "https://hub.invalid"
_MODEL = "vae"


def listing(rng: Random) -> Any:
    """Which source, and its answers in turn: bytes, and where the next page is."""
    names = [
        *CATALOGUE.models[_MODEL].kind.files,
        "diffusion_pytorch_model.safetensors",
        "README.md",
    ]
    names += [rng.choice(TOKENS) + rng.choice(("", ".json", ".safetensors"))] * rng.randint(0, 1)
    name = rng.choice(("Hugging Face", "ModelScope"))
    if name == "ModelScope":
        rows = [
            {"Type": "blob", "Path": f"vae/{n}", "Size": 300, "Sha256": "ab" * 32} for n in names
        ]
        return name, [(_bytes(rng, {"Code": 200, "Data": {"Files": rows}, "Message": ""}), None)]
    tree: list[Any] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "vae"}]
    tree += [{"type": "file", "oid": "c0" * 20, "size": 300, "path": f"vae/{n}"} for n in names]
    tree[-2]["lfs"] = {"oid": "ab" * 32, "size": 10**9}
    about = (
        _bytes(rng, {"id": "x/y", "sha": "c0ff" * 10})
        if rng.random() < 0.1
        else b'{"sha": "' + b"c0ff" * 10 + b'"}'
    )
    pages = [(about, None)]
    for _ in range(rng.choice((1, 1, 1, 2, 101))):
        link = f"{_HOST}/x?cursor=1" if rng.random() < 0.9 else rng.choice((*TOKENS, "file:///x"))
        pages.append((_bytes(rng, tree) if len(pages) < 3 else pages[-1][0], link))
    if rng.random() < 0.9:
        pages[-1] = (pages[-1][0], None)
    return name, pages


def _bytes(rng: Random, found: Any) -> bytes:
    names = ("lfs", "oid", "size", "path", "type", "Path", "Size", "sha", "Message")
    said = json_text(rng, changed(rng, json.loads(json.dumps(found)), names))
    return torn(rng, as_bytes(said)) if rng.random() < 0.2 else as_bytes(said)


class _Told:
    """In a client's place: what was drawn, read as a client reads it."""

    def __init__(self, answers: list[tuple[bytes, str | None]]) -> None:
        self._answers = iter(answers)
        self._last = answers[-1]

    def json(self, url: str) -> tuple[object, str | None]:
        if not url.startswith(_HOST):
            raise Wrong(f"asks {url[:100]!r}")
        data, following = next(self._answers, self._last)
        try:
            return parse_json(data), following
        except ValueError as error:
            raise DownloadFailed(f"{url}: answered with something that is no JSON.") from error


def take_listing(case: Any, folder: Path) -> None:
    name, answers = case
    client = cast("Client", _Told(answers))
    kind: type[ModelSource] = HuggingFace if name == "Hugging Face" else ModelScope
    source = kind(_HOST, client)
    said: list[str] = []
    seen = list[Remote]()

    class Listed(kind):  # type: ignore[valid-type, misc]
        def listing(self, repo: str) -> Any:
            found = super().listing(repo)
            seen.extend(found.files)
            return found

    source = Listed(_HOST, client)
    download([CATALOGUE.models[_MODEL]], folder, [source], dry=True, report=said.append)
    for remote in seen:
        if remote.size < 0 or isinstance(remote.size, bool):
            raise Wrong(f"a size of {remote.size}")
    if list(folder.iterdir()):
        raise Wrong("files of a download that is only looked at")


def manifest(rng: Random) -> Any:
    """The bytes of a manifest."""
    rows = [{"file": n, "size": 2, "sha256": "ab" * 32} for n in ("config.json", "a.safetensors")]
    found = {"source": "Hugging Face", "repo": "x/y", "revision": "c0ff" * 10, "files": rows}
    return torn(rng, as_bytes(json_text(rng, changed(rng, found, ("file", "size", "sha256")))))


def take_manifest(case: Any, folder: Path) -> None:
    (folder / NAME).write_bytes(case)
    (folder / "config.json").write_text("{}", "utf-8")
    for fault in verify(folder, VAE_KIND).faults:
        if "\n" in fault or len(fault) > 1000:
            raise Wrong(f"an odd fault: {fault[:300]!r}")
    found = read_manifest(folder)
    if found is None or not all(map(is_file_name, found.files)):
        raise Wrong("a name that is no file's of the folder")
