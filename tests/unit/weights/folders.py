"""Small model folders for the tests of the catalog, of downloads and of the command line."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headroom.models.acestep.catalogue import CATALOGUE
from headroom.weights.catalog import Installed, ReleasedModel
from unit.weights.hub import COMMIT

MODELS = CATALOGUE.models


def safetensors(values: int, name: str = "w") -> bytes:
    """A whole safetensors file of one row of numbers."""
    head = json.dumps(
        {name: {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}
    ).encode()
    return (
        struct.pack("<Q", len(head))
        + head
        + bytes(range(256)) * (values // 64)
        + bytes(4 * (values % 64))
    )


def model_files(name: str, values: int = 640) -> dict[str, bytes]:
    """The files of a released model, small; XL ones in two shards."""
    kind = MODELS[name].kind.name
    config = {"model_type": "acestep", "audio_acoustic_hidden_dim": 64, "is_turbo": True}
    files = {"config.json": json.dumps(config if kind == "dit" else {"kind": kind}).encode()}
    if kind == "dit":
        files |= {"silence_latent.pt": b"silence" * 9, "modeling_acestep.py": b"raise SystemExit"}
    if kind in ("lm", "text_encoder"):
        files |= {"tokenizer.json": b"{}", "merges.txt": b"#"}
    if "-xl-" in name:
        shards = {f"w{i}": f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)}
        files["model.safetensors.index.json"] = json.dumps({"weight_map": shards}).encode()
        files |= {shard: safetensors(values, key) for key, shard in shards.items()}
    elif kind == "vae":
        files["diffusion_pytorch_model.safetensors"] = safetensors(values)
    else:
        files["model.safetensors"] = safetensors(values)
    return files


def installed(dirs: Iterable[Path], bundled: Path | None = None) -> list[Installed]:
    """The models below the folders; the program's own ones are left out."""
    return replace(CATALOGUE, bundled=bundled).installed(dirs)


def put(place: Path, name: str, as_name: str | None = None) -> Path:
    """A whole model folder below `place`."""
    folder = place / (as_name or name)
    folder.mkdir(parents=True)
    for file, data in model_files(name).items():
        (folder / file).write_bytes(data)
    return folder


def cached(
    cache: Path, model: ReleasedModel, files: dict[str, bytes], commit: str = COMMIT
) -> Path:
    """A model as huggingface_hub keeps it: blobs, a snapshot of links to them, and `main`."""
    repo = cache / f"models--{model.repo.replace('/', '--')}"
    folder = repo / "snapshots" / commit / model.inside
    for place in (repo / "blobs", repo / "refs", folder):
        place.mkdir(parents=True, exist_ok=True)
    (repo / "refs" / "main").write_text(commit)
    for name, data in files.items():
        blob = repo / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (folder / name).symlink_to(os.path.relpath(blob, folder))
    return repo / "snapshots" / commit


def published() -> dict[str, dict[str, bytes]]:
    """The repositories of all released models, with what else lies in them."""
    repos: dict[str, dict[str, bytes]] = {}
    for name, model in MODELS.items():
        if not model.repo:
            continue
        files = repos.setdefault(model.repo, {"README.md": b"# hi", ".gitattributes": b"*"})
        inside = f"{model.inside}/" if model.inside else ""
        files |= {f"{inside}{file}": data for file, data in model_files(name).items()}
    return repos
