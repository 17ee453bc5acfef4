"""A model planned without being opened: from its folder, or from the published sizes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from headroom import paths
from headroom.errors import InvalidRequest, WeightsMissing
from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.models.base import Song
from headroom.models.family import ModelChoice
from headroom.models.stepaudio.composing import speech_of
from headroom.models.stepaudio.cost.components import RELEASED, Networks
from headroom.models.stepaudio.cost.footprint import speech_footprint
from headroom.models.stepaudio.layout import CONVERTED, MODEL, Folders, folders_of
from headroom.models.stepaudio.requests.speech import Clone, Edit
from headroom.models.stepaudio.sizes import read_networks
from headroom.models.stepaudio.song import Speech
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import Settings
from headroom.weights.catalog import checkpoint_dirs
from headroom.weights.header import SINGLE


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is planned. `folder`: where its sizes come from; None: the published sizes."""

    name: str = MODEL
    networks: Networks = RELEASED
    folder: Path | None = None

    def describe(self) -> str:
        """Its name, and the source of the sizes that the plan uses."""
        source = "its published sizes" if self.folder is None else f"sizes of {self.folder}"
        return f"{self.name} ({source})"

    def limits(self, request: Request) -> Mapping[str, Limit]:
        return {}

    def compose(self, request: Request, machine: Machine) -> tuple[Song, ...]:
        assert isinstance(request, Clone | Edit)
        return speech_of(request, tuple(range(request.songs)))

    def seconds(self, song: Song) -> float:
        return cast("Speech", song).most_seconds

    def footprint(self, songs: tuple[Song, ...], dtype: DType) -> Footprint:
        return speech_footprint(cast("tuple[Speech, ...]", songs), self.networks, dtype)

    def languages(self, named: str | None, sizes: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    def planning(
        self, request: Request, songs: tuple[Song, ...], language: str, backend: str, dtype: DType
    ) -> Footprint:
        raise ValueError(f"{self.name} plans nothing before it speaks")


def subject(wanted: ModelChoice) -> Subject:
    """The model asked for. Raises InvalidRequest for a name that is neither installed nor the
    published one, and InvalidCheckpoint."""
    name = wanted.model or wanted.settings.model or MODEL
    found = installed(name, wanted.settings, wanted.checkpoint_dir)
    if found is None and name != MODEL:
        raise InvalidRequest("model", name, f"{MODEL}, or a model that is installed")
    cache = wanted.settings.cache_dir
    if found is None or not all(
        paths.is_file(found.converted(cache, part) / SINGLE[0]) for part in CONVERTED
    ):
        return Subject(name)
    return Subject(name, read_networks(found, cache), found.model)


def installed(name: str, settings: Settings, flag: Path | None) -> Folders | None:
    """The folders of a model of this name; None: it is not installed."""
    places = (place / name for place in checkpoint_dirs(settings, flag))
    here = next((place for place in places if paths.is_file(place / "config.json")), None)
    return None if here is None else folders_of(here)


def found(name: str | None, settings: Settings, flag: Path | None) -> Folders:
    """The folders of the model to open. Raises WeightsMissing."""
    wanted = name or settings.model or MODEL
    folders = installed(wanted, settings, flag)
    if folders is None:
        looked = [str(place) for place in checkpoint_dirs(settings, flag)]
        raise WeightsMissing(wanted, looked, f"put the folders of {MODEL} there")
    folders.check()
    return folders
