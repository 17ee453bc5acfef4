"""Clients of a service that is disturbed: they submit, follow and fetch over HTTP, and note what no
client should see."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import soundfile

AGAIN = (429, 503, 507)  # a full queue, a database that is away, a full disk: to be asked again
PAUSE = 1.0  # seconds between two tries
T = TypeVar("T")


class Client(threading.Thread):
    """Submits jobs one after another, follows the events of each to its end, and fetches its song.

    accepted  the ids, by idempotency key; `faults`: sentences; `refusals`: tries that were refused
    """

    def __init__(
        self,
        port: int,
        name: str,
        requests: list[str],
        over: threading.Event,
        enough: threading.Event | None = None,
    ) -> None:
        super().__init__(daemon=True, name=name)
        self._url, self._requests, self._over = f"http://127.0.0.1:{port}", requests, over
        self.enough = enough or threading.Event()  # nothing more is submitted
        self.accepted: dict[str, str] = {}
        self.faults: list[str] = []
        self.events: list[str] = []  # ids, of the last job
        self.fetched: list[str] = []  # jobs whose songs are whole
        self.refusals = 0
        self.broken = 0  # connections

    def run(self) -> None:
        for number, request in enumerate(self._requests):
            if self.enough.is_set():
                return
            repeat = f"{self.name}-{number}"
            job = self._tried(lambda r=request, k=repeat: self._submit(r, k))
            if job is None:
                return
            self.accepted[repeat] = job
            ended = self._followed(job)
            if ended is not None:
                self._fetch(ended)

    def _submit(self, request: str, repeat: str) -> str:
        family, _, body = request.partition(" ")
        headers = {"Content-Type": "application/json", "Idempotency-Key": repeat}
        url = f"{self._url}/v1/jobs?family={family}"
        asked = urllib.request.Request(url, body.encode(), headers, method="POST")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return str(json.load(answer)["id"])

    def _followed(self, job: str) -> dict[str, Any] | None:
        """The job as its event `end` shows it."""
        last, ends = "0", list[dict[str, Any]]()
        self.events = []

        def follow() -> bool:
            nonlocal last
            headers = {"Last-Event-ID": last}
            asked = urllib.request.Request(f"{self._url}/v1/jobs/{job}/events", None, headers)
            with urllib.request.urlopen(asked, timeout=60) as stream:
                kind = ""
                for line in stream:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        if _number(value) < _number(last) or value == last:
                            self.faults.append(f"{job}: event {value} after {last}")
                        last = value
                        self.events.append(value)
                    elif field == "event":
                        kind = value
                    elif field == "data" and kind == "end":
                        ends.append(json.loads(value))
            return bool(ends)

        while not self._over.is_set():
            if self._tried(follow):
                return ends[0]
        return None

    def _fetch(self, job: dict[str, Any]) -> None:
        for output in job["outputs"]:
            data = self._tried(lambda url=output["url"]: self._bytes(url))
            if data is None:
                return
            if len(data) != output["size"]:
                self.faults.append(f"{job['id']}: {len(data)} of {output['size']} bytes")
                continue
            samples, rate = soundfile.read(io.BytesIO(data))
            if len(samples) != round(output["seconds"] * rate):
                self.faults.append(f"{job['id']}: half a song")
            self.fetched.append(job["id"])
        if len(job["outputs"]) != (job["state"] == "done"):
            self.faults.append(f"{job['id']}: {job['state']} with {len(job['outputs'])} outputs")

    def _bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(self._url + path, timeout=60) as answer:
            whole: bytes = answer.read()
            return whole

    def _tried(self, ask: Callable[[], T]) -> T | None:
        """What the service answers, once it does; None when all is over."""
        while not self._over.is_set():
            try:
                return ask()
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read().decode()
                if error.code not in AGAIN:
                    self.faults.append(f"{self.name}: {error.code} {text}")
                    return None
                self.refusals += 1
            except (OSError, http.client.HTTPException):
                self.broken += 1
            time.sleep(PAUSE)
        return None


def _number(event: str) -> int:
    return int(event.removesuffix("-end"))
