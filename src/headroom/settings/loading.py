"""Loads settings from the environment and `.env`: the only code that reads either.

A setting is looked up in the environment, then in `.env`, then in the mode of a command that has
one; in each under its own name first and then under the older names it replaces. An empty value
counts as unset. The environment is never changed.
A `.env` of the working folder that belongs to another user may set limits and preferences, but no
place outside the folder, no host and no token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headroom import paths
from headroom.errors import InvalidFile, InvalidRequest
from headroom.settings.declaration import Setting
from headroom.settings.env_file import ENVIRONMENT, FILE, EnvFile, misspelt, read_env
from headroom.settings.fields import Settings, declared
from headroom.settings.folders import cache_folder, checkpoints_folder, data_folder

_OF_ANOTHER = "the file belongs to another user; set it in the environment"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_TORN = (
    (re.compile(r"[\r\n]"), "(several lines)"),
    (re.compile(r"[\ud800-\udfff]"), "(not text in UTF-8)"),
)


def load(
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    mode: tuple[str, Mapping[str, str]] = ("", _NOTHING),
) -> Settings:
    """The settings of this process: `os.environ`, then `env_file` (else `.env` if there is one),
    then the variables of a mode, given with its name.

    A `.env` that cannot be read is no error; it is listed in `ignored`. Raises InvalidRequest that
    names the variable, its value and what is allowed, and for an `env_file` that cannot be read.
    """
    environ = os.environ if environ is None else environ
    file, ignored = _read_file(env_file)
    places = {ENVIRONMENT: environ, FILE: file.values, mode[0]: mode[1]}
    values: dict[str, Any] = {}
    sources: list[tuple[str, str]] = []
    for name, setting in declared():
        hit = _find(setting, places)
        if hit is None:
            continue
        place, spelt, text = hit
        value = _value(setting, spelt, text)
        if place == FILE and not file.trusted and setting.elsewhere and not _is_here(value):
            ignored.append(f"{spelt} in {FILE} is not used: {_OF_ANOTHER}")
            continue
        values[name] = value
        sources.append((name, place if spelt == setting.name else f"{place} ({spelt})"))
    if "cache_dir" not in values:
        values["cache_dir"] = cache_folder(environ)
    values.setdefault("data_dir", data_folder(environ))
    values.setdefault("checkpoints_dir", checkpoints_folder(values["cache_dir"]))
    spellings = [spelt for _, setting in declared() for spelt in (setting.name, *setting.replaces)]
    unknown = (one for place, names in places.items() for one in misspelt(names, place, spellings))
    return Settings(
        **values, sources=tuple(sources), unknown=tuple(unknown), ignored=tuple(ignored)
    )


def _find(setting: Setting, places: Mapping[str, Mapping[str, str]]) -> tuple[str, str, str] | None:
    for place, values in places.items():
        for spelt in (setting.name, *setting.replaces):
            # A line break before the value is not stripped: what follows may not be ours to show.
            text = values.get(spelt, "").rstrip().lstrip(" \t")
            if text:
                return place, spelt, text
    return None


def _value(setting: Setting, spelt: str, text: str) -> object:
    # An unclosed quote may have drawn another program's text into a value.
    torn = next((words for sign, words in _TORN if sign.search(text)), None)
    if torn is not None:
        raise InvalidRequest(spelt, torn, setting.takes.allowed)
    try:
        return setting.takes.read(text)
    except (ValueError, InvalidRequest) as error:  # the latter: `~` without a home folder
        raise InvalidRequest(spelt, text, setting.takes.allowed) from error


def _is_here(value: object) -> bool:
    """Whether a value names a place inside the working folder, after following links."""
    return isinstance(value, Path) and paths.resolved(value).is_relative_to(paths.resolved("."))


def _read_file(path: Path | None) -> tuple[EnvFile, list[str]]:
    """The values of a file, and sentences about the parts that are not used.

    The default is `.env`, which other programs may have written in any form.
    """
    named, path = path is not None, path or Path(FILE)
    if not named and not paths.is_file(path):
        return EnvFile(), []
    try:
        env_file = read_env(path)
    except InvalidFile as error:
        if named:
            allowed = f"a file of NAME=value lines; this one {error.why}"
            raise InvalidRequest("env file", str(path), allowed) from error
        return EnvFile(), [f"{FILE} {error.why}"]
    return replace(env_file, trusted=env_file.trusted or named), list(env_file.remarks)
