"""Replaces paths of the server in JSON that clients see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

from headroom.engine.wire import Json

ELSEWHERE = "…"


class Hidden:
    """What clients see in place of paths: `…` for the given folders, and ids for files.

    Paths are replaced wherever they occur in a text, also with the backslashes of Windows doubled,
    as error messages show them.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self._shown: dict[str, str] = {}
        self._paths = re.compile("(?!)")  # what is nowhere
        for folder in folders:
            if (whole := folder.absolute()) != Path(whole.anchor):
                self.put(whole, ELSEWHERE)

    def put(self, path: Path, shown: str) -> None:
        """Show this text in place of a path."""
        self._shown |= {str(path): shown, str(path).replace("\\", "\\\\"): shown}
        paths = sorted(self._shown, key=len, reverse=True)  # a file before its folder
        self._paths = re.compile("|".join(map(re.escape, paths)))

    def text(self, value: str) -> str:
        """The text without the paths."""
        return self._paths.sub(lambda found: self._shown[found[0]], value)

    def json(self, value: JsonValue) -> JsonValue:
        """The JSON value without the paths."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(one) for one in value]
        if isinstance(value, dict):
            return self.object(value)
        return value

    def object(self, value: Json) -> Json:
        """The same for an object."""
        return {name: self.json(one) for name, one in value.items()}
