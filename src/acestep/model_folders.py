"""Finds models for ACE-Step's programs: in a project's `checkpoints`, else as the settings say."""

from __future__ import annotations

from pathlib import Path

from headroom import paths
from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.catalogue import CATALOGUE, DIT_KIND, LM_KIND, LM_PREFIX
from headroom.settings import load
from headroom.weights.catalog import Installed, Kind, checkpoint_dirs

NAME_PREFIXES = {DIT_KIND: "acestep-v15-", LM_KIND: LM_PREFIX}


def project_checkpoints(project_root: Path | None) -> Path | None:
    """The model folder of a project, if it has one; None: as the settings say."""
    folder = None if project_root is None else project_root / "checkpoints"
    return folder if folder is not None and paths.is_dir(folder) else None


def available_models(folder: Path | None, kind: Kind) -> list[str]:
    """Names of the models of a kind that can be opened here and are named like released ones."""
    names = {model.name for model in _installed(folder) if model.kind == kind and model.ready}
    return sorted(name for name in names if name.startswith(NAME_PREFIXES[kind]))


def model_folder(folder: Path | None, name: str) -> Path | None:
    """The folder of a model that can be opened here; None if there is none of that name."""
    return next(
        (model.folder for model in _installed(folder) if model.name == name and model.ready), None
    )


def engine_folder(folder: Path | None, name: str) -> Path | None:
    """The folder to open an engine with for a named model.

    A folder without any model is ignored if the bundled model was named.
    """
    if folder is None or not paths.is_dir(folder):
        return None
    named = next((model for model in _installed(folder) if model.name == name), None)
    if named is None or not named.bundled:
        return folder
    try:
        CATALOGUE.check_place(folder)
    except InvalidCheckpoint:
        return None
    return folder


def _installed(folder: Path | None) -> list[Installed]:
    return CATALOGUE.installed(checkpoint_dirs(load(), folder))
