"""How engines are opened, said once and carried to where they are: no torch until one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headroom.engine.options import NO_OPTIONS, EngineOptions
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Opening:
    """How engines are opened: `options`, and `settings` for what those leave open."""

    settings: Settings
    options: EngineOptions = NO_OPTIONS

    def open(self) -> Engine:
        """An engine. Raises what its constructor raises; torch is loaded here."""
        from headroom.engine.engine import Engine

        return Engine(self.options, settings=self.settings)
