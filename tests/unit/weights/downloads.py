"""The two sources at a server on this machine, and what a whole model folder is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headroom.models.acestep.catalogue import CATALOGUE
from headroom.weights import fetch
from headroom.weights.client import Client, Patience
from headroom.weights.sources import HuggingFace, ModelScope, ModelSource
from headroom.weights.verify import verify
from unit.weights.folders import MODELS, model_files
from unit.weights.hub import Hub

QUICK = Patience(first=0.001, most=0.01, byte=5)
TURBO = "acestep-v15-turbo"
XL = "acestep-v15-xl-turbo"


def hugging_face(hub: Hub, token: str | None = None) -> HuggingFace:
    return HuggingFace(hub.url, Client(token, QUICK))


def modelscope(hub: Hub) -> ModelScope:
    return ModelScope(hub.url, Client(None, QUICK))


def download(
    names: Sequence[str], into: Path, sources: Sequence[ModelSource], **more: Any
) -> list[fetch.Downloaded]:
    """Download released models by name."""
    return fetch.download([CATALOGUE.to_download(name) for name in names], into, sources, **more)


def assert_whole(folder: Path, name: str) -> None:
    wanted = {k: v for k, v in model_files(name).items() if not k.endswith(".py")}
    found = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}
    assert found == wanted
    assert not list(folder.glob("*.part"))
    assert verify(folder, MODELS[name].kind).faults == ()
