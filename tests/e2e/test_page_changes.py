"""From a song to the next one in a browser: parts, tracks, its sound, a sweep.

The bundled model makes what is listened to; where only a request matters, the test itself plays the
engine.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile

from support.live import Live
from support.pretended import RATE, SECONDS, WORDS, finish, song_of
from support.visitors import MADE, SOON, config_of, opened

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A service of songs without an engine, with a song of four seconds called Hills."""
    one = Live(config_of(tmp_path, "acestep"))
    one.start()
    song_of(one, "Hills")
    yield one
    one.stop()


def drag(page: Any, song: Any, start: float, end: float) -> None:
    """Drag over the waveform from one time to another; it is as long as its player says, with room
    at both ends."""
    wave = song.locator("headroom-player .wave")
    wave.scroll_into_view_if_needed()
    box, room = wave.bounding_box(), 5
    whole = SECONDS + 2 * room

    def at(time: float) -> float:
        return float(box["x"] + box["width"] * (time + room) / whole)

    middle = box["y"] + box["height"] / 2
    page.mouse.move(at(start), middle)
    page.mouse.down()
    page.mouse.move(at((start + end) / 2), middle, steps=4)
    page.mouse.move(at(end), middle, steps=4)
    page.mouse.up()


def in_form(page: Any, task: str, field: str = "source_audio") -> None:
    """The form is shown with this task and a file in this field."""
    expect(page.locator(f"#task input[value={task}]")).to_be_checked()
    expect(page.locator(f"#field-{field} headroom-drop li")).to_have_count(1)
    expect(page.locator("#field-caption textarea")).to_have_value(WORDS["caption"])


def test_a_song_goes_into_the_form_as_reference_and_to_take_a_track_out(
    visit: Any, live: Live
) -> None:
    visitor = visit(live)
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    song.get_by_role("button", name="Use its sound").click()
    in_form(page, "text2music", "reference_audio")
    page.locator("#tab-songs-button").click()
    song.get_by_text("Tracks").click()
    song.get_by_role("group", name="Take out a track").get_by_text("drums").click()
    in_form(page, "extract")
    assert visitor.complaints == []


def test_a_region_is_made_anew_and_the_rest_is_the_same(visit: Any, live: Live) -> None:
    visitor = visit(live)
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    song.get_by_role("button", name="Change a part").click()
    expect(song.locator("headroom-player .regions")).to_be_attached()
    drag(page, song, 1.0, 2.0)
    drag(page, song, 3.2, 5.0)
    expect(song.locator("headroom-player .regions li")).to_have_count(2)
    (first, last) = json.loads(
        song.locator("headroom-player [data-state]").get_attribute("data-regions")
    )
    assert abs(first["start"] - 1) < 0.1 and abs(last["end"] - 5) < 0.1
    song.get_by_role("button", name="Put these parts into the form").click()
    in_form(page, "repaint")
    expect(page.locator("headroom-parts")).to_contain_text("1")
    page.locator("#go").click()
    with live.working():
        expect(page.locator(".job[data-state=done]")).to_have_count(3, timeout=2 * MADE)
    expect(page.locator("headroom-parts")).to_be_hidden()
    songs = httpx2.get(f"{live.url}/v1/library/songs").json()["songs"]
    newest, middle, source = (heard(live, one) for one in songs)
    assert len(source) == RATE * SECONDS
    assert abs(len(middle) / RATE - last["end"]) < 0.1
    assert len(newest) == len(middle)
    changed = np.abs(newest[: len(source)] - source).max(axis=1)
    for start, end in ((0, first["start"]), (first["end"], last["start"])):
        rest = changed[round((start + 0.1) * RATE) : round((end - 0.1) * RATE)]
        assert rest.max() < 2**-20
    for start, end in ((first["start"], first["end"]), (last["start"], SECONDS)):
        assert changed[round((start + 0.1) * RATE) : round((end - 0.1) * RATE)].max() > 0.01
    page.locator("#tab-songs-button").click()
    page.locator(".song", has_text="Hills").locator("button.open").click()
    expect(song.locator("ul.versions ul ul .version")).to_have_count(1)
    assert visitor.complaints == []


def heard(live: Live, song: dict[str, Any]) -> np.ndarray:
    """The samples of a song, (frames, channels)."""
    return soundfile.read(io.BytesIO(httpx2.get(live.url + song["url"]).content))[0]


def test_a_sweep_is_a_grid_of_songs_with_one_seed(visit: Any, live: Live) -> None:
    visitor = visit(live)
    page = visitor.ready()
    page.get_by_label("Everything").check()
    page.locator("headroom-sweep summary").click()
    page.get_by_label("Shift 2").fill("2.5")
    page.get_by_label("Shift 2").press("Tab")
    page.get_by_role("button", name="Make all six").click()
    cells = page.locator("headroom-sweep .cell")
    expect(cells).to_have_count(6)
    jobs = httpx2.get(f"{live.url}/v1/jobs?state=queued").json()["jobs"]
    requests = [one["asked"]["request"] for one in jobs]
    assert {one["shift"] for one in requests} == {1.0, 2.5, 5.0}
    assert len({(one["shift"], one["guidance_scale"]) for one in requests}) == 6
    assert len({one["seed"] for one in requests}) == 1
    for number in range(6):
        finish(live, f"Sweep {number}")
    expect(page.locator("headroom-sweep .cell[data-state=done]")).to_have_count(6)
    player = cells.last.locator("headroom-player")
    player.scroll_into_view_if_needed()
    expect(player.locator("[data-state=paused]")).to_be_visible()
    assert visitor.complaints == []
