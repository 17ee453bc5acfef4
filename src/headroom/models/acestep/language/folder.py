"""A planner language model's folder: its sizes, its vocabulary, and how it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from headroom import paths
from headroom.errors import (
    InvalidCheckpoint,
    InvalidFile,
    LanguageModelFailed,
    WeightsMissing,
)
from headroom.files import LINES_BYTES, read_text
from headroom.hardware.machine import DType
from headroom.models.acestep.catalogue import CATALOGUE, LM_KIND
from headroom.models.acestep.language.lm_sizes import of_size
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet_grammar import SheetWords
from headroom.models.acestep.networks.checks import spare_note
from headroom.models.acestep.networks.config import TextEncoderConfig, text_encoder_config
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.text.tokenizer_file import check_rows
from headroom.models.acestep.tiers import lm_size
from headroom.nn.causal import CausalLM
from headroom.nn.config_fields import read_config
from headroom.params.clamp import Note
from headroom.weights import catalog
from headroom.weights.load import Checkpoint, check_complete, load_weights
from headroom.weights.meta_modules import shapes_only

MOST_GENRES = 500_000
GENRES = "genres_vocab.txt"  # in the model's folder, if present: one genre choice per line


def read_genres(path: Path) -> tuple[str, ...]:
    """The lines of a list of genres, at most 500,000. Raises InvalidFile."""
    lines = read_text(path, LINES_BYTES).splitlines()
    if len(lines) > MOST_GENRES:
        raise InvalidFile(path, f"has {len(lines)} lines; up to {MOST_GENRES} are read")
    return tuple(line.strip() for line in lines if line.strip())


class Language:
    """One folder. Opening it reads only headers and configs; InvalidCheckpoint names its faults.

    genres the genres it may name; (): those listed in its folder, or any if it has no list
    dtype  the type it computes in: the one asked for, but never float16, which ends at 65504. Its
           activations reach two million where a turn begins (measured on the released models).
    """

    def __init__(self, name: str, folder: Path, dtype: DType, genres: Sequence[str] = ()) -> None:
        self._genres = tuple(genres)
        self.name, self.folder = name, folder
        self.dtype: DType = "float32" if dtype == "float16" else dtype
        why = reason("float16_too_small")
        notes = [] if dtype == self.dtype else [Note("dtype", dtype, self.dtype, why)]
        raw = read_config(folder)
        kind = raw.get("model_type")
        if kind != "qwen3":
            fault = f"config.json: model_type is {kind!r}; a language model here is 'qwen3'"
            raise InvalidCheckpoint(folder, [fault])
        self.config: TextEncoderConfig = text_encoder_config(raw, folder)
        with shapes_only():
            spare = check_complete(self._file, {"": self._built()}, unused=("lm_head.weight",))
        self.notes = (*notes, *([spare_note(folder, spare)] if spare else []))

    @cached_property
    def words(self) -> LMVocabulary:
        """Its vocabulary. Raises InvalidCheckpoint."""
        words = LMVocabulary.open(self.folder)
        if words.codes.stop > self.config.vocabulary:
            why = (
                f"tokenizer.json: codes up to {words.codes.stop}, and {self.config.vocabulary} rows"
            )
            raise InvalidCheckpoint(self.folder, [why])
        check_rows(self.folder, words.tokenizer, self.config.vocabulary)
        return words

    @cached_property
    def sheets(self) -> SheetWords:
        """What all grammars over its vocabulary share. Raises InvalidCheckpoint."""
        file = self.folder / GENRES
        if self._genres or not paths.is_file(file):
            return SheetWords(self.words, self._genres)
        try:
            return SheetWords(self.words, read_genres(file))
        except InvalidFile as error:
            raise InvalidCheckpoint(self.folder, [f"{GENRES}: {error.why}"]) from error

    def load(self, dtype: torch.dtype) -> nn.Module:
        """The network, with its weights mapped."""
        with shapes_only():
            module = self._built()
        load_weights(
            module, self._file, prefix="", unused={"lm_head.weight"}, dtype=dtype, recipes=None
        )
        return module

    def failed(self, written: int) -> LanguageModelFailed:
        """The error to raise if it computed a value that is not finite after writing this many
        tokens.
        """
        how = "try --dtype float32"
        if self.dtype == "float32":
            how = f"`acestep models verify {self.name}` says whether its files are whole"
        return LanguageModelFailed(self.name, self.dtype, written, how)

    def _built(self) -> CausalLM:
        return CausalLM(layer_sizes(self.config.sizes), self.config.layers, self.config.vocabulary)

    @cached_property
    def _file(self) -> Checkpoint:
        return Checkpoint.open(self.folder)


def find_languages(
    items: Iterable[catalog.Installed], name: str | None, sizes: Sequence[str], bundled: bool
) -> tuple[catalog.Installed, ...]:
    """The language models to choose from: the named one (by its folder or its size), else the
    installed ones of the given sizes, in that order. A bundled DiT falls back to the bundled
    language model.

    Raises WeightsMissing for a name that is not installed. Raises InvalidCheckpoint for a damaged
    model that is named, or if every fitting model is damaged.
    """
    languages = [item for item in items if item.kind == LM_KIND]
    if name is not None:
        match = next((item for item in languages if name in (item.name, lm_size(item.name))), None)
        if match is None:
            how = f"fetch it with `acestep models download {name}`"
            if name not in CATALOGUE.models:
                how = "`acestep models list` shows what can be fetched"
            raise WeightsMissing(name, [str(item.folder.parent) for item in languages], how)
        if match.faults:
            raise InvalidCheckpoint(match.folder, list(match.faults))
        return (match,)
    installed = [item for item in languages if not item.bundled]
    fitting = [item for size in sizes for item in of_size(installed, size)]
    whole = tuple(item for item in fitting if item.whole)
    if not whole and fitting:
        raise InvalidCheckpoint(fitting[0].folder, list(fitting[0].faults))
    return whole or tuple(item for item in languages if item.bundled and item.whole and bundled)
