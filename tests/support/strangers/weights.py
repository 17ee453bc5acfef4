"""Files of weights: headers and indices."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

from headroom.errors import HeadroomError
from headroom.models.acestep.catalogue import VAE_KIND
from headroom.weights.catalog import inspect
from headroom.weights.checkpoint import Checkpoint
from support.strangers.door import Wrong
from support.strangers.words import as_bytes, changed, json_text, power, torn

_FILE = "model.safetensors"

_ENTRIES = {
    "__metadata__": {"format": "pt"},
    "proj.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]},
    "proj.bias": {"dtype": "BF16", "shape": [4], "data_offsets": [48, 56]},
    "count": {"dtype": "I64", "shape": [1], "data_offsets": [56, 64]},
}


def header(rng: Random) -> Any:
    """The bytes of a file of weights, or of an index of several, and the name it has."""
    if rng.random() < 0.2:
        index = {
            "metadata": {},
            "weight_map": {"a": "x-00001-of-00002.safetensors", "b": "y.safetensors"},
        }
        return f"{_FILE}.index.json", torn(rng, as_bytes(json_text(rng, changed(rng, index))))
    entries = changed(rng, json.loads(json.dumps(_ENTRIES)), ("module.a", "_orig_mod.a", "model.a"))
    if rng.random() < 0.01 and isinstance(entries, dict):
        entries |= {f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [64, 64]}
                    for n in range(power(rng, 30_000))}  # fmt: skip
    head = as_bytes(json_text(rng, entries))
    length = (
        len(head) if rng.random() < 0.9 else rng.choice((0, 1, 7, 1 << 20, 1 << 40, (1 << 64) - 1))
    )
    data = rng.randbytes(64 if rng.random() < 0.9 else rng.choice((0, 63, 65, 200)))
    name = rng.choice(
        (_FILE, _FILE, "model-00001-of-00002.safetensors", "a-00001-of-99999.safetensors")
    )
    return name, torn(rng, struct.pack("<Q", length) + head + data)


def take_header(case: Any, folder: Path) -> None:
    name, raw = case
    (folder / name).write_bytes(raw)
    (folder / "config.json").write_text("{}", "utf-8")
    faults = inspect(folder, VAE_KIND)
    try:
        checkpoint = Checkpoint.open(folder)
    except HeadroomError:
        if not faults:
            # Names that are there twice are looked for where weights are read.
            Checkpoint.open(folder)
        raise
    for key in list(checkpoint.stored)[:20]:
        if checkpoint.tensor(key).nbytes != checkpoint.read(key).nbytes:
            raise Wrong(f"{key!r:.100} has two sizes")
    checkpoint.close()
