"""A model planned without being opened: from its folder, or from the published sizes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from headroom import paths
from headroom.errors import InvalidCheckpoint, InvalidRequest, WeightsMissing
from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.models.base import Song
from headroom.models.family import ModelChoice
from headroom.models.stepaudio.catalogue import CATALOGUE, FAMILY, SPEECH_KIND, TINY
from headroom.models.stepaudio.composing import speech_of
from headroom.models.stepaudio.cost.components import RELEASED, Networks
from headroom.models.stepaudio.cost.footprint import speech_footprint
from headroom.models.stepaudio.layout import CONVERTED, MODEL, TOKENIZER, Folders
from headroom.models.stepaudio.requests.speech import Clone, Edit
from headroom.models.stepaudio.sizes import read_networks
from headroom.models.stepaudio.song import Speech
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import Settings
from headroom.weights.catalog import Installed, checkpoint_dirs
from headroom.weights.header import SINGLE


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is planned. `folder`: where its sizes come from; None: the published sizes."""

    name: str = MODEL
    networks: Networks = RELEASED
    folder: Path | None = None

    def describe(self) -> str:
        """Its name, and the source of the sizes that the plan uses."""
        source = (
            f"the published sizes of {MODEL}" if self.folder is None else f"sizes of {self.folder}"
        )
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
    """The model asked for, else the best that is installed, else the released one.

    Raises InvalidRequest for a name that is neither installed nor released, and InvalidCheckpoint.
    """
    settings = wanted.settings
    items = CATALOGUE.installed(checkpoint_dirs(settings, wanted.checkpoint_dir))
    best = CATALOGUE.best(items)
    name = wanted.model or settings.model or (MODEL if best is None else best.name)
    item = next((one for one in items if (one.name, one.kind) == (name, SPEECH_KIND)), None)
    if item is None and name != MODEL:
        names = [one.name for one in items if one.kind == SPEECH_KIND]
        raise InvalidRequest("model", name, ", ".join(dict.fromkeys((MODEL, *names))))
    cache = settings.cache_dir
    if item is None or not item.ready:
        return Subject(name)
    folders = folders_of(item)
    if not all(paths.is_file(folders.converted(cache, p) / SINGLE[0]) for p in CONVERTED):
        return Subject(name)
    return Subject(name, read_networks(folders, cache), folders.model)


def find_model(name: str | None, settings: Settings, flag: Path | None) -> Installed:
    """The model to open: the one asked for, or the best that is installed.

    Raises WeightsMissing for one that is not installed or lacks what it needs, and
    InvalidCheckpoint for a folder that is not whole.
    """
    dirs = checkpoint_dirs(settings, flag)
    items = [item for item in CATALOGUE.installed(dirs) if item.kind == SPEECH_KIND]
    best = CATALOGUE.best(items)
    wanted = name or (MODEL if best is None else best.name)
    item = next((one for one in items if one.name == wanted), None)
    how = f"fetch it with `acestep models download --family {FAMILY} {MODEL}`"
    if item is None:
        looked = [str(place) for place in dirs]
        raise WeightsMissing(wanted, looked, f"{how}; {TINY}, which makes noise, came along")
    if item.faults:
        raise InvalidCheckpoint(item.folder, list(item.faults))
    if item.lacks:
        lacking = "; ".join(f"{other} is not beside it" for other in item.lacks)
        raise WeightsMissing(wanted, [f"{item.folder}: {lacking}"], how)
    return item


def folders_of(item: Installed) -> Folders:
    """The folders of an installed model."""
    return Folders(item.folder, dict(item.beside)[TOKENIZER])
