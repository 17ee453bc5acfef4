"""ACE-Step's REST interface as its documentation shows it, and an engine that pretends to sing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from starlette.testclient import TestClient

from headroom.engine.provenance import Asked, Pinned, Provenance
from headroom.engine.wire import Outcome, result_json
from headroom.engine.wire.results import SongMade, SongsMade
from headroom.jobs.values import Claim, Made
from headroom.models.outputs import Answer
from headroom.params.describe import task_of
from headroom.params.note import Note
from headroom.params.request import Request
from headroom.service.doors import Doors
from headroom.service.work import Work
from support.web import Engine, wav

MODEL = "acestep-v15-nano"
LANGUAGE_MODEL = "acestep-5Hz-lm-nano"
# docs/en/API.md of ACE-Step 1.5: each of its lines, word for word; files are named by the test.
RELEASES = (
    """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "upbeat pop song",
    "lyrics": "Hello world",
    "inference_steps": 8
  }'""",
    """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "upbeat pop song",
    "lyrics": "Hello world",
    "thinking": true,
    "lm_temperature": 0.85,
    "lm_cfg_scale": 2.5
  }'""",
    """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "sample_query": "a soft Bengali love song for a quiet evening",
    "thinking": true
  }'""",
    """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "pop rock",
    "lyrics": "[Verse 1]\\nWalking down the street...",
    "use_format": true,
    "thinking": true
  }'""",
    """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "jazz piano trio",
    "timesteps": "0.97,0.76,0.615,0.5,0.395,0.28,0.18,0.085,0",
    "thinking": true
  }'""",
    """curl -X POST http://localhost:8001/release_task \\
  -F "prompt=remix this song" \\
  -F "src_audio=@/path/to/local/song.mp3" \\
  -F "task_type=repaint\"""",
)
SELECT_MODEL = """curl -X POST http://localhost:8001/release_task \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "electronic dance music",
    "model": "acestep-v15-turbo",
    "thinking": true
  }'"""
WITH_KEY = """curl -X POST http://localhost:8001/release_task \\
  -H 'Authorization: Bearer your-api-key' \\
  -H 'Content-Type: application/json' \\
  -d '{"prompt": "upbeat pop song"}'"""
QUERY = """curl -X POST http://localhost:8001/query_result \\
  -H 'Content-Type: application/json' \\
  -d '{
    "task_id_list": ["550e8400-e29b-41d4-a716-446655440000"]
  }'"""
FORMAT = """curl -X POST http://localhost:8001/format_input \\
  -H 'Content-Type: application/json' \\
  -d '{
    "prompt": "pop rock",
    "lyrics": "Walking down the street",
    "param_obj": "{\\"duration\\": 180, \\"language\\": \\"en\\"}"
  }'"""
SAMPLE = """curl -X POST http://localhost:8001/create_random_sample \\
  -H 'Content-Type: application/json' \\
  -d '{"sample_type": "simple_mode"}'"""
STATS = "curl http://localhost:8001/v1/stats"
AUDIO = (
    """curl "http://localhost:8001/v1/audio?path=%2Ftmp%2Fapi_audio%2Fabc123.mp3" -o output.mp3"""
)


def typed(client: TestClient, line: str, sound: bytes | None = None) -> Any:
    """The response to a line of curl; the port is that of the client."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    method, url, headers, data = "GET", "", {}, None
    fields: list[tuple[str, Any]] = []
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = words.pop(0)
        elif word == "-F":
            name, _, value = words.pop(0).partition("=")
            is_file = value.startswith("@")
            part = (value.rpartition("/")[2], wav() if sound is None else sound)
            fields.append((name, part if is_file else (None, value)))
        elif word == "-o":
            words.pop(0)
        else:
            url = word
    path = url.removeprefix("http://localhost:8001")
    return client.request(method, path, headers=headers, content=data, files=fields or None)


@dataclass
class Singer:
    """An engine process that pretends to have made what jobs ask for."""

    engine: Engine

    def sing(self, *seeds: int, notes: Sequence[Note] = ()) -> Claim:
        """Finish the next job with songs of these seeds."""
        claim = self.engine.claim()
        request = Work.of(claim.request).read()
        ids = [self._kept(claim, seed) for seed in seeds]
        songs = tuple(
            SongMade(seed, 1.0, _provenance(request, seed), file=id)
            for seed, id in zip(seeds, ids, strict=True)
        )
        self._end(claim, Outcome(SongsMade(songs), _asked(request), notes=tuple(notes)), ids)
        return claim

    def answer(self, output: Answer) -> Claim:
        """Finish the next job with something that is no song."""
        claim = self.engine.claim()
        self._end(claim, Outcome(output, _asked(Work.of(claim.request).read())), [])
        return claim

    def _kept(self, claim: Claim, seed: int) -> str:
        with self.engine.doors.files.receive(claim.key, f"song-{seed}.mp3") as incoming:
            incoming.write(wav() + str(seed).encode())
            return incoming.keep("audio/mpeg", 1.0).id

    def _end(self, claim: Claim, outcome: Outcome, ids: Sequence[str]) -> None:
        made = [Made(id, "A song") for id in ids]
        self.engine.worker.finish(claim, json.dumps(result_json(outcome)), made)


@dataclass
class Loader:
    """An engine process that pretends to load what errands ask for; with `error`, it fails."""

    doors: Doors
    name: str
    error: str | None = None
    given: list[Any] = field(default_factory=list)
    _over: Event = field(default_factory=Event)

    def tell(self, chosen: str | None, *loaded: str) -> None:
        engine = {"family": "acestep", "model": MODEL, "loaded": loaded}
        status = {"job": None, "family": "acestep", "chosen": chosen, "engines": [engine]}
        self.doors.roster.tell(self.name, json.dumps(status))
        self.doors.roster.choose("acestep", chosen)

    @contextmanager
    def working(self) -> Iterator[None]:
        self.tell(None)
        thread = Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self.doors.roster.leave(self.name)

    def _run(self) -> None:
        while not self._over.wait(0.01):
            for errand in self.doors.roster.waiting(self.name):
                given = json.loads(errand.given)
                self.given.append(given)
                languages = [LANGUAGE_MODEL] if given.get("plans") else []
                if self.error is None:
                    self.tell(given["model"], MODEL, *languages)
                answer = "{}" if self.error is None else None
                self.doors.roster.end(errand.id, answer, self.error)


def _asked(request: Request) -> Asked:
    values = request.model_dump(mode="json")
    return Asked(kind=task_of(request), values=values, set_fields=tuple(request.model_fields_set))


def _provenance(request: Request, seed: int) -> Provenance:
    numerics = Pinned(dtype="float32", compiled=False, threads=1, matmul="highest", cuts=())
    return Provenance(
        family="acestep", model=MODEL, requests=(_asked(request),), song=0, seed=seed,
        numerics=numerics, device="cpu", device_kind="cpu", isa="", versions={}, weights=(),
        sources=(),
    )  # fmt: skip
