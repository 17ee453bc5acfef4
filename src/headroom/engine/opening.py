"""How engines are opened, said once and carried to where they are: no torch until one is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.engine.terms import NO_CHOICES
from headroom.memory.limits import Choices
from headroom.models.registry import USUAL
from headroom.settings import Policy, Settings

if TYPE_CHECKING:
    from headroom.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Opening:
    """How engines are opened; each field as `Engine` takes it."""

    settings: Settings
    device: str = "auto"
    dtype: str = "auto"
    model: str | None = None
    checkpoint_dir: Path | None = None
    compile: bool | None = None
    threads: int | None = None
    policy: Policy | None = None
    choices: Choices = NO_CHOICES
    family: str = USUAL

    def open(self) -> Engine:
        """An engine. Raises what its constructor raises; torch is loaded here."""
        from headroom.engine.engine import Engine

        return Engine(
            device=self.device,
            dtype=self.dtype,
            model=self.model,
            checkpoint_dir=self.checkpoint_dir,
            compile=self.compile,
            threads=self.threads,
            policy=self.policy,
            choices=self.choices,
            settings=self.settings,
            family=self.family,
        )
