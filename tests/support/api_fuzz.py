"""Requests that the OpenAPI document describes and requests that it forbids, made up from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from anyio import create_task_group, sleep
from anyio.to_thread import run_sync
from fastapi import FastAPI
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from starlette.types import Receive, Scope, Send

from headroom.engine.wire import Outcome, result_json
from headroom.errors import ClaimLost
from headroom.models.outputs import AudioCodes, SongSheet
from headroom.params.describe import TASK
from headroom.service.answers import CHAT
from headroom.service.work import Work
from support.web import Engine, wav

KEY = "k" * 20
CODES = AudioCodes((1,), "<|audio_code_1|>", 5)
SHEET = SongSheet("A song", "[verse]\nLa la", 90, "C major", "4", "en", 30, None, False)
SHEETS = ("understand", "create_sample", "format_sample")  # tasks that end with a song sheet
PHASES = ("examples", "coverage", "fuzzing", "stateful")
# Routes of which the document says everything that is refused. A request of a family is refused for
# more than a schema can say: a region that ends before it starts, a file that is not there.
_WHOLLY_DESCRIBED = ("/v1/jobs/", "/v1/files/", "/health/", "/metrics")
_WAITING = (*CHAT, "/format_input", "/v1/create_sample")  # for their jobs

schemathesis.openapi.media_type("audio/*", st.binary(max_size=99) | st.just(wav()))


class Worked:
    """An application beside which an engine process works: half of its jobs end before a request,
    one of three of them with an error, but those that a route waits for: it would tell that error.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app, self._asked = app, 0
        self.state = app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._asked += 1
            if self._asked % 2:
                await run_sync(self._work, self._asked % 3 == 0)
        async with create_task_group() as group:
            if scope.get("path") in _WAITING:
                group.start_soon(self._keep_working)
            await self._app(scope, receive, send)
            group.cancel_scope.cancel()

    async def _keep_working(self) -> None:
        while True:
            await run_sync(self._work, False)
            await sleep(0.02)

    def _work(self, failing: bool) -> None:
        one = Engine(self._app.state.doors)
        claim = one.worker.claim()
        with suppress(ClaimLost):
            if claim is not None and failing:
                one.fail(claim)
            elif claim is not None:
                one.finish(claim, _result(claim.request))


def _result(request: str) -> str:
    """What a job's request ends with, as far as a route looks into it."""
    task = Work.of(request).request[TASK]
    return json.dumps(result_json(Outcome(SHEET if task in SHEETS else CODES)))


@dataclass
class Found:
    """How the application answered: how often with which status, and what is wrong."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def see(self, event: object) -> None:
        """Note what an event of the run tells."""
        if isinstance(event, events.ScenarioFinished):
            self._see_scenario(event.recorder)
        elif isinstance(event, events.NonFatalError):
            self.faults.append(str(event.info))
        elif isinstance(event, events.FatalError):
            raise event.exception

    def _see_scenario(self, recorder: Any) -> None:
        for id, exchange in recorder.interactions.items():
            operation = recorder.cases[id].value.operation.label
            if exchange.response is not None:
                self.statuses[operation, exchange.response.status_code] += 1
        for checks in recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    curl = check.failure_info.code_sample
                    self.faults.append(f"{failure.title}: {failure.message}\n{curl}")


def explore(app: FastAPI, examples: int, phases: Iterable[str], seed: int = 1) -> Found:
    """Ask `examples` things of every operation, in each of the phases of schemathesis."""
    phases = set(phases)
    described = [
        {
            "include-path-regex": f"^{path}",
            "checks": {"positive_data_acceptance": {"enabled": True}},
        }
        for path in _WHOLLY_DESCRIBED
    ]
    later = {"not_a_server_error": {"enabled": False}}  # 501: adapters are not here yet
    described.append({"include-path-regex": "^/v1/lora/", "checks": later})
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": {"X-API-Key": KEY},
            "generation": {"max-examples": examples, "database": "none"},
            "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
            "checks": {"positive_data_acceptance": {"enabled": False}},
            "continue-on-failure": True,
            "operations": described,
        }
    )
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", Worked(app), config=config, headers={"X-API-Key": KEY}
    )
    found = Found()
    for event in engine.from_schema(schema).execute():
        found.see(event)
    return found
