"""Files that a person names: sidecars of songs, requests, genres, examples, figures, texts."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from headroom.cli import config_file, generate
from headroom.cli.generate import read_requests
from headroom.engine import provenance
from headroom.models.acestep.requests import examples
from headroom.models.acestep.requests.songs import TASKS, request_from
from headroom.models.base import AnyModel
from headroom.params.flags import text_of
from headroom.profiler import compare
from support.strangers.door import Wrong
from support.strangers.words import as_bytes, changed, json_text, mangled, torn, value

_SONG: dict[str, Any] = {
    "format": 1, "family": "acestep", "model": "acestep-v15-nano",
    "requests": [{"kind": "Text2Music", "values": {"caption": "a"}, "set_fields": ["caption"]}],
    "song": 0, "seed": 7,
    "numerics": {
        "dtype": "float32", "compiled": False, "threads": 2, "matmul": "highest",
        "cuts": [{"stage": "decode", "pieces": 2, "tile": 128}], "converted": {"dit": "int8"},
        "on_host": ["text_encoder"],
    },
    "device": "cpu", "device_kind": "cpu", "isa": "AVX2", "versions": {"torch": "2.13.0"},
    "weights": [{"folder": "vae", "name": "config.json", "size": 3, "sha256": "00"}],
    "sources": [{"field": "source_audio", "path": "song.wav", "sha256": "0" * 64}],
}  # fmt: skip


def sidecar(rng: Random) -> Any:
    """The bytes of a song's sidecar."""
    found = {"provenance": json.loads(json.dumps(_SONG))}
    if rng.random() < 0.6:
        found["provenance"]["sources"] = []
    return torn(rng, as_bytes(json_text(rng, changed(rng, found, tuple(_SONG)))))


def take_sidecar(case: Any, folder: Path) -> None:
    path = folder / "song.json"
    path.write_bytes(case)
    found = provenance.read(path)
    if provenance.Provenance.model_validate(found.model_dump()) != found:
        raise Wrong("another sidecar when it is read again")
    found.wished()
    list(provenance.differences(found, found))
    provenance.requests_of(found, cast("AnyModel", SimpleNamespace(requests=tuple(TASKS.values()))))
    provenance.check_sources(found)


_LINES = (
    'caption = "a slow song"\nduration = 30\nseeds = [1, 2]\nthinking = true\n[a]\nb = 1',
    'backend = "pt"\nlyrics = "words.txt"\noffload_to_cpu = true\nsave_dir = ""\nbpm = 1_2.0e1',
    '{"caption": "a slow song", "duration": 30}\n{"caption": "b", "task": "text2music"}\n',
    "rock\npop\n\nbossa nova\n",
    '{"format": 1, "mode": "profile", "profile": {"wall": 1.0, "parts": {}}, "machine": {}}',
    '{"caption": "a", "lyrics": "[Verse]\\nla", "bpm": 120, "keyscale": "C major"}',
)


def texts(rng: Random) -> Any:
    """The bytes of a file that a person named, and which door it comes to."""
    said = mangled(rng, rng.choice(_LINES)) if rng.random() < 0.8 else json_text(rng, value(rng))
    return rng.choice(list(_READERS)), torn(rng, as_bytes(said))


def _genres(path: Path) -> object:
    from headroom.models.acestep.language.folder import read_genres  # brings torch

    return read_genres(path)


def _config(path: Path) -> object:
    found = config_file.read(path, generate.whole_parser())
    return request_from(found.under({"caption": "x"}, None))


_READERS: dict[str, Any] = {
    "requests": read_requests,
    "genres": _genres,
    "config": _config,
    "compare": lambda path: compare.compared(compare.read(path), compare.read(path)),
    "example": lambda path: examples.filled({"caption": "x"}, path),
    "@": lambda path: text_of("lyrics", f"@{path}"),
}


def take_texts(case: Any, folder: Path) -> None:
    door, raw = case
    path = folder / "x.json"
    path.write_bytes(raw)
    _READERS[door](path)
