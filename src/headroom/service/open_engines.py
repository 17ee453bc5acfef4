"""The engines that an engine process keeps open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from threading import RLock
from typing import Any

from headroom.engine.engine import Engine
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.log import log
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.runtime.entry import State
from headroom.runtime.events import Stop
from headroom.service.work import Work
from headroom.settings import Settings

ENGINES = 2  # that are kept open; parts of one that is idle leave the card for another


class Engines:
    """The engines of a card, or of a group of cards, by family and model, opened when asked for."""

    def __init__(self, options: EngineOptions, settings: Settings) -> None:
        self._options, self._settings = options, settings
        self._open: OrderedDict[tuple[str, str | None], Engine] = OrderedDict()
        self._chosen: str | None = None
        self._lock = RLock()  # around the dictionary; nothing is opened or closed under it

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self._settings

    def of(self, work: Work) -> Engine:
        """The engine for a job. Raises what opening it raises."""
        return self._of(work.family, work.model)

    def has(self, request: str) -> bool:
        """Whether the engine for a job's request is open. One that cannot be read needs none."""
        try:
            work = Work.of(request)
        except InvalidRequest:
            return True
        with self._lock:
            return self._key(work.family, work.model) in self._open

    def opened(self) -> list[Engine]:
        """Those that are open and have a model."""
        with self._lock:
            return [engine for engine in self._open.values() if engine.has_parts]

    def load(self, given: Mapping[str, Any], stop: Stop) -> None:
        """Load `model` of `family`, which from now on is the one of jobs that name none; with
        `language_model`, that one beside it, and with `plans` the usual one beside it. A
        `language_model` of None is the usual one again. Raises what opening and loading raise,
        Cancelled."""
        language = given.get("language_model")
        named = {"family": given["family"], "model": given.get("model")}
        options = {**self._options.given, **named}
        if "language_model" in given:
            options["lm_model"] = language
        before, wanted = self._options, EngineOptions.model_validate(options)
        with ExitStack() as undo:
            undo.callback(setattr, self, "_options", before)  # unless all of it succeeds
            self._options = wanted
            if before.lm_model != wanted.lm_model:
                self.close()  # they have another language model
            family = family_named(named["family"])
            song = _planned(family) if language or given.get("plans") else _song(family)
            self._of(named["family"], named["model"]).prefetch(family.song(song), stop)
            undo.pop_all()
        self._chosen = named["model"]

    def choose(self, family: str, model: str) -> None:
        """This model of `family` is the one of jobs that name none; it is loaded for the first of
        them."""
        named = {"family": family, "model": model}
        self._options = EngineOptions.model_validate({**self._options.given, **named})
        self._chosen = model

    @property
    def family(self) -> str:
        """The family of jobs that name none."""
        return self._options.family

    def set_idle_timeout(self, seconds: float) -> None:
        """Let idle parts leave the card after so many seconds. Raises InvalidRequest."""
        given = {**self._options.given, "gpu_idle_timeout": seconds}
        options = EngineOptions.model_validate(given)
        if not self._settings.under(options).gpu_management:
            allowed = "with a service that manages memory (HEADROOM_GPU_MANAGEMENT)"
            raise InvalidRequest("gpu_idle_timeout", seconds, allowed)
        for engine in self.opened():
            engine.set_idle_timeout(seconds)
        self._options = options

    def status(self) -> dict[str, object]:
        """What is open, as plain values: the memory of each engine and its parts; the idle timeout
        in seconds, and the model of jobs that name none. `chosen`: the model that `load` was told
        to load last; `loaded`: the names of the models of which something is in memory."""
        known = self._settings.under(self._options)
        return {
            "family": self._options.family,
            "model": known.model,
            "chosen": self._chosen,
            "language_model": known.lm_model,
            "management": known.gpu_management,
            "idle_timeout": known.gpu_idle_timeout,
            "engines": [
                {
                    "family": engine.family,
                    "model": engine.model.name,
                    "language_models": list(_languages(engine)),
                    "loaded": _loaded(engine),
                    **engine.get_gpu_status(),
                }
                for engine in self.opened()
            ],
        }

    @property
    def have_a_device(self) -> bool:
        """Whether the device of those that are open answers. A card that was lost, and one whose
        context a fault has destroyed, refuse everything until the process ends."""
        with self._lock:
            there = list(self._open.values())
        for engine in there:
            try:
                for card in engine.cards:
                    card.device.free_memory()
            except RuntimeError as error:
                log.error("the device does not answer any more (%s)", type(error).__name__)
                return False
        return True

    def close(self) -> None:
        """Close all of them."""
        while (oldest := self._taken()) is not None:
            oldest.close()

    def _of(self, family: str, model: str | None) -> Engine:
        key = self._key(family, model)
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        while len(self._open) >= ENGINES:
            if (oldest := self._taken()) is not None:
                oldest.close()
        named = {"family": key[0], "model": key[1]}
        options = EngineOptions.model_validate({**self._options.given, **named})
        settings = self._settings
        if key[0] != self._options.family:  # whose models the setting does not name
            settings = settings.model_copy(update={"model": None})
        engine = Opening(settings, options).open()
        with self._lock:
            self._open[key] = engine
        return engine

    def _key(self, family: str, model: str | None) -> tuple[str, str | None]:
        usual = self._options.model if family == self._options.family else None
        return family, model or usual

    def _taken(self) -> Engine | None:
        """The engine that was used longest ago, which is open here no more."""
        with self._lock:
            return self._open.popitem(last=False)[1] if self._open else None


def _song(family: Family) -> dict[str, object]:
    """The values of a usual song."""
    return {} if family.words is None else {family.words: "a song"}


def _planned(family: Family) -> dict[str, object]:
    """The values of a song of which a language model plans all that it can."""
    fields = family.usual_request.model_fields
    switches = (n for n in family.language_fields if n in fields and fields[n].annotation is bool)
    return {**_song(family), **dict.fromkeys(switches, True)}


def _languages(engine: Engine) -> tuple[str, ...]:
    return tuple(getattr(engine.model, "languages", ()))


def _loaded(engine: Engine) -> list[str]:
    """The model and the language models of which something is in memory."""
    there = {part.name for part in engine.status() if part.state is not State.ABSENT}
    languages = [name for name in _languages(engine) if name in there]
    return [engine.model.name, *languages] if there.difference(languages) else languages
