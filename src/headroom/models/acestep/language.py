"""A planner language model's folder: its sizes, its words, and how it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.memory.tiers import lm_size
from headroom.models.acestep.config import TextEncoderConfig, read_json, text_encoder_config
from headroom.models.acestep.encoders import layer_sizes
from headroom.models.acestep.lm_words import Words
from headroom.models.acestep.sheet_grammar import SheetWords
from headroom.nn.causal import CausalLM
from headroom.weights import catalog
from headroom.weights.blank import shapes_only
from headroom.weights.load import Checkpoint, check_complete, load


class Language:
    """One folder. Opening it reads headers and configs only; InvalidCheckpoint names its faults."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        raw = read_json(folder)
        kind = raw.get("model_type")
        if kind != "qwen3":
            why = f"config.json: model_type is {kind!r}; a language model here is 'qwen3'"
            raise InvalidCheckpoint(folder, [why])
        self.config: TextEncoderConfig = text_encoder_config(raw, folder)
        with shapes_only():
            check_complete(self._file, {"": self._built()}, unused=("lm_head.weight",))

    @cached_property
    def words(self) -> Words:
        """Its vocabulary. Raises InvalidCheckpoint."""
        words = Words.open(self.folder)
        if words.codes.stop > self.config.vocabulary:
            why = (
                f"tokenizer.json: codes up to {words.codes.stop}, and {self.config.vocabulary} rows"
            )
            raise InvalidCheckpoint(self.folder, [why])
        return words

    @cached_property
    def sheets(self) -> SheetWords:
        """What grammars of its vocabulary share."""
        return SheetWords(self.words)

    def load(self, dtype: torch.dtype) -> nn.Module:
        """The network, its weights mapped."""
        with shapes_only():
            module = self._built()
        load(module, self._file, prefix="", unused={"lm_head.weight"}, dtype=dtype, recipes=None)
        return module

    def _built(self) -> CausalLM:
        return CausalLM(layer_sizes(self.config.sizes), self.config.layers, self.config.vocabulary)

    @cached_property
    def _file(self) -> Checkpoint:
        return Checkpoint.open(self.folder)


def find_language(
    items: Iterable[catalog.Installed], name: str | None, sizes: Sequence[str], bundled: bool
) -> catalog.Installed | None:
    """The language model to use: the one that is named, else the first of the sizes that is here,
    else the bundled one, to a bundled model only. None: there is none.

    Raises WeightsMissing for a name that is not here, InvalidCheckpoint for one that is torn.
    """
    every = [item for item in items if item.kind == "lm"]
    if name is not None:
        found = next((item for item in every if item.name == name), None)
        if found is None:
            how = f"fetch it with `acestep models download {name}`"
            if name not in catalog.MODELS:
                how = "`acestep models list` shows what can be fetched"
            raise WeightsMissing(name, [str(item.folder.parent) for item in every], how)
        if found.faults:
            raise InvalidCheckpoint(found.folder, list(found.faults))
        return found
    whole = [item for item in every if item.whole and not item.bundled]
    for size in sizes:
        found = next((item for item in whole if lm_size(item.name) == size), None)
        if found is not None:
            return found
    return next((item for item in every if item.bundled and item.whole and bundled), None)
