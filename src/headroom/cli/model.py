"""Which model will be used, asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.cli.models import bundled
from headroom.cli.parser import EngineFlags, Parser
from headroom.engine.opening import Opening
from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.networks.checks import read_sizes
from headroom.models.acestep.requests.variants import Variant, variant_of
from headroom.nn.config_fields import read_config
from headroom.settings import Settings
from headroom.weights.catalog import (
    TEXT_ENCODER,
    VAE,
    Installed,
    best,
    check_named,
    checkpoint_dirs,
    installed,
)

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

_DIT = "dit"


def check_model(name: str | None, folder: Path | None, settings: Settings) -> None:
    """Raise InvalidCheckpoint where the model that is meant is here and cannot be used or states
    sizes that no model has, or where the folder that was named holds none.

    Without a name every real model is meant: the bundled one never stands in for a damaged one. A
    name that is not here is left to the engine.
    """
    items = _items(folder, settings)
    name = name or settings.model
    chosen = best(items)
    if not any(item.name == name for item in items):
        check_named(folder, settings, chosen if name is None else None)
    if name is None and chosen is not None and not chosen.bundled:
        _check_sizes(chosen)
        return
    dits = [item for item in items if item.kind == _DIT and not item.bundled]
    broken = [item for item in dits if not item.ready and name in (None, item.name)]
    if not broken:
        for item in dits:
            if item.name == name:
                _check_sizes(item)
        return
    raise InvalidCheckpoint(broken[0].folder, [*_faults(broken[0]), _way_out(broken[0])])


def variant_in_use(words: Sequence[str], settings: Settings) -> Variant | None:
    """The variant a command line would use; None where there is none."""
    quick = Parser("acestep", add_help=False, allow_abbrev=False)
    quick.add_argument("--model", default=settings.model)
    quick.add_argument("--checkpoint-dir", type=Path)
    args, _ = quick.parse_known_args(words)
    items = _items(args.checkpoint_dir, settings)
    named = [item for item in items if item.name == args.model and item.kind == _DIT]
    item = best(named if args.model else items)
    if item is None:
        return None
    return variant_of(read_config(item.folder), item.name)


def opening(flags: EngineFlags, settings: Settings) -> Opening:
    """How the flags say an engine is to be opened."""
    return Opening(
        settings=flags.settings_with(settings),
        device=flags.device,
        dtype=flags.dtype,
        model=flags.model,
        checkpoint_dir=flags.checkpoint_dir,
        compile=flags.compile,
        threads=flags.threads,
        policy=flags.policy,
        choices=flags.choices,
    )


def open_engine(flags: EngineFlags, settings: Settings) -> Engine:
    """The engine as the flags say. Raises HeadroomError; torch is loaded here."""
    return opening(flags, settings).open()


def _check_sizes(item: Installed) -> None:
    beside = dict(item.beside)
    read_sizes(item.folder, beside[TEXT_ENCODER], beside[VAE])


def _items(folder: Path | None, settings: Settings) -> list[Installed]:
    return installed(checkpoint_dirs(settings, folder), bundled())


def _faults(item: Installed) -> list[str]:
    return [*item.faults, *(f"{name}: missing or damaged, and it is needed" for name in item.lacks)]


def _way_out(item: Installed) -> str:
    return f"repair it with `acestep models download {item.name}`, or name another with --model"
