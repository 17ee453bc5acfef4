"""Which models a download brings: those that are named, and those that they need. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from headroom import paths
from headroom.errors import InvalidRequest
from headroom.weights.catalog import MAIN, Catalogue, Installed


def named(catalogue: Catalogue, names: Sequence[str], field: str) -> list[str]:
    """The models of these names, each once; `main` names those of the main repository.

    Raises InvalidRequest for a name that is not published, under the name of the field it came in.
    """
    published = [model.name for model in catalogue.published]
    main = [model.name for model in catalogue.of_main]
    wanted: list[str] = []
    for name in names:
        if name != MAIN and name not in published:
            raise InvalidRequest(field, name, f"{MAIN}, {', '.join(published)}")
        wanted += main if name == MAIN else [name]
    return list(dict.fromkeys(wanted))


def company(catalogue: Catalogue, names: Sequence[str], items: Iterable[Installed]) -> list[str]:
    """The models that the named ones need and that are neither named nor complete anywhere."""
    whole = {item.name for item in items if item.whole and not item.bundled}
    needed = dict.fromkeys(one for name in names for one in catalogue.models[name].kind.beside)
    return [name for name in needed if name not in whole and name not in names]


def elsewhere(names: Sequence[str], into: Path, items: Iterable[Installed]) -> dict[str, Path]:
    """Models that are complete in a folder other than the one downloads go to."""
    return {
        item.name: item.folder
        for item in items
        if item.name in names
        and item.whole
        and not item.bundled
        and paths.resolved(item.folder.parent) != paths.resolved(into)
    }
