"""What the functions of `acestep.inference` need of the two handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from headroom.runtime.events import Event, Progress

if TYPE_CHECKING:
    from headroom.engine.engine import Engine
    from headroom.engine.options import EngineOptions

ProgressCallback = Callable[..., object]


class LanguageHandler(Protocol):
    """What is needed of an `acestep.llm_inference.LLMHandler`."""

    llm_initialized: bool

    def engine(self) -> Engine:
        """The engine with its language model. Raises HeadroomError."""

    def share(self, engine: Engine) -> None:
        """Use an engine that was opened elsewhere."""

    def options(self, before: EngineOptions) -> EngineOptions:
        """The options it sets, added to those that were chosen before."""


class MusicHandler(Protocol):
    """What is needed of an `acestep.handler.AceStepHandler`."""

    def engine_for(self, language: LanguageHandler | None) -> Engine:
        """The engine, with a language model if one is initialised. Raises HeadroomError."""


def event_listener(progress: ProgressCallback | None) -> Callable[[Event], None]:
    """A listener that passes a run's events to a callback `progress(share, desc=…)`, or None."""

    def report(event: Event) -> None:
        if progress is not None and isinstance(event, Progress) and event.total:
            progress(event.done / event.total, desc=event.stage)

    return report
