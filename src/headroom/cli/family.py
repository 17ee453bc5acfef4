"""Finds the model family that a command line names; its flags depend on it."""

from __future__ import annotations

from collections.abc import Sequence

from headroom.cli.parser import Parser
from headroom.models.family import Family
from headroom.models.registry import USUAL, family_named


def family_in(words: Sequence[str]) -> Family:
    """The family that the arguments name, else the default. Raises InvalidRequest."""
    quick = Parser("acestep", add_help=False, allow_abbrev=False)
    quick.add_argument("--family", default=USUAL)
    args, _ = quick.parse_known_args(words)
    return family_named(args.family)
