"""Model families by name, imported when asked for. A new family is one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from headroom.errors import InvalidRequest
from headroom.models.base import AnyModel, Setup
from headroom.settings import Settings

FAMILIES = {
    "acestep": "headroom.models.acestep.model:open_model",
    "tone": "tone_model.model:open_model",  # examples/tone_model, where that is on the path
}
USUAL = "acestep"
LANGUAGE_SIZES = {"acestep": "headroom.models.acestep.language.lm_sizes:size_of_named"}


def check_family(name: object) -> None:
    """Raise InvalidRequest for an unknown family."""
    if name not in tuple(FAMILIES):
        raise InvalidRequest("family", name, "one of " + ", ".join(FAMILIES))


def language_size(
    family: str, name: str | None, settings: Settings, folder: Path | None
) -> str | None:
    """The published size that a family's language model of that name counts as; None: none is
    named, or none of that name is here. Raises InvalidCheckpoint for one that is torn."""
    if name in (None, "none") or family not in LANGUAGE_SIZES:
        return None
    module, _, function = LANGUAGE_SIZES[family].partition(":")
    found = getattr(importlib.import_module(module), function)(name, settings, folder)
    return cast("str | None", found)


def open_family(name: str, setup: Setup) -> AnyModel:
    """The family, opened. Its module is imported now; its weights are not loaded.

    Raises InvalidRequest for an unknown family, and for one that is not on Python's path.
    """
    check_family(name)
    module, _, function = FAMILIES[name].partition(":")
    try:
        opener = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # something the family needs, not the family
            raise
        raise InvalidRequest(
            "family", name, f"a family whose package {error.name} is found"
        ) from error
    # A family takes its own requests and songs only; the engine gives it none but those.
    return cast("Callable[[Setup], AnyModel]", opener)(setup)
