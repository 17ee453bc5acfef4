"""ACE-Step's clients against a server that listens, with the bundled models: curl and Python."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from headroom.hardware.machine import card
from headroom.jobs.schema import open_database
from headroom.service.app import create_app
from headroom.service.config import from_settings
from headroom.settings import load
from support.needed import require
from support.old_rest import LANGUAGE_MODEL, MODEL, RELEASES, STATS
from support.web import listening, tones_made, wav

pytestmark = pytest.mark.ci
SHORT = {"audio_duration": 10, "inference_steps": 1, "use_cot_caption": False}
QUIET = {**SHORT, "use_cot_language": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rest")
    open_database(folder / "jobs.db").close()
    settings = load({"HEADROOM_DATA_DIR": str(folder), "HEADROOM_CACHE_DIR": str(folder / "c")})
    app = create_app(replace(from_settings(settings), free_bytes=0), lambda: card(24))
    with listening(app) as address, tones_made(app.state.doors):
        yield address


class Client:
    """A client as people write one: it posts JSON, polls, and downloads."""

    def __init__(self, base: str) -> None:
        self.base = base

    def post(self, path: str, body: dict[str, object]) -> Any:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self.base + path, data, headers)
        with urllib.request.urlopen(asked, timeout=120) as answer:
            envelope = json.load(answer)
        assert envelope["code"] == 200, envelope["error"]
        return envelope["data"]

    def wait(self, id: str) -> list[Any]:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            (task,) = self.post("/query_result", {"task_id_list": [id]})
            items: list[Any] = json.loads(task["result"])
            if task["status"] == 1:
                return items
            assert task["status"] == 0, items
            time.sleep(0.2)
        raise TimeoutError(id)

    def sound(self, item: Any) -> tuple[float, int]:
        with urllib.request.urlopen(self.base + item["file"]) as answer:
            samples, rate = soundfile.read(io.BytesIO(answer.read()))
        return len(samples) / rate, rate


def curl(base: str, line: str) -> Any:
    """What the program curl prints for a line of the documentation."""
    words = shlex.split(line.replace("\\\n", " ").replace("http://localhost:8001", base))
    program = shutil.which("curl")
    require("" if program else "curl is not installed")
    assert program is not None
    done = subprocess.run(
        [program, "-sS", *words[1:]], capture_output=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def test_a_song_is_made_as_mp3_with_the_seeds_that_were_asked_for(base: str) -> None:
    client = Client(base)
    asked = {**QUIET, "prompt": "upbeat pop song", "lyrics": "Hello", "seed": "11,12"}
    items = client.wait(client.post("/release_task", asked)["task_id"])
    assert [one["seed_value"] for one in items] == ["11,12"] * 2
    assert all(one["file"].endswith(".mp3") for one in items)
    again = client.wait(client.post("/release_task", asked)["task_id"])
    for one, other in zip(items, again, strict=True):
        seconds, rate = client.sound(one)
        assert (abs(seconds - 10) < 0.2, rate) == (True, 48_000)
        assert _bytes(client, one) == _bytes(client, other)  # the same seed, the same song
    assert _bytes(client, items[0]) != _bytes(client, items[1])
    assert items[0]["prompt"] == "upbeat pop song" and items[0]["metas"]["duration"] == 10


def _bytes(client: Client, item: Any) -> bytes:
    with urllib.request.urlopen(client.base + item["file"]) as answer:
        return bytes(answer.read())


def test_curl_releases_a_task_with_a_file_and_learns_why_it_failed(
    base: str, tmp_path: Path
) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(4.0))
    line = RELEASES[-1].replace("/path/to/local/song.mp3", str(song))
    line += " -F repainting_start=2 -F repainting_end=3 -F inference_steps=1 -F batch_size=1"
    told = curl(base, line)
    assert told["code"] == 200, told
    (item,) = Client(base).wait(told["data"]["task_id"])
    seconds, _ = Client(base).sound(item)
    assert abs(seconds - 4) < 0.2
    beyond = line.replace("repainting_end=3", "repainting_end=1")
    assert "start" in curl(base, beyond)["error"]
    assert curl(base, STATS)["data"]["jobs"]["succeeded"] >= 1


def test_models_are_loaded_and_unloaded(base: str) -> None:
    client = Client(base)
    told = client.post("/v1/init", {"model": MODEL, "init_llm": True})
    assert (told["loaded_model"], told["loaded_lm_model"]) == (MODEL, LANGUAGE_MODEL)
    health = curl(base, "curl http://localhost:8001/health")["data"]
    assert health["models_initialized"] and health["llm_initialized"]
    with urllib.request.urlopen(f"{base}/v1/models") as answer:
        known = json.load(answer)
    assert {m["name"] for m in known["models"] if m["is_loaded"]} == {MODEL, LANGUAGE_MODEL}
    with urllib.request.urlopen(urllib.request.Request(f"{base}/gpu/release", method="POST")):
        pass
    health = curl(base, "curl http://localhost:8001/health")["data"]
    assert (health["loaded_model"], health["llm_initialized"]) == (None, False)
    assert MODEL in client.post("/v1/reinitialize", {})["message"]
    health = curl(base, "curl http://localhost:8001/health")["data"]
    assert (health["loaded_model"], health["llm_initialized"]) == (MODEL, False)


def test_a_description_becomes_a_song(base: str) -> None:
    client = Client(base)
    asked = {**SHORT, "sample_query": "a short waltz", "seed": 3, "batch_size": 1}
    (item,) = client.wait(client.post("/release_task", asked)["task_id"])
    assert item["prompt"] != "" and item["metas"]["duration"] == 10
    sheet = client.post("/format_input", {"prompt": "rock", "lyrics": "la", "param_obj": "{}"})
    assert {"caption", "lyrics", "bpm", "key_scale"} <= set(sheet)
