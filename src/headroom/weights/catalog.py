"""The released models of a family, and those installed on this machine. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants as hub

from headroom import paths
from headroom.errors import InvalidCheckpoint, InvalidFile, InvalidRequest
from headroom.files import CONFIG_BYTES, read_json
from headroom.settings import Settings
from headroom.weights.header import INDEX, SINGLE, TornFile, read_header, weight_files

MAIN = "main"  # the word for everything in a catalogue's main repository


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    name     as results state it
    files    files that a folder of this kind must have besides its weights, with `/` in those of
             folders within it
    beside   names of the models it depends on
    title    the kind in a sentence
    weights  whether it has weights as safetensors besides its files
    """

    name: str
    files: tuple[str, ...]
    beside: tuple[str, ...] = ()
    title: str = "model"
    weights: bool = True


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """One released model.

    name     its folder below a checkpoints folder
    repo     the repository it is published in, with the same name on Hugging Face and ModelScope;
             empty: its authors name it but have not published it
    inside   the folder within the repository; empty if the repository is the model
    nbytes   approximate size on disk: for display and a first estimate of disk space, never for
             verification
    official whether it is published by the family's authors
    """

    name: str
    kind: Kind
    repo: str
    inside: str
    nbytes: int
    about: str
    official: bool = True


@dataclass(frozen=True, slots=True)
class Installed:
    """A model folder on this machine.

    nbytes   what its files take on disk
    faults   one sentence for each part that is missing or damaged; empty: it is complete
    lacks    models it needs that are not complete, neither beside it nor in another folder
    beside   folders of the models it needs, by name
    bundled  whether it came with the program
    """

    name: str
    kind: Kind
    folder: Path
    nbytes: int
    faults: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    beside: tuple[tuple[str, Path], ...] = ()
    bundled: bool = False

    @property
    def whole(self) -> bool:
        return not self.faults

    @property
    def ready(self) -> bool:
        """Whether it and all models it needs are complete."""
        return not self.faults and not self.lacks


