"""Finds and checks the model a command will use, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.cli.parser import Parser
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidCheckpoint
from headroom.models.family import Family, Offer
from headroom.models.registry import family_named
from headroom.settings import Settings
from headroom.weights.catalog import Installed, checkpoint_dirs

if TYPE_CHECKING:
    from headroom.engine.engine import Engine


def check_model(
    name: str | None, folder: Path | None, settings: Settings, family: Family | None = None
) -> None:
    """Raise InvalidCheckpoint where the requested model is installed but cannot be used or states
    impossible sizes, or where the named folder holds no model.

    Without a name every real model is checked: the bundled one never stands in for a damaged one.
    A name that is not installed is left to the engine. `family`: the default one unless given.
    """
    folders = (family or family_named()).folders
    if folders is None:
        return
    catalogue = folders.catalogue
    items = catalogue.installed(checkpoint_dirs(settings, folder))
    name = name or settings.model
    chosen = catalogue.best(items)
    if not any(item.name == name for item in items):
        catalogue.check_named(folder, settings, chosen if name is None else None)
    if name is None and chosen is not None and not chosen.bundled:
        folders.check(chosen)
        return
    cores = [item for item in items if item.kind == catalogue.core and not item.bundled]
    broken = [item for item in cores if not item.ready and name in (None, item.name)]
    if not broken:
        for item in cores:
            if item.name == name:
                folders.check(item)
        return
    raise InvalidCheckpoint(broken[0].folder, [*_faults(broken[0]), _way_out(broken[0])])


def offer_in_use(family: Family, words: Sequence[str], settings: Settings) -> Offer | None:
    """The request options of the model that a command line would use; None where there is no
    model, or where all models of the family take the same."""
    if family.folders is None:
        return None
    quick = Parser("acestep", add_help=False, allow_abbrev=False)
    quick.add_argument("--model", default=settings.model)
    quick.add_argument("--checkpoint-dir", type=Path)
    args, _ = quick.parse_known_args(words)
    catalogue = family.folders.catalogue
    items = catalogue.installed(checkpoint_dirs(settings, args.checkpoint_dir))
    named = [item for item in items if item.name == args.model and item.kind == catalogue.core]
    item = catalogue.best(named if args.model else items)
    return None if item is None else family.folders.offer(item)


def opening(flags: EngineOptions, settings: Settings) -> Opening:
    """How to open an engine according to the flags."""
    return Opening(settings.under(flags), flags)


def open_engine(flags: EngineOptions, settings: Settings) -> Engine:
    """Open the engine according to the flags. Raises HeadroomError; torch is imported here."""
    return opening(flags, settings).open()


def _faults(item: Installed) -> list[str]:
    return [*item.faults, *(f"{name}: missing or damaged, and it is needed" for name in item.lacks)]


def _way_out(item: Installed) -> str:
    return f"repair it with `acestep models download {item.name}`, or name another with --model"
