"""Step-Audio-EditX as the engine opens it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from headroom.audio.wave import Audio
from headroom.hardware.machine import DType, Machine, computing_dtype
from headroom.memory.footprint import Footprint
from headroom.models.base import Composed, Loader, Numerics, Setup
from headroom.models.stepaudio.composing import speech_of
from headroom.models.stepaudio.conversion import converted
from headroom.models.stepaudio.cost.components import Networks
from headroom.models.stepaudio.cost.footprint import speech_footprint
from headroom.models.stepaudio.layout import (
    CONVERTED,
    FLOW,
    LANGUAGE,
    LINGUISTIC,
    MODEL,
    SEMANTIC,
    VOCODER,
    VOICE,
)
from headroom.models.stepaudio.networks.config import step1_sizes
from headroom.models.stepaudio.networks.flow import Flow
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.step1 import Step1
from headroom.models.stepaudio.networks.vocoder import Vocoder
from headroom.models.stepaudio.reasons import reason
from headroom.models.stepaudio.requests.speech import Clone, Edit
from headroom.models.stepaudio.sizes import read_networks
from headroom.models.stepaudio.song import Speech
from headroom.models.stepaudio.speaking import Assets, render
from headroom.models.stepaudio.text.vocabulary import Vocabulary
from headroom.models.stepaudio.unopened import find_model, folders_of
from headroom.nn.config_fields import read_config
from headroom.params.knob import Limit
from headroom.params.note import Note
from headroom.runtime.run import Run
from headroom.weights.catalog import Installed
from headroom.weights.load import Checkpoint, check_complete, load_weights
from headroom.weights.meta_modules import shapes_only

_DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
}  # fmt: skip


class StepAudio:
    """One model folder with the tokenizer's beside it: see `headroom.models.base.Model`.

    Opening converts the smaller networks' files once, and compares every header with the networks.
    """

    requests = (Clone, Edit)

    def __init__(self, item: Installed, setup: Setup) -> None:
        folders = folders_of(item)
        self.name, self.bundled = item.name, item.bundled
        self.dtype: DType = computing_dtype(setup.dtype, setup.machine)
        cache = setup.settings.cache_dir
        step1_sizes(read_config(folders.model), folders.model)  # before anything is converted
        self._places = {part: converted(part, folders, cache) for part in CONVERTED}
        self._places[LANGUAGE] = folders.model
        self.networks: Networks = read_networks(folders, cache)
        for part in self._places:
            with shapes_only():
                module = self._build(part)
            check_complete(self._file(part), {"": module})

    @property
    def notes(self) -> tuple[Note, ...]:
        if not self.bundled:
            return ()
        return (Note("model", self.name, self.name, reason("random_weights", model=MODEL)),)

    def limits(self, request: Clone | Edit) -> Mapping[str, Limit]:
        return {}

    def compose(
        self, request: Clone | Edit, seeds: tuple[int, ...], machine: Machine
    ) -> Composed[Speech]:
        return Composed(speech_of(request, seeds))

    def together(self, song: Speech) -> Hashable:
        return len(song.parts), song.clones, song.turns

    def footprint(self, songs: tuple[Speech, ...]) -> Footprint:
        return speech_footprint(songs, self.networks, self.dtype)

    def loaders(self) -> Mapping[str, Loader]:
        return {part: partial(self._load, part) for part in self._places}

    def render(self, songs: tuple[Speech, ...], run: Run) -> tuple[Audio, ...]:
        return render(songs, run, self._assets)

    def numerics(self) -> Numerics:
        return Numerics(self.dtype)

    def folders(self) -> tuple[Path, ...]:
        return tuple(self._places[part] for part in (LANGUAGE, *CONVERTED))

    @cached_property
    def _assets(self) -> Assets:
        rows = self.networks.language.vocabulary
        return Assets(Vocabulary.open(self._places[LANGUAGE], rows), self.name, self.dtype)

    def _file(self, part: str) -> Checkpoint:
        return Checkpoint.open(self._places[part])

    def _build(self, part: str) -> nn.Module:
        n = self.networks
        build: Mapping[str, Callable[[], nn.Module]] = {
            LINGUISTIC: lambda: LinguisticTokenizer(n.linguistic),
            SEMANTIC: lambda: SemanticTokenizer(n.semantic),
            VOICE: lambda: SpeakerNetwork(n.voice),
            FLOW: lambda: Flow(n.flow),
            VOCODER: lambda: Vocoder(n.vocoder),
            LANGUAGE: lambda: Step1(n.language),
        }
        return build[part]()

    def _load(self, part: str) -> nn.Module:
        with shapes_only():
            module = self._build(part)
        dtype = _DTYPES[self.dtype] if part == LANGUAGE else torch.float32
        load_weights(module, self._file(part), dtype=dtype)
        return module


def open_model(setup: Setup) -> StepAudio:
    """Open a model: the function that `Family.opens` names."""
    return StepAudio(find_model(setup.model, setup.settings, setup.checkpoint_dir), setup)
