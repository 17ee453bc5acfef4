"""How to open an engine, as a value that is passed around without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headroom.engine.options import NO_OPTIONS, EngineOptions
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open an engine: `options`, and `settings` for what those leave open."""

    settings: Settings
    options: EngineOptions = NO_OPTIONS

    def open(self) -> Engine:
        """Open an engine. Raises what its constructor raises; torch is imported here."""
        from headroom.engine.engine import Engine

        return Engine(self.options, settings=self.settings)
