"""A service with a small library for pictures and checks of the page: songs that the bundled model
made, versions, tags, a playlist, a song sheet, a job that failed, and, when wanted, one that runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from headroom.engine.wire import error_json
from headroom.errors import OutOfMemory
from headroom.jobs.pulse import Pulse
from headroom.jobs.values import Told
from headroom.settings import load
from support.live import Live, wait_for
from support.visitors import config_of

LYRICS = """[Verse]
Lanterns on the harbour wall
Boats come home and gulls all call

[Chorus]
Slow is the tide, slow is the night
Hold me a while in the lantern light

[Verse]
Nets are drying in the lane
Rooftops shining after rain"""
SONGS: tuple[dict[str, Any], ...] = (
    {
        "title": "Lantern light", "rating": 5, "tags": ["evening", "bossa"],
        "request": {
            "caption": "slow bossa nova, nylon guitar, warm night", "lyrics": LYRICS, "bpm": 84,
            "keyscale": "D minor", "duration": 24, "seed": 7,
        },
    },
    {
        "title": "Night train", "rating": 4, "tags": ["driving"],
        "request": {"caption": "driving synthwave, analogue bass, gated drums", "duration": 16},
    },
    {
        "title": "Rain in the hills", "rating": None, "tags": ["evening"],
        "request": {"caption": "solo piano, close microphone, rain outside", "duration": 12},
    },
)  # fmt: skip
RATE = 48_000  # Hz
MADE = 300  # seconds, in which the bundled model makes a song on a busy machine


@dataclass
class Studio:
    """The service, and what was made in it: ids of songs, the first one's first."""

    live: Live
    songs: list[str]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of a route. Raises AssertionError."""
        answer = httpx2.request(method, self.live.url + path, json=body, timeout=60)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def made(self, request: dict[str, Any]) -> str:
        """The id of a job that has been done, by an engine that works."""
        job = self.ask("POST", "/v1/jobs", request)["id"]
        wait_for(lambda: self.ask("GET", f"/v1/jobs/{job}")["state"] == "done", MADE)
        return str(job)

    def fill(self) -> None:
        """Make the library, with an engine that works."""
        for song in SONGS:
            job = self.made({"task": "text2music", "inference_steps": 4, **song["request"]})
            self.songs.append(f"{job}.1")
            values = {"title": song["title"], "tags": song["tags"]}
            if song["rating"]:
                values["rating"] = song["rating"]
            self.ask("PATCH", f"/v1/library/songs/{job}.1", values)
        again = self.ask("POST", f"/v1/jobs/{self.songs[0][:-2]}/replay", {})["id"]
        wait_for(lambda: self.ask("GET", f"/v1/jobs/{again}")["state"] == "done", MADE)
        self.ask("PATCH", f"/v1/library/songs/{again}.1", {"title": "Lantern light, second take"})
        playlist = {"name": "Evening", "songs": [self.songs[0], self.songs[2]]}
        self.ask("POST", "/v1/library/playlists", playlist)
        self.made({"task": "create_sample", "query": "a song about a ferry"})

    def fail(self) -> None:
        """A job that failed, of an engine that this plays; no other may work."""
        self.ask("POST", "/v1/jobs", {"task": "text2music", "caption": "an hour of organ"})
        worker, claim = self._claimed()
        worker.fail(claim, json.dumps(error_json(OutOfMemory("decode", 3 << 30, 2))))

    @contextmanager
    def running(self) -> Iterator[None]:
        """A job that runs, a third of it decoded, and one that waits behind it."""
        request = {"task": "text2music", "caption": "sunlit indie folk, two voices", "duration": 90}
        plan = self.ask("POST", "/v1/plan", request)
        behind = {"task": "text2music", "caption": "string quartet at dusk"}
        ids = [self.ask("POST", "/v1/jobs", one)["id"] for one in (request, behind)]
        worker, claim = self._claimed()
        stages = [stage["stage"] for stage in plan["stages"]]
        told = [
            {"event": "started", "plan": plan},
            *({"event": "stage_done", "stage": one} for one in stages[: stages.index("decode")]),
            {"event": "stage_started", "stage": "decode"},
            {"event": "audio_ready", "song": 0, "start": 0, "frames": 30 * RATE, "rate": RATE},
            {"event": "progress", "stage": "decode", "done": 2, "total": 6},
        ]
        worker.tell(claim, [Told(json.dumps(one), False) for one in told])
        try:
            with Pulse(worker, claim):
                yield
        finally:
            worker.give_back(claim)
            for id in ids:  # no engine is to make them later
                self.ask("DELETE", f"/v1/jobs/{id}")

    def _claimed(self) -> tuple[Any, Any]:
        worker = self.live.worker("studio")
        claim = worker.claim()
        assert claim is not None
        return worker, claim


@contextmanager
def studio(folder: Path, family: str = "acestep", **more: Any) -> Iterator[Studio]:
    """A service in a folder, with the panel of memory management, without an engine; `more`: of its
    configuration."""
    given = {"HEADROOM_DATA_DIR": str(folder), "HEADROOM_CACHE_DIR": str(folder / "c")}
    settings = load({**given, "HEADROOM_GPU_MANAGEMENT": "true"})
    live = Live(replace(config_of(folder, family, **more), settings=settings))
    live.start()
    try:
        yield Studio(live, [])
    finally:
        live.stop()
