"""`acestep serve --cards`: an engine process for each card or group of cards that is named."""

from __future__ import annotations

import os
import sys

import httpx2
import psutil
import pytest

from e2e.test_service import lives, place
from support.live import wait_for
from support.ports import free_port
from support.service_place import Place

__all__ = ["place"]
GROUP, SINGLE = "simulated:a,simulated:b", "simulated:c"
pytestmark = pytest.mark.ci


def test_each_group_has_one_engine_process_which_tells_of_its_cards(place: Place) -> None:
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--cards", f"{GROUP} {SINGLE}"]
    env = {
        **os.environ,
        "HEADROOM_DATA_DIR": str(place.folder),
        "HEADROOM_CACHE_DIR": str(place.folder / "cache"),
        "MAX_CUDA_VRAM": "8",
    }
    parent = psutil.Popen([sys.executable, "-m", "headroom", "serve", *words], env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: lives(port), 120)
        with httpx2.Client(base_url=url, timeout=120) as client:

            def told() -> list[dict[str, object]]:
                found: list[dict[str, object]] = client.get("/gpu/status").json()["engines"]
                return found

            wait_for(lambda: len(told()) == 2, 120)
            names = sorted(str(one["engine"]).rpartition("-")[0] for one in told())
            assert names == [GROUP, SINGLE]
            ran = client.post("/v1/models/load?wait=60", json={"family": "tone"})
            assert ran.status_code == 200, ran.text
            assert {one["state"] for one in ran.json()["errands"]} == {"done"}
            jobs = [place.submit(duration=0.2) for _ in range(4)]
            wait_for(lambda: all(place.queue.get(job).has_ended for job in jobs), 120)
            assert {place.queue.get(job).state for job in jobs} == {"done"}
            cards = {
                str(one["engine"]).rpartition("-")[0]: [
                    card["device"]
                    for card in one["engines"][0]["cards"]  # type: ignore[index]
                ]
                for one in told()
            }
            assert cards == {
                GROUP: ["the simulated card a", "the simulated card b"],
                SINGLE: ["the simulated card c"],
            }
            numbers = client.get("/metrics").text
            assert 'headroom_engines{state="idle"}' in numbers
            assert "headroom_device_free_bytes" in numbers
        children = parent.children(recursive=True)
        parent.terminate()
        parent.wait(60)
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
    assert psutil.wait_procs(children, 30)[1] == []
