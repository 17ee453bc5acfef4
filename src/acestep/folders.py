"""Where models are for ACE-Step's programs: a project's `checkpoints`, else as the settings say."""

from __future__ import annotations

from pathlib import Path

from headroom import paths
from headroom.errors import InvalidCheckpoint
from headroom.settings import load
from headroom.weights import catalog

PREFIXES: dict[catalog.Kind, str] = {"dit": "acestep-v15-", "lm": catalog.LM_PREFIX}


def checkpoints(project_root: Path | None) -> Path | None:
    """The folder of a project, where it has one; None: as the settings say."""
    folder = None if project_root is None else project_root / "checkpoints"
    return folder if folder is not None and paths.is_dir(folder) else None


def available(folder: Path | None, kind: catalog.Kind) -> list[str]:
    """Names of the models of a kind that can be opened here, those named as released ones are."""
    names = {item.name for item in _installed(folder) if item.kind == kind and item.ready}
    return sorted(name for name in names if name.startswith(PREFIXES[kind]))


def place_of(folder: Path | None, name: str) -> Path | None:
    """The folder of a model that can be opened here; None where there is none of that name."""
    return next((one.folder for one in _installed(folder) if one.name == name and one.ready), None)


def opened_from(folder: Path | None, name: str) -> Path | None:
    """The folder an engine is opened with for a model that was named.

    A folder without any model is left out where the bundled model was named: it was meant.
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
