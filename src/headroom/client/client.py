"""The verbs of `Engine`, asked of a service: requests go there, results come back."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from headroom.audio.files import probe_audio
from headroom.client.link import Link, opened, reread
from headroom.client.results import result_of
from headroom.client.sound import EarlySound
from headroom.client.story import Story
from headroom.engine.names import inputs_of
from headroom.engine.options import settings_given
from headroom.engine.result import Output, Result, SongResult
from headroom.engine.wire import (
    Json,
    error_from,
    event_from,
    limits_from,
    plan_from,
)
from headroom.engine.wire.events import AudioStored
from headroom.errors import HeadroomError, InvalidRequest, QueueFull
from headroom.memory.plan import Plan
from headroom.models.registry import USUAL, family_named
from headroom.params.describe import TASK, task_of
from headroom.params.knob import Limit
from headroom.params.note import Note
from headroom.params.request import SONGS, Request
from headroom.runtime.events import Queued, Stop, Tell, WithAudio, never, tell_nobody
from headroom.settings import Settings
from headroom.settings.remote import KEY, URL

PATIENCE = 300.0
_LOOK = 0.25  # seconds between two looks whether to cancel
_QUEUE_LOOKS = 8  # of these between two looks at the position in the queue


class Client:
    """An engine that works elsewhere: a service at `url`, opened by `key`.

    url, key  None: those of the settings HEADROOM_REMOTE and HEADROOM_REMOTE_KEY
    model     of every request, by the name that `models` shows; None: the one the service uses
    patience  seconds that the service may be away while it works, as during a restart
    reuse     whether requests with all their seeds are answered with the songs that the service
              made for the same request before, if it did

    Results, plans, notes and errors are those of an `Engine`; tensors beside the audio stay with
    the service. Files that a request names are sent there. Every method raises ServiceFailed where
    the service cannot be reached, wants another key, or is of another version. Threads may share a
    client.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        family: str = USUAL,
        model: str | None = None,
        patience: float = PATIENCE,
        reuse: bool = False,
        settings: Settings | None = None,
    ) -> None:
        if url is None or key is None:
            known = settings_given(settings)
            url = known.remote if url is None else url
            if key is None and known.remote in (None, url):  # a key is shown to its service only
                key = known.remote_key
        self._family, self._model, self._reuse = family_named(family), model, reuse
        self._link: Link = opened(_read("url", url, URL), _key_of(key), patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Jobs at work go on."""
        self._link.http.close()

    @property
    def notes(self) -> tuple[Note, ...]:
        """None: what holds for every request there is among the notes of each result."""
        return ()

    # --- the verbs of an engine ---------------------------------------------------------------

    def perform(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> Result[Output]:
        """The result of a request, as `Engine.perform`; `cancel` is asked all the time.

        A job is made of it, which is cancelled when this call is stopped, by `cancel`, Ctrl-C or an
        error in `on_event`. A `WithAudio` listener hears songs while they are decoded, in 16 bits,
        as far as the service keeps that: the last samples of a song may be missing.
        """
        return self._awaited(*self._sent(request), on_event, cancel)

    def generate(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongResult:
        """The songs of a request, as `Engine.generate`."""
        if request.makes != SONGS:
            kind = type(request).__name__
            raise InvalidRequest("request", kind, f"a request for songs (`perform` takes {kind})")
        return cast("SongResult", self.perform(request, on_event, cancel))

    def generate_batch(
        self, requests: Sequence[Request], on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[SongResult, ...]:
        """The songs of several requests, in order. As many of them as may wait in the queue."""
        sent: deque[tuple[str, dict[str, str]]] = deque()
        made: list[SongResult] = []

        def first() -> SongResult:
            return cast("SongResult", self._awaited(*sent.popleft(), on_event, cancel))

        try:
            for request in requests:
                while (job := self._sent_unless_full(request, bool(sent))) is None:
                    made.append(first())
                sent.append(job)
            while sent:
                made.append(first())
        finally:
            for id, _ in sent:
                self._dropped(id)
        return tuple(made)

    def timed(
        self, result: SongResult, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongResult:
        """Refused: the tensors that tell when lines are sung stay with the service."""
        raise InvalidRequest("timed", True, "an engine here")

    def plan(self, request: Request) -> Plan:
        """What `perform` would do there, as `Engine.plan`. Nothing runs."""
        told = self.forecast(request)
        if told.get("refusal") is not None:
            raise error_from(told["refusal"])
        return plan_from(told.get("plan"))

    def forecast(self, request: Request, vram: float | None = None) -> Json:
        """The whole answer of `POST /v1/plan`: the plan with its alternatives and notes, for the
        card there or for one of `vram` GiB."""
        body, _ = self._body(request)
        params = {**self._subject(), "vram": vram}
        return self._link.ask("POST", "/v1/plan", params, body)

    def limits(self, request: Request | None = None) -> Mapping[str, Limit]:
        """The limits of the fields of a request on the card there, by field."""
        if request is None:
            return limits_from(self._link.ask("GET", "/v1/limits", self._subject()))
        body, _ = self._body(request)
        return limits_from(self._link.ask("POST", "/v1/limits", self._subject(), body))

    def models(self) -> Json:
        """The models there, as `GET /v1/models` answers."""
        return self._link.ask("GET", "/v1/models", {"family": self._family.name})

    # --- jobs ---------------------------------------------------------------------------------

    def submit(self, request: Request) -> str:
        """Ask for something and do not wait for it: the id of its job."""
        return self._sent(request)[0]

    def job(self, job: str) -> Json:
        """A job as `GET /v1/jobs/{id}` answers. Raises UnknownId."""
        return self._link.ask("GET", f"/v1/jobs/{job}")

    def cancel(self, job: str) -> None:
        """Cancel a job; one that has ended stays as it is. Raises UnknownId."""
        self._link.ask("POST", f"/v1/jobs/{job}/cancel")

    def wait(self, job: str, on_event: Tell = tell_nobody, cancel: Stop = never) -> Result[Output]:
        """The result of a job that was submitted, when it has ended; `on_event` hears all of its
        events that are kept. Raises as `perform`, and UnknownId."""
        return self._awaited(job, {}, on_event, cancel)

    # --- below --------------------------------------------------------------------------------

    def _subject(self) -> dict[str, str | int | float | None]:
        return {"family": self._family.name, "model": self._model}

    def _body(self, request: Request) -> tuple[Json, dict[str, str]]:
        """A request as the service takes it, and the names here of the files that were sent."""
        body: Json = request.model_dump(mode="json", exclude_unset=True)
        named: dict[str, str] = {}
        for field, paths in inputs_of(request).items():
            ids = [self._uploaded(path, field) for path in paths]
            named |= dict(zip(ids, map(str, paths), strict=True))
            body[field] = list(ids) if isinstance(getattr(request, field), tuple) else ids[0]
        return {**body, TASK: task_of(request)}, named

    def _uploaded(self, path: Path, field: str) -> str:
        probe_audio(path, field)  # the errors are those of an engine here
        return str(self._link.upload("/v1/files", {"name": path.name}, path)["id"])

    def _sent(self, request: Request) -> tuple[str, dict[str, str]]:
        """The job of a request: its id, and the names here of the files that were sent."""
        body, named = self._body(request)
        once = {"Idempotency-Key": secrets.token_hex(16)}  # a second try makes no second job
        try:
            how = {**self._subject(), "reuse": "true" if self._reuse else None}
            made = self._link.ask("POST", "/v1/jobs", how, body, once)
        except HeadroomError as error:
            raise reread(error, named) from None
        return str(made["id"]), named

    def _sent_unless_full(
        self, request: Request, others: bool
    ) -> tuple[str, dict[str, str]] | None:
        """The same; None where the queue is full and `others` of this call are in it."""
        try:
            return self._sent(request)
        except QueueFull:
            if not others:
                raise
            return None

    def _awaited(
        self, job: str, named: Mapping[str, str], on_event: Tell, cancel: Stop
    ) -> Result[Output]:
        """Follow a job to its end; its result, or what it failed with."""
        with ExitStack() as undo:
            undo.callback(self._dropped, job)
            view = self._followed(job, on_event, cancel)
            undo.pop_all()
        return result_of(self._link, view, self._family, named)

    def _followed(self, job: str, on_event: Tell, cancel: Stop) -> Json:
        """Tell the events of a job; the view of the job, once it has ended."""
        asked, begun, looks, place = False, False, 0, 0
        early = EarlySound(self._link, job)
        with Story(self._link, job) as story:
            while True:
                step = story.next(_LOOK)
                if not asked and cancel():
                    asked = True
                    self.cancel(job)
                if step is None:
                    looks += 1
                    if not begun and looks % _QUEUE_LOOKS == 0:
                        place = self._waited(job, place, on_event)
                elif step.ended:
                    return step.view
                else:
                    begun = True
                    _tell(step.view, on_event, early)

    def _waited(self, job: str, before: int, on_event: Tell) -> int:
        """Tell the position of a job in the queue if it has changed; the position."""
        view = self.job(job)
        place = view.get("position")
        if view["state"] != "queued" or not isinstance(place, int) or place + 1 == before:
            return before
        on_event(Queued(place + 1))
        return place + 1

    def _dropped(self, job: str) -> None:
        """Cancel a job, if the service can be reached."""
        with suppress(HeadroomError):
            self.cancel(job)


def _tell(view: Mapping[str, Any], on_event: Tell, early: EarlySound) -> None:
    """Tell an event, unless it is one that only a newer service knows. Sound is fetched for who
    listens to it."""
    try:
        event = event_from(view)
    except InvalidRequest:
        return
    if not isinstance(event, AudioStored):
        on_event(event)
    elif isinstance(on_event, WithAudio) and (heard := early.fetched(event)) is not None:
        on_event(heard)


def _read(field: str, value: object, takes: Any) -> str:
    takes.check(field, value)
    try:
        return str(takes.read(value))
    except ValueError:
        raise InvalidRequest(field, value, takes.allowed) from None


def _key_of(key: str | None) -> str | None:
    try:
        return None if key is None else str(KEY.read(key))
    except ValueError:
        raise InvalidRequest("key", "(not shown)", KEY.allowed) from None
