"""Model families by name, imported when asked for. Adding a family takes one line here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from headroom.errors import InvalidRequest
from headroom.models.base import AnyModel, Setup
from headroom.models.family import Family, import_named
from headroom.settings import Settings

FAMILIES = {
    "acestep": "headroom.models.acestep.family:FAMILY",
    "stepaudio": "headroom.models.stepaudio.family:FAMILY",
    "tone": "tone_model.family:FAMILY",  # examples/tone_model, if it is on the path
}
USUAL = "acestep"


def check_family(name: object) -> None:
    """Raise InvalidRequest for an unknown family."""
    if name not in tuple(FAMILIES):
        raise InvalidRequest("family", name, "one of " + ", ".join(FAMILIES))


def family_named(name: str = USUAL) -> Family:
    """The family of this name. Nothing else is loaded.

    Raises InvalidRequest for an unknown family, and for one that is not on Python's path.
    """
    check_family(name)
    package = FAMILIES[name].partition(".")[0]
    try:
        return cast("Family", import_named(FAMILIES[name]))
    except ModuleNotFoundError as error:
        if error.name != package:  # a dependency of the family is missing, not the family
            raise
        raise InvalidRequest(
            "family", name, f"a family whose package {error.name} is found"
        ) from error


def speaking_families() -> Iterator[Family]:
    """The families that read requests for speech, of those that are on Python's path."""
    for name in FAMILIES:
        try:
            family = family_named(name)
        except InvalidRequest:  # its package is not on Python's path
            continue
        if family.speech is not None:
            yield family


def language_size(
    family: str, name: str | None, settings: Settings, folder: Path | None
) -> str | None:
    """The published size that the named language model of a family counts as; None: no name is
    given, or no such model is installed. Raises InvalidCheckpoint for a damaged one.
    """
    if name in (None, "none"):
        return None
    size = family_named(family).language_size
    return None if size is None else size(name, settings, folder)


def open_family(name: str, setup: Setup) -> AnyModel:
    """Open a model of the family: `Family.open`. Raises as `family_named` does."""
    return family_named(name).open(setup)
