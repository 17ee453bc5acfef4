"""The page in a browser: songs are heard while they are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headroom.jobs.values import Asked
from support.live import Live
from support.tone_gate import Gate, gated
from support.visitors import config_of

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser
LATE = 60_000  # milliseconds, on a machine that has much to do


@pytest.fixture
def gate() -> Iterator[Gate]:
    with gated() as one:
        yield one


@pytest.fixture
def tones(tmp_path: Any, gate: Gate) -> Iterator[Live]:
    """A service whose engine makes tones, as far as the gate lets it."""
    live = Live(config_of(tmp_path, "tone"))
    live.start()
    with live.working():
        yield live
        gate.open(1 << 30)
    live.stop()


def test_a_song_is_heard_while_it_is_made(visit: Any, tones: Live, gate: Gate) -> None:
    assert tones.doors is not None
    asked = {"family": "tone", "request": {"task": "tone", "duration": 30}}
    tones.doors.queue.submit(Asked(json.dumps(asked)))
    visitor = visit(tones)
    page = visitor.page
    job = page.locator(".job[data-state=running]").first
    listen = job.locator("[data-does=job_early]")
    expect(listen).to_have_text("Listen so far (1 s)", timeout=LATE)
    assert job.locator("audio").count() == 0
    listen.click()
    sound = job.locator("audio")
    expect(sound).to_have_js_property("duration", 1, timeout=LATE)
    expect(sound).to_have_js_property("ended", True, timeout=LATE)
    gate.open(4)
    expect(listen).to_have_text("Listen so far (4 s)", timeout=LATE)
    expect(sound).to_have_js_property("duration", 4, timeout=LATE)  # it goes on by itself
    page.wait_for_function("document.querySelector('.job audio').currentTime > 1", timeout=LATE)
    gate.open(1 << 30)
    done = page.locator(".job[data-state=done]").first
    expect(done).to_be_visible(timeout=LATE)
    assert done.locator("[data-does=job_early]").count() == 0
    goes_on = (
        "Number(document.querySelector('.job[data-state=done] [data-time]')?.dataset.time) > 1"
    )
    page.wait_for_function(goes_on, timeout=LATE)
    # It may be asked for once more in the moment in which it goes: the browser notes that.
    assert [one for one in visitor.complaints if "Failed to load resource" not in one] == []
    assert len(visitor.complaints) < 3


def test_a_preview_comes_first_and_the_whole_song_has_its_seed(
    visit: Any, tones: Live, gate: Gate
) -> None:
    gate.open(1 << 30)
    visitor = visit(tones)
    page = visitor.ready()
    page.locator("#go-preview").click()
    first = page.locator(".job[data-state=done]").first
    expect(first.locator(".mark")).to_have_text("Preview", timeout=LATE)
    page.reload()  # this browser remembers it
    page.locator(".job [data-does=job_whole]").click()
    expect(page.locator(".job[data-state=done]")).to_have_count(2, timeout=LATE)
    assert tones.doors is not None
    whole, quick = (json.loads(job.request)["request"] for job in tones.doors.queue.page().jobs)
    assert quick == {**whole, "steps": 2} and "steps" not in whole
    assert whole["seed"] is not None
    expect(page.locator(".job .mark")).to_have_count(1)
    assert visitor.complaints == []
