"""Model families by name, imported when asked for. A new family is one line here."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from headroom.errors import InvalidRequest
from headroom.models.base import AnyModel, Setup
from headroom.models.family import Family, named
from headroom.settings import Settings

FAMILIES = {
    "acestep": "headroom.models.acestep.family:FAMILY",
    "tone": "tone_model.family:FAMILY",  # examples/tone_model, where that is on the path
}
USUAL = "acestep"


def check_family(name: object) -> None:
    """Raise InvalidRequest for an unknown family."""
    if name not in tuple(FAMILIES):
        raise InvalidRequest("family", name, "one of " + ", ".join(FAMILIES))


def family_named(name: str = USUAL) -> Family:
    """What a family says of itself. Nothing is loaded but that.

    Raises InvalidRequest for an unknown family, and for one that is not on Python's path.
    """
    check_family(name)
    package = FAMILIES[name].partition(".")[0]
    try:
        return cast("Family", named(FAMILIES[name]))
    except ModuleNotFoundError as error:
        if error.name != package:  # something the family needs, not the family
            raise
        raise InvalidRequest(
            "family", name, f"a family whose package {error.name} is found"
        ) from error


def language_size(
    family: str, name: str | None, settings: Settings, folder: Path | None
) -> str | None:
    """The published size that a family's language model of that name counts as; None: none is
    named, or none of that name is here. Raises InvalidCheckpoint for one that is torn."""
    if name in (None, "none"):
        return None
    size = family_named(family).language_size
    return None if size is None else size(name, settings, folder)


def open_family(name: str, setup: Setup) -> AnyModel:
    """The family's model, opened: `Family.open`. Raises what `family_named` raises."""
    return family_named(name).open(setup)
