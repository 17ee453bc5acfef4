"""Where models are for ACE-Step's programs: a project's `checkpoints`, else as the settings say."""

from __future__ import annotations

from pathlib import Path

from headroom import paths
from headroom.settings import load
from headroom.weights import catalog

PREFIXES: dict[catalog.Kind, str] = {"dit": "acestep-v15-", "lm": catalog.LM_PREFIX}


def checkpoints(project_root: Path | None) -> Path | None:
    """The folder of a project, where it has one; None: as the settings say."""
    folder = None if project_root is None else project_root / "checkpoints"
    return folder if folder is not None and paths.is_dir(folder) else None


def available(folder: Path | None, kind: catalog.Kind) -> list[str]:
    """Names of the models of a kind that can be opened here, those named as released ones are."""
    from headroom.cli.models import bundled

    dirs = catalog.checkpoint_dirs(load(), folder)
    items = catalog.installed(dirs, bundled())
    names = {item.name for item in items if item.kind == kind and item.ready}
    return sorted(name for name in names if name.startswith(PREFIXES[kind]))
