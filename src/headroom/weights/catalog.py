"""List the released models, and find those installed on this machine. No torch.

Source: ACE-Step 1.5, released repositories and checkpoint layout. Sizes are those of the files,
rounded; they are for display and for a first estimate of disk space, never for verification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from huggingface_hub import constants as hub

from headroom import paths
from headroom.errors import InvalidCheckpoint, InvalidFile, WeightsMissing
from headroom.files import CONFIG_BYTES, read_json
from headroom.settings import Settings
from headroom.weights.header import INDEX, SINGLE, TornFile, read_header, weight_files

Kind: TypeAlias = Literal["dit", "lm", "vae", "text_encoder"]

BUNDLE = "ACE-Step/Ace-Step1.5"
LM_PREFIX = "acestep-5Hz-lm-"  # prefix of the released models' names
_CODES = b"<|audio_code_"  # marks, in the tokenizer, a language model that plans songs
_QWEN3_WORDS = 151_936  # vocabulary rows of Qwen3 as published
VAE = "vae"
TEXT_ENCODER = "Qwen3-Embedding-0.6B"
_BESIDE: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"dit": (VAE, TEXT_ENCODER), "lm": (), "vae": (), "text_encoder": ()}
)
_FILES: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "dit": ("config.json", "silence_latent.pt"),
        "lm": ("config.json", "tokenizer.json"),
        "vae": ("config.json",),
        "text_encoder": ("config.json", "tokenizer.json"),
    }
)


@dataclass(frozen=True, slots=True)
class Model:
    """One released model.

    name     its folder below a checkpoints folder
    repo     the repository it is published in, with the same name on Hugging Face and ModelScope;
             empty: its authors name it but have not published it
    inside   the folder within the repository; empty if the repository is the model
    nbytes   approximate size on disk
    """

    name: str
    kind: Kind
    repo: str
    inside: str
    nbytes: int
    about: str

    @property
    def official(self) -> bool:
        """Whether it is published by ACE-Step's authors."""
        return self.repo.startswith("ACE-Step/")

    @property
    def files(self) -> tuple[str, ...]:
        """Files it must have besides its weights."""
        return _FILES[self.kind]

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the models it depends on."""
        return _BESIDE[self.kind]


def _bundled_in_main(name: str, kind: Kind, megabytes: int, about: str) -> Model:
    return Model(name, kind, BUNDLE, name, megabytes * 10**6, about)


def _own(name: str, kind: Kind, megabytes: int, about: str) -> Model:
    return Model(name, kind, f"ACE-Step/{name}", "", megabytes * 10**6, about)


def _named(name: str, about: str) -> Model:
    return Model(name, "dit", "", "", 0, f"{about}; not published")


MAIN = "main"  # stands for everything in the main repository, as in ACE-Step's downloader
USUAL_DIT, USUAL_LM = "acestep-v15-turbo", "acestep-5Hz-lm-1.7B"  # the defaults
_MODELS = (
    # In the order in which `best` prefers them.
    _bundled_in_main(USUAL_DIT, "dit", 4792, "2B, 8 steps; where to begin"),
    _own("acestep-v15-xl-turbo", "dit", 9978, "4B, 8 steps"),
    _own("acestep-v15-turbo-shift3", "dit", 4792, "2B, 8 steps, schedule bent by 3"),
    _own("acestep-v15-turbo-continuous", "dit", 4792, "2B, 8 steps, any schedule"),
    _own("acestep-v15-turbo-shift1", "dit", 4792, "2B, 8 steps, even schedule"),
    _own("acestep-v15-sft", "dit", 4792, "2B, guided, 50 steps"),
    _own("acestep-v15-xl-sft", "dit", 9978, "4B, guided, 50 steps"),
    _own("acestep-v15-base", "dit", 4792, "2B, guided, 50 steps; all tasks, stems too"),
    _own("acestep-v15-xl-base", "dit", 9978, "4B, guided, 50 steps; all tasks, stems too"),
    # Names in the official code's table of model code that have no repository.
    _named("acestep-v15-turbo-rl", "2B, 8 steps"),
    _named("acestep-v15-turbo-fix-inst-shift3", "2B, 8 steps, schedule bent by 3"),
    _named("acestep-v15-turbo-fix-inst-shift-continuous", "2B, 8 steps, any schedule"),
    _named("acestep-v15-turbo-fix-inst-shift-dynamic", "2B, 8 steps"),
    _named("acestep-v15-base-sft-fix-inst", "2B, guided, 50 steps"),
    _bundled_in_main(USUAL_LM, "lm", 3724, "plans songs"),
    _own("acestep-5Hz-lm-0.6B", "lm", 1342, "plans songs; the smallest"),
    _own("acestep-5Hz-lm-4B", "lm", 8395, "plans songs; the largest"),
    _bundled_in_main(VAE, "vae", 337, "latents to sound and back; every DiT needs it"),
    _bundled_in_main(TEXT_ENCODER, "text_encoder", 1207, "reads captions; every DiT needs it"),
    # By the community; in the official code's list of VAEs.
    Model("scragvae", "vae", "scragnog/Ace-Step-1.5-ScragVAE", "", 337 * 10**6,
          "another decoder, used where the setting `vae` names it"),
)  # fmt: skip
MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _MODELS})


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


def installed(dirs: Iterable[Path], bundled: Path | None = None) -> list[Installed]:
    """Every model below the folders, complete or not; of two with one name the first complete one.

    A folder counts if it has a released name, or if its config.json describes a DiT, a language
    model that plans songs, or a VAE. In huggingface_hub's cache only complete models count.
    `bundled` is a folder of models that come with the program; they are used only with each other.
    """
    found: dict[str, Installed] = {}
    for item in (item for place in dirs for item in _scan(place)):
        if item.name not in found or (item.whole and not found[item.name].whole):
            found[item.name] = item
    items = [_with_company(item, found) for item in found.values()]
    if bundled is not None:
        own = {item.name: replace(item, bundled=True) for item in _scan(bundled)}
        items += [_with_company(item, own) for item in own.values()]
    return items


def best(items: Sequence[Installed]) -> Installed | None:
    """The DiT to use if none is named: ready ones in the catalog's order, the bundled last."""
    ready = [item for item in items if item.kind == "dit" and item.ready]
    order = list(MODELS)
    rank = {item.folder: order.index(item.name) if item.name in MODELS else len(order)
            for item in ready}  # fmt: skip
    return min(ready, key=lambda item: (item.bundled, rank[item.folder]), default=None)


