"""Components whose texts come from the tables, and the updates to another language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gradio as gr
from gradio.blocks import Block

from headroom.ui.words import Words

B = TypeVar("B", bound=Block)
Said = Callable[[Words], Mapping[str, Any]]
"""The properties of a component that are texts, in a language."""


class Texts:
    """The components of a page that have texts, made in the page's first language."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._said: list[tuple[Block, Said]] = []

    def keyed(self, kind: Callable[..., B], keys: Mapping[str, str], **more: Any) -> B:
        """A component whose texts are those under `keys`, by the property that shows each."""
        return self.made(
            kind, lambda words: {name: words(key) for name, key in keys.items()}, **more
        )

    def made(self, kind: Callable[..., B], said: Said, **more: Any) -> B:
        """A component whose texts `said` tells."""
        component = kind(**said(self.words), **more)
        self._said.append((component, said))
        return component

    @property
    def components(self) -> list[Block]:
        """All of them, in order."""
        return [component for component, _ in self._said]

    def updates(self, words: Words) -> list[dict[str, Any]]:
        """An update for each of them."""
        return [gr.update(**said(words)) for _, said in self._said]
