"""Finds models for ACE-Step's programs: in a project's `checkpoints`, else as the settings say."""

from __future__ import annotations

from pathlib import Path

from headroom import paths
from headroom.errors import InvalidCheckpoint
from headroom.settings import load
from headroom.weights import catalog

PREFIXES: dict[catalog.Kind, str] = {"dit": "acestep-v15-", "lm": catalog.LM_PREFIX}


def checkpoints(project_root: Path | None) -> Path | None:
    """The model folder of a project, if it has one; None: as the settings say."""
    folder = None if project_root is None else project_root / "checkpoints"
    return folder if folder is not None and paths.is_dir(folder) else None


def available(folder: Path | None, kind: catalog.Kind) -> list[str]:
    """Names of the models of a kind that can be opened here and are named like released ones."""
    names = {item.name for item in _installed(folder) if item.kind == kind and item.ready}
    return sorted(name for name in names if name.startswith(PREFIXES[kind]))


def place_of(folder: Path | None, name: str) -> Path | None:
    """The folder of a model that can be opened here; None if there is none of that name."""
    return next((one.folder for one in _installed(folder) if one.name == name and one.ready), None)


def opened_from(folder: Path | None, name: str) -> Path | None:
    """The folder to open an engine with for a named model.

    A folder without any model is ignored if the bundled model was named.
    """
    if folder is None or not paths.is_dir(folder):
        return None
    named = next((one for one in _installed(folder) if one.name == name), None)
    if named is None or not named.bundled:
        return folder
    try:
        catalog.check_place(folder)
    except InvalidCheckpoint:
        return None
    return folder


def _installed(folder: Path | None) -> list[catalog.Installed]:
    from headroom.models.acestep.language.lm_sizes import BUNDLED

    return catalog.installed(catalog.checkpoint_dirs(load(), folder), BUNDLED)
