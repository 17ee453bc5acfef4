"""Compatible `acestep.model_downloader`: fetches models through `acestep models`.

Functions that fetch return whether it worked and a message; they do not raise on failure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from headroom.cli.models import Wish, carry_out, download_main
from headroom.errors import HeadroomError
from headroom.models.acestep.catalogue import (
    CATALOGUE,
    DIT_KIND,
    LM_PREFIX,
    USUAL_DIT,
    USUAL_LM,
    VAE,
)
from headroom.settings import load
from headroom.weights import catalog
from headroom.weights.catalog import MAIN as MAIN

_MODELS = CATALOGUE.models
MAIN_MODEL_REPO = CATALOGUE.main
MAIN_MODEL_COMPONENTS = [n for n, model in _MODELS.items() if model.repo == MAIN_MODEL_REPO]
SUBMODEL_REGISTRY = {
    name: model.repo
    for name, model in _MODELS.items()
    if model.official and model.repo != MAIN_MODEL_REPO
}
DEFAULT_LM_MODEL = USUAL_LM
DEFAULT_VAE_VARIANT = VAE


def get_project_root() -> Path:
    """The folder in which the program was started."""
    return Path.cwd()


def get_checkpoints_dir(custom_dir: str | None = None) -> Path:
    """The folder that models are fetched to: the named one, or that of the settings."""
    return Path(custom_dir) if custom_dir else catalog.checkpoint_dirs(load())[0]


def check_model_exists(model_name: str, checkpoints_dir: str | Path | None = None) -> bool:
    """Whether a model is installed and complete."""
    return model_name in _whole(checkpoints_dir)


def check_main_model_exists(checkpoints_dir: str | Path | None = None) -> bool:
    """Whether all parts of the main model are installed and complete."""
    return set(MAIN_MODEL_COMPONENTS) <= _whole(checkpoints_dir)


def list_available_models() -> dict[str, str]:
    """Names of the models that can be fetched, and the repository of each."""
    return {MAIN: MAIN_MODEL_REPO, **SUBMODEL_REGISTRY}


def download_main_model(
    checkpoints_dir: str | Path | None = None,
    force: bool = False,
    token: str | None = None,
    prefer_source: str | None = None,
) -> tuple[bool, str]:
    """Fetch the default DiT and language model with everything they need."""
    return _fetch(MAIN, checkpoints_dir, force, token, prefer_source)


def download_submodel(
    model_name: str,
    checkpoints_dir: str | Path | None = None,
    force: bool = False,
    token: str | None = None,
    prefer_source: str | None = None,
) -> tuple[bool, str]:
    """Fetch a single other model."""
    if model_name not in SUBMODEL_REGISTRY:
        return False, f"unknown model {model_name!r}; known: {', '.join(SUBMODEL_REGISTRY)}"
    return _fetch(model_name, checkpoints_dir, force, token, prefer_source)


def download_all_models(
    checkpoints_dir: str | Path | None = None, force: bool = False, token: str | None = None
) -> tuple[bool, list[str]]:
    """Fetch all models; returns whether all succeeded, and a message for each."""
    results = [_fetch(n, checkpoints_dir, force, token, None) for n in list_available_models()]
    return all(ok for ok, _ in results), [message for _, message in results]


def ensure_main_model(
    checkpoints_dir: str | Path | None = None,
    token: str | None = None,
    prefer_source: str | None = None,
) -> tuple[bool, str]:
    """Fetch the main model unless it is installed."""
    if check_main_model_exists(checkpoints_dir):
        return True, "the main model is there"
    return download_main_model(checkpoints_dir, False, token, prefer_source)


def ensure_lm_model(
    model_name: str | None = None,
    checkpoints_dir: str | Path | None = None,
    token: str | None = None,
    prefer_source: str | None = None,
) -> tuple[bool, str]:
    """Fetch a language model unless it is installed; its size is accepted as its name."""
    requested = model_name or DEFAULT_LM_MODEL
    lm_names = [name for name in _MODELS if name.startswith(LM_PREFIX)]
    name = next((n for n in lm_names if requested in (n, n.removeprefix(LM_PREFIX))), requested)
    return _ensure(name, lm_names, checkpoints_dir, token, prefer_source)


def ensure_dit_model(
    model_name: str | None = None,
    checkpoints_dir: str | Path | None = None,
    token: str | None = None,
    prefer_source: str | None = None,
) -> tuple[bool, str]:
    """Fetch a DiT unless it is installed."""
    dit_names = [name for name, model in _MODELS.items() if model.kind == DIT_KIND]
    return _ensure(model_name or USUAL_DIT, dit_names, checkpoints_dir, token, prefer_source)


def print_model_list() -> None:
    """Print the names that can be fetched, and their repositories."""
    for name, repo in list_available_models().items():
        sys.stdout.write(f"{name}: {repo}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command `acestep-download`; its exit code."""
    return download_main(argv)


def _whole(checkpoints_dir: str | Path | None) -> set[str]:
    """Names of the complete models, in one folder or in those of the settings."""
    folder = None if checkpoints_dir is None else Path(checkpoints_dir)
    dirs = catalog.checkpoint_dirs(load()) if folder is None else (folder,)
    items = CATALOGUE.installed(dirs)
    return {item.name for item in items if item.whole and not item.bundled}


def _ensure(
    name: str,
    allowed_names: Sequence[str],
    checkpoints_dir: str | Path | None,
    token: str | None,
    prefer_source: str | None,
) -> tuple[bool, str]:
    if name not in allowed_names:
        return False, f"unknown model {name!r}; known: {', '.join(allowed_names)}"
    if check_model_exists(name, checkpoints_dir):
        return True, f"{name} is there"
    download = MAIN if name in MAIN_MODEL_COMPONENTS else name
    return _fetch(download, checkpoints_dir, False, token, prefer_source)


def _fetch(
    name: str,
    checkpoints_dir: str | Path | None,
    force: bool,
    token: str | None,
    source: str | None,
) -> tuple[bool, str]:
    wish = Wish(
        act="download",
        names=(name,),
        force=force,
        source=source,
        token=token,
        folder=get_checkpoints_dir(None if checkpoints_dir is None else str(checkpoints_dir)),
        company=name == MAIN,
    )
    try:
        code = carry_out(wish, load())
    except HeadroomError as error:
        return False, f"error: {error}"
    return code == 0, f"{name} is in {wish.folder}" if code == 0 else f"{name} could not be fetched"