def checkpoint_dirs(settings: Settings, flag: Path | None = None) -> tuple[Path, ...]:
    """Folders to look for models in; the first is where downloads go.

    In order: `--checkpoint-dir`, the setting (else ./checkpoints if it exists),
    ./checkpoints, the user's own folder, huggingface_hub's cache (HF_HUB_CACHE, HF_HOME).
    """
    places = [settings.checkpoints_dir, Path("checkpoints"), settings.cache_dir / "checkpoints"]
    places.append(Path(hub.HF_HUB_CACHE))
    if flag is not None:
        places.insert(0, paths.expanded(flag, "checkpoint_dir"))
    return tuple({place.absolute(): None for place in places})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The released models of a family, and how its model folders are recognised.

    models    by name, in the order in which `best` prefers them
    main      the repository that the word `main` stands for
    core      the kind of model that makes the sound; `usual`: the one to begin with
    usual_lm  the language model to begin with; None: the family has none
    kind_of   the kind of a folder without a released name, from its config.json; None: no model
    bundled   folder of models that come with the program; they are used only with each other
    by_itself whether a bundled model is used where none is named and no other is ready
    """

    models: Mapping[str, ReleasedModel]
    main: str
    core: Kind
    usual: str
    kind_of: Callable[[Path, Mapping[str, object]], Kind | None]
    usual_lm: str | None = None
    bundled: Path | None = None
    by_itself: bool = True

    @property
    def published(self) -> tuple[ReleasedModel, ...]:
        """The models that can be downloaded."""
        return tuple(model for model in self.models.values() if model.repo)

    @property
    def of_main(self) -> tuple[ReleasedModel, ...]:
        """The models of the main repository."""
        return tuple(model for model in self.models.values() if model.repo == self.main)

    @property
    def official(self) -> tuple[ReleasedModel, ...]:
        """The models that the family's authors have published."""
        return tuple(model for model in self.models.values() if model.official)

    def to_download(self, name: str) -> ReleasedModel:
        """The published model of this name. Raises InvalidRequest."""
        model = self.models.get(name)
        if model is None or not model.repo:
            raise InvalidRequest("model", name, ", ".join(m.name for m in self.published))
        return model

    def installed(self, dirs: Iterable[Path]) -> list[Installed]:
        """Every model below the folders, complete or not; of two with one name the first complete
        one.

        A folder counts if it has a released name or a kind by its config.json. In huggingface_hub's
        cache only complete models count.
        """
        best: dict[str, Installed] = {}
        for item in (item for place in dirs for item in self._scan(place)):
            if item.name not in best or (item.whole and not best[item.name].whole):
                best[item.name] = item
        items = [self._with_company(item, best) for item in best.values()]
        if self.bundled is not None:
            bundled = {item.name: replace(item, bundled=True) for item in self._scan(self.bundled)}
            items += [self._with_company(item, bundled) for item in bundled.values()]
        return items

    def best(self, items: Sequence[Installed]) -> Installed | None:
        """The model to use if none is named: ready ones in the catalogue's order, the bundled
        last, or never.
        """
        ready = [item for item in items if item.kind == self.core and item.ready]
        ready = [item for item in ready if self.by_itself or not item.bundled]
        order = list(self.models)

        def rank(item: Installed) -> tuple[bool, int]:
            return item.bundled, order.index(item.name) if item.name in order else len(order)

        return min(ready, key=rank, default=None)

    def check_named(
        self, flag: Path | None, settings: Settings, chosen: Installed | None
    ) -> str | None:
        """A sentence that says the bundled model is used although a folder was named, by the flag
        or the setting; None otherwise. The folder's other models are still used.

        Raises InvalidCheckpoint if the named folder holds no model at all.
        """
        if flag is not None:
            self.check_place(flag)
        configured = any(name == "checkpoints_dir" for name, _ in settings.sources)
        place = flag or (settings.checkpoints_dir if configured else None)
        if place is None or chosen is None or not chosen.bundled:
            return None
        self.check_place(place)
        return (
            f"{place} holds no {self.core.title} that can be used: "
            f"the bundled {chosen.name} makes the sound"
        )

    def check_place(self, named: Path) -> None:
        """Raise InvalidCheckpoint if the named folder holds no model folder.

        The message suggests a folder above or below it that holds some, if there is one.
        """
        place = paths.expanded(named, "checkpoint_dir").absolute()
        if place.name != "snapshots" and self._holds_any(place):
            return
        if not paths.is_dir(place):
            present = paths.exists(place)
            why = "is a file, not a folder of model folders" if present else "is not there"
        elif (meant := self._meant(place)) is None:
            held = "it is empty" if not _entries(place) else "no folder in it is a model's"
            why = f"holds no model ({held}); `acestep models download` puts some there"
        else:
            why = f"holds no model folders itself; the folder that was meant is {meant}"
        raise InvalidCheckpoint(place, [why])

    def _holds_any(self, place: Path) -> bool:
        return any(True for _ in self._scan(place))

    def _meant(self, place: Path) -> Path | None:
        """The folder of model folders that was probably meant by a wrong one."""
        for above in (place, *place.parents[:3]):
            if above.name.startswith("models--") and self._holds_any(above.parent):
                return above.parent
        files = (place / name for name in (*SINGLE, *INDEX))
        if self._kind(place) is not None or any(map(paths.is_file, files)):
            return place.parent
        return next((below for below in _folders(place) if self._holds_any(below)), None)

    def _scan(self, place: Path) -> Iterator[Installed]:
        for folder in _folders(place):
            released = self.models.get(folder.name)
            kind = released.kind if released else self._kind(folder)
            if kind is not None and (released is None or _entries(folder)):
                yield Installed(folder.name, kind, folder, _size(folder), inspect(folder, kind))
        for model in self.published:
            yield from _cached(place / f"models--{model.repo.replace('/', '--')}", model)

    def _with_company(self, item: Installed, installed: Mapping[str, Installed]) -> Installed:
        """The model with the folders of those it needs: its neighbours first, then any other."""
        beside, lacks = [], []
        for name in item.kind.beside:
            neighbour = item.folder.parent / name
            other = installed.get(name)
            if paths.is_dir(neighbour) and not inspect(neighbour, self.models[name].kind):
                beside.append((name, neighbour))
            elif other is not None and other.whole:
                beside.append((name, other.folder))
            else:
                lacks.append(name)
        return replace(item, beside=tuple(beside), lacks=tuple(lacks))

    def _kind(self, folder: Path) -> Kind | None:
        try:
            config = read_json(folder / "config.json", CONFIG_BYTES)
        except InvalidFile:
            return None
        return self.kind_of(folder, config) if isinstance(config, dict) else None


def inspect(folder: Path, kind: Kind) -> tuple[str, ...]:
    """What is missing or damaged in a model folder, by names, sizes and headers; () if nothing."""
    absent = [f"{name}: missing" for name in kind.files if not paths.is_file(folder / name)]
    if not kind.weights:
        return tuple(absent)
    try:
        names = weight_files(folder)
    except TornFile as error:
        return (*absent, str(error))
    if not names:
        return (*absent, f"no weights: one of {', '.join((*SINGLE, *INDEX))} is needed")
    return (*absent, *_torn(folder, names))


def _torn(folder: Path, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if not paths.is_file(folder / name):
            yield f"{name}: missing"
            continue
        try:
            read_header(folder / name)
        except TornFile as error:
            yield str(error)


def _folders(place: Path) -> list[Path]:
    return [path for path in _entries(place) if paths.is_dir(path)]


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except (OSError, ValueError):  # the latter for a NUL in its name
        return []  # a folder that is missing or not readable counts as empty


def _cached(repo: Path, model: ReleasedModel) -> Iterator[Installed]:
    """The complete model in huggingface_hub's cache: `main` as last seen, else the newest."""
    try:
        main = (repo / "refs" / "main").read_text("ascii")
    except (OSError, ValueError):
        main = ""
    snapshots = _folders(repo / "snapshots")
    snapshots.sort(key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True)
    for folder in (snapshot / model.inside for snapshot in snapshots):
        if paths.is_dir(folder) and not inspect(folder, model.kind):
            yield Installed(model.name, model.kind, folder, _size(folder), ())
            return


def _size(folder: Path) -> int:
    """The bytes of the files in a folder and in the folders within it."""
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in files if paths.is_file(path))