def inspect(folder: Path, kind: Kind) -> tuple[str, ...]:
    """What is missing or damaged in a model folder, by names, sizes and headers; () if nothing."""
    absent = [f"{name}: missing" for name in _FILES[kind] if not paths.is_file(folder / name)]
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


def with_vae(item: Installed, items: Iterable[Installed], wanted: str | None) -> Installed:
    """A DiT with another VAE, given by the name of an installed one or by its folder. `official` or
    None keeps its own; the bundled model always keeps its own.

    Raises WeightsMissing and InvalidCheckpoint.
    """
    if wanted is None or wanted == "official" or item.bundled:
        return item
    here = {one.name: one.folder for one in items if one.kind == "vae" and not one.bundled}
    folder = here.get(wanted) or paths.expanded(wanted, "vae")
    if not paths.is_dir(folder):
        how = "allowed: official, the name of a VAE that is here, or the path of its folder"
        if wanted in MODELS:
            how = f"fetch it with `acestep models download {wanted}`"
        raise WeightsMissing(wanted, [str(place) for place in here.values()], how)
    if faults := inspect(folder, "vae"):
        raise InvalidCheckpoint(folder, list(faults))
    return replace(item, beside=tuple((n, folder if n == VAE else f) for n, f in item.beside))


def check_named(flag: Path | None, settings: Settings, chosen: Installed | None) -> str | None:
    """A sentence that says the bundled model is used although a folder was named, by the flag or
    the setting; None otherwise. The folder's other models are still used.

    Raises InvalidCheckpoint if the named folder holds no model at all.
    """
    if flag is not None:
        check_place(flag)
    said = any(name == "checkpoints_dir" for name, _ in settings.sources)
    place = flag or (settings.checkpoints_dir if said else None)
    if place is None or chosen is None or not chosen.bundled:
        return None
    check_place(place)
    return f"{place} holds no DiT that can be used: the bundled {chosen.name} makes the sound"


