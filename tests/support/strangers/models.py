"""Files of models: configs and tokenizers."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from headroom.models.acestep.catalogue import BUNDLED, CATALOGUE
from headroom.models.acestep.networks.checks import read_sizes
from headroom.models.acestep.text.lyric_tokens import lyric_tokens
from headroom.models.acestep.text.prompts import PromptTokenizer, lyric_prompt
from headroom.nn.config_fields import LARGEST, VOCABULARY
from support.strangers.door import Wrong
from support.strangers.words import (
    as_bytes,
    changed,
    json_text,
    text,
    torn,
)
from support.tokenizer import byte_tokenizer

_FOLDERS = ("acestep-v15-nano", "Qwen3-Embedding-0.6B", "vae")


@cache
def _configs() -> tuple[str, ...]:
    return tuple((BUNDLED / name / "config.json").read_text("utf-8") for name in _FOLDERS)


def config(rng: Random) -> Any:
    """Which of the three configs is odd, and its bytes."""
    which = rng.randrange(3)
    names = (
        *json.loads(_configs()[which]), "encoder_hidden_size", "rope_parameters", "layer_types",
        "use_sliding_window", "is_turbo",
        "model_version", "in_channels", "fsq_input_levels", "rope_theta", "is_lego_sft",
    )  # fmt: skip
    found = changed(rng, json.loads(_configs()[which]), names)
    return which, torn(rng, as_bytes(json_text(rng, found)))


def take_config(case: Any, folder: Path) -> None:
    which, raw = case
    for number, name in enumerate(_FOLDERS):
        (folder / name).mkdir()
        (folder / name / "config.json").write_bytes(
            raw if number == which else as_bytes(_configs()[number])
        )
    (folder / "renamed").mkdir()
    (folder / "renamed" / "config.json").write_bytes(raw)
    list(replace(CATALOGUE, bundled=None).installed([folder]))
    CATALOGUE.check_place(folder)
    for found in read_sizes(*(folder / name for name in _FOLDERS)):
        for number in _numbers(found):
            if not 0 <= number <= max(LARGEST, VOCABULARY, 1e12):
                raise Wrong(f"a size of {number}")


def _numbers(found: Any) -> list[float]:
    if is_dataclass(found):
        return [n for f in fields(found) for n in _numbers(getattr(found, f.name))]
    if isinstance(found, tuple):
        return [n for one in found for n in _numbers(one)]
    return [found] if isinstance(found, int | float) else []


# --- tokenizers --------------------------------------------------------------------------------


@cache
def _tokenizer() -> str:
    return byte_tokenizer().to_str()


def tokenizer(rng: Random) -> Any:
    """The bytes of tokenizer.json, and words for it."""
    found = json.loads(_tokenizer())
    if rng.random() < 0.8:
        found = changed(rng, found, tuple(found))
    said = (
        json_text(rng, found)
        if rng.random() < 0.5
        else json.dumps(found, default=str)
        if _plain(found)
        else "{}"
    )
    return torn(rng, as_bytes(said)), text(rng, 3000)


def _plain(found: Any) -> bool:
    try:
        json.dumps(found)
    except (ValueError, RecursionError):
        return False
    return True


def take_tokenizer(case: Any, folder: Path) -> None:
    raw, said = case
    (folder / "tokenizer.json").write_bytes(raw)
    opened = PromptTokenizer.open(folder, rows=300)
    said = said.encode("utf-8", "replace").decode()  # as requests have it
    prompt = lyric_prompt("en", said)
    ids = opened.lyrics(prompt)
    spans = opened.lyric_spans(prompt)
    if len(ids) != len(spans) or any(not 0 <= number < 300 for number in ids):
        raise Wrong(f"{len(ids)} ids, {len(spans)} spans")
    lyric_tokens(prompt, spans)