def check_place(named: Path) -> None:
    """Raise InvalidCheckpoint if the named folder holds no model folder.

    The message suggests a folder above or below it that holds some, if there is one.
    """
    place = paths.expanded(named, "checkpoint_dir").absolute()
    if place.name != "snapshots" and any(True for _ in _scan(place)):
        return
    if not paths.is_dir(place):
        why = "is a file, not a folder of model folders" if paths.exists(place) else "is not there"
    elif (meant := _meant(place)) is None:
        held = "it is empty" if not _entries(place) else "no folder in it is a model's"
        why = f"holds no model ({held}); `acestep models download` puts some there"
    else:
        why = f"holds no model folders itself; the folder that was meant is {meant}"
    raise InvalidCheckpoint(place, [why])


def _meant(place: Path) -> Path | None:
    """The folder of model folders that was probably meant by a wrong one."""
    for above in (place, *place.parents[:3]):
        if above.name.startswith("models--") and any(True for _ in _scan(above.parent)):
            return above.parent
    if _kind(place) is not None or any(paths.is_file(place / name) for name in (*SINGLE, *INDEX)):
        return place.parent
    return next((below for below in _folders(place) if any(True for _ in _scan(below))), None)


def _folders(place: Path) -> list[Path]:
    return [path for path in _entries(place) if paths.is_dir(path)]


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except (OSError, ValueError):  # the latter for a NUL in its name
        return []  # a folder that is missing or not readable counts as empty


def _scan(place: Path) -> Iterator[Installed]:
    for folder in _folders(place):
        known = MODELS.get(folder.name)
        kind = known.kind if known else _kind(folder)
        if kind is not None and (known is None or _entries(folder)):
            yield Installed(folder.name, kind, folder, _size(folder), inspect(folder, kind))
    for model in MODELS.values():
        if model.repo:
            yield from _cached(place / f"models--{model.repo.replace('/', '--')}", model)


def _cached(repo: Path, model: Model) -> Iterator[Installed]:
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


def _with_company(item: Installed, here: Mapping[str, Installed]) -> Installed:
    """The model with the folders of those it needs: its neighbours first, then any other."""
    beside, lacks = [], []
    for name in _BESIDE[item.kind]:
        neighbour = item.folder.parent / name
        other = here.get(name)
        if paths.is_dir(neighbour) and not inspect(neighbour, MODELS[name].kind):
            beside.append((name, neighbour))
        elif other is not None and other.whole:
            beside.append((name, other.folder))
        else:
            lacks.append(name)
    return replace(item, beside=tuple(beside), lacks=tuple(lacks))


def _kind(folder: Path) -> Kind | None:
    """The kind of model described by the config.json of a folder without a released name."""
    try:
        config = read_json(folder / "config.json", CONFIG_BYTES)
    except InvalidFile:
        return None
    if not isinstance(config, dict):
        return None
    if config.get("audio_acoustic_hidden_dim") is not None or config.get("model_type") == "acestep":
        return "dit"
    if config.get("_class_name") == "AutoencoderOobleck":
        return "vae"
    words = config.get("vocab_size")
    if config.get("model_type") == "qwen3" and isinstance(words, int):
        return "lm" if words > _QWEN3_WORDS or _writes_codes(folder) else None
    return None


def _writes_codes(folder: Path) -> bool:
    """Whether the tokenizer beside a small language model has the audio codes."""
    path = folder / "tokenizer.json"
    try:
        return paths.is_file(path) and _CODES in path.read_bytes()
    except OSError:
        return False


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _entries(folder) if paths.is_file(path))
