"""What can be done with a song on the page, through to what the bundled model makes of it: a cover,
a track taken out, its score, when its lines are sung, and a sheet that is changed before that.

All tests share a service, whose engine process stays loaded, and two songs: Hills and Sea.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile

from support.live import Live
from support.pretended import RATE, SECONDS, WORDS, song_of, sound
from support.visitors import MADE, SOON, config_of, opened

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser
LINES = ["over the hills", "and far away"]
SEA = {"caption": "waves", "lyrics": "[Verse]\n" + "\n".join(LINES), "keyscale": "A minor"}
PITCHES = (262.0, 392.0)
# What the page answers a drag with.
_OVER = """addEventListener("dragover", event => {
  window.over = [event.defaultPrevented, event.dataTransfer.dropEffect];
})"""

# A song is dragged over the window; nothing more is told of it.
_UNHEARD = """() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.setData("application/x-headroom-song", "a song");
  dispatchEvent(new DragEvent("dragenter", {dataTransfer}));
}"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(config_of(tmp_path_factory.mktemp("studio"), "acestep"))
    one.start()
    song_of(one, "Hills")
    song_of(one, "Sea", SEA, *PITCHES)
    with one.working():
        yield one
    one.stop()


def job_made(page: Any, live: Live, press: Any) -> dict[str, Any]:
    """The job that a press of a button asks for, when it is done."""
    with page.expect_response(lambda one: one.url.endswith("/events")) as stream:
        press.click()
    id = stream.value.url.split("/")[-2]
    expect(page.locator(f".job[data-job='{id}'][data-state=done]")).to_be_visible(timeout=MADE)
    return dict(httpx2.get(f"{live.url}/v1/jobs/{id}").json())


def file_of(live: Live, title: str) -> str:
    songs = httpx2.get(f"{live.url}/v1/library/songs?q={title}").json()["songs"]
    return str(next(one["file"] for one in songs if one["title"] == title))


def heard(live: Live, job: dict[str, Any]) -> np.ndarray:
    """The samples of what a job made, (frames, channels)."""
    answer = httpx2.get(live.url + job["outputs"][0]["url"])
    return soundfile.read(io.BytesIO(answer.content))[0]


def test_a_cover_of_a_song_is_made(visit: Any, studio: Live) -> None:
    visitor = visit(studio)
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    song.get_by_role("button", name="Make a cover").click()
    expect(page.locator("#task input[value=cover]")).to_be_checked()
    expect(page.locator("#field-source_audio headroom-drop li")).to_have_count(1)
    expect(page.locator("#field-caption textarea")).to_have_value(WORDS["caption"])
    page.locator("#field-caption textarea").fill("loud guitars")
    page.locator("#field-lyrics textarea").fill("[Verse]\nover the roofs")
    job = job_made(page, studio, page.locator("#go"))
    asked = job["asked"]["request"]
    assert (asked["task"], asked["source_audio"]) == ("cover", file_of(studio, "Hills"))
    assert (asked["caption"], asked["keyscale"]) == ("loud guitars", WORDS["keyscale"])
    cover = heard(studio, job)
    assert len(cover) == RATE * SECONDS and np.abs(cover).max() > 0.01
    assert np.abs(cover - sound()).max() > 0.05
    card = page.locator(f".job[data-job='{job['id']}']")
    card.get_by_role("button", name="Open in Songs").click()
    expect(song.locator("ul.versions > li > .version")).to_contain_text("Hills")
    expect(song.locator("ul.versions ul .version")).to_have_count(1)
    expect(song.locator("ul.versions ul .open")).to_have_attribute("aria-current", "true")
    assert visitor.complaints == []


def test_a_song_is_dropped_on_a_track_to_take_it_out(visit: Any, studio: Live) -> None:
    """The mouse drags, as a person's does; the window shows less than the song's view is long."""
    visitor = visit(studio)
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    page.evaluate("scrollTo(0, 0)")
    row = page.locator(".song", has_text="Sea").bounding_box()
    page.mouse.move(row["x"] + row["width"] / 2, row["y"] + row["height"] / 2)
    page.mouse.down()
    page.mouse.move(row["x"] + row["width"] / 2, row["y"] + row["height"] / 2 + 9, steps=3)
    track = song.get_by_role("group", name="Take out a track").get_by_text("drums")
    expect(track).to_be_in_viewport(ratio=1)
    over(page, track)
    expect(track).to_have_class(re.compile(r"\bover\b"))
    page.mouse.up()
    expect(page.locator("#task input[value=extract]")).to_be_checked()
    expect(page.locator("#field-caption textarea")).to_have_value(SEA["caption"])
    job = job_made(page, studio, page.locator("#go"))
    asked = job["asked"]["request"]
    assert (asked["task"], asked["track"]) == ("extract", "drums")
    assert asked["source_audio"] == file_of(studio, "Sea")
    assert len(heard(studio, job)) == RATE * SECONDS
    assert visitor.complaints == []


def over(page: Any, place: Any) -> None:
    """Move the mouse, which drags something, over a place."""
    box = place.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=6)


def test_the_tracks_are_let_go_when_the_end_of_a_drag_is_not_heard(
    visit: Any, studio: Live
) -> None:
    """As of a row that was taken out of the list while it was dragged, which a browser need not
    tell of."""
    visitor = visit(studio)
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    tracks = song.locator("details.tracks")
    page.evaluate(_UNHEARD)
    expect(tracks).to_have_class(re.compile(r"\bawaited\b"))
    page.mouse.move(30, 30, steps=3)
    expect(tracks).not_to_have_class(re.compile(r"\bawaited\b"), timeout=5000)
    assert visitor.complaints == []


def test_a_recording_is_dropped_on_a_track_to_add_it(
    visit: Any, studio: Live, tmp_path: Path
) -> None:
    """The browser itself is told of the drag, as the window system would tell it of a file."""
    mine = tmp_path / "mine.wav"
    soundfile.write(mine, sound(), RATE)
    visitor = visit(studio, viewport={"width": 700, "height": 600})
    page, song = visitor.page, opened(visitor.songs(), "Hills")
    page.locator(".song").last.scroll_into_view_if_needed()
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(mine)], "dragOperationsMask": 1}

    def drag(kind: str, x: float, y: float) -> None:
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    drag("dragEnter", 20, 20)
    track = song.get_by_role("group", name="Add a track").get_by_text("bass")
    expect(track).to_be_in_viewport(ratio=1)
    page.evaluate(_OVER)
    drag("dragOver", 20, 20)  # beside the tracks: what is dropped here is not opened
    assert page.evaluate("over") == [True, "none"]
    drag("drop", 20, 20)
    drag("dragEnter", 20, 20)
    box = track.bounding_box()
    for kind in ("dragOver", "drop"):
        drag(kind, box["x"] + 9, box["y"] + 9)
    expect(page.locator("#task input[value=lego]")).to_be_checked()
    expect(page.locator("#field-source_audio headroom-drop li")).to_contain_text("mine.wav")
    expect(page.locator("#field-track input")).to_have_value("bass")
    assert visitor.complaints == []


def test_a_song_is_scored_and_its_lines_are_found(visit: Any, studio: Live) -> None:
    visitor = visit(studio)
    page, song = visitor.page, opened(visitor.songs(), "Sea")
    path = httpx2.get(f"{studio.url}/v1/library/songs?q=Sea").json()["songs"][0]
    song.get_by_role("button", name="Score", exact=True).click()
    expect(song.locator(".said")).to_have_text("It is being made …")
    expect(song.locator("dl.score [data-part=reward] dd")).to_be_visible(timeout=MADE)
    told = httpx2.get(f"{studio.url}/v1/library/songs/{path['id']}").json()["answers"]["score"]
    shown = {
        one.get_attribute("data-part"): one.locator("dd").inner_text()
        for one in song.locator("dl.score [data-part]").all()
    }
    whole = {"reward": told["reward"], **told["parts"]}
    assert set(told["parts"]) == {"caption", "lyrics", "keyscale"}
    assert shown == {name: f"{value * 100:.0f} %" for name, value in whole.items()}

    player = song.locator("headroom-player")
    assert player.locator(".lane").count() == 0
    song.get_by_role("button", name="Find when each line is sung").click()
    blocks = player.locator(".lane.lines .block")
    expect(blocks).to_have_text(LINES, timeout=MADE)
    with page.expect_download() as download:
        song.get_by_role("link", name="Download LRC").click()
    assert download.value.suggested_filename == "Sea.lrc"
    found = Path(download.value.path()).read_text("utf-8").splitlines()
    starts = [float(line[1:3]) * 60 + float(line[4:9]) for line in found]
    assert [line[10:] for line in found] == LINES
    assert 0 <= starts[0] <= starts[1] < SECONDS
    wave = player.locator(".wave").bounding_box()
    for block, start in zip(blocks.all(), starts, strict=True):
        assert block.bounding_box()["x"] == pytest.approx(
            wave["x"] + wave["width"] * start / SECONDS, abs=3
        )
    player.get_by_role("group", name="Lyrics").get_by_role("button").last.click()
    time = float(player.locator("[data-state]").get_attribute("data-time"))
    assert time == pytest.approx(starts[1], abs=0.05)
    assert visitor.complaints == []


def test_a_sheet_is_changed_and_then_sung(
    visit: Any, studio: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The small model writes on as long as there is room.
    monkeypatch.setattr("headroom.models.acestep.language.sheet_grammar.CAPTION_TOKENS", 40)
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", 300)
    visitor = visit(studio)
    page = visitor.ready()
    page.get_by_label("Everything").check()
    page.get_by_label("Invent a song sheet").check()
    page.locator("#field-caption textarea").fill("a slow song about rain")
    field(page, "genres").fill("folk")
    field(page, "bpm").fill("97")
    first = job_made(page, studio, page.locator("#go"))
    sheet = first["result"]["output"]
    assert (sheet["kind"], sheet["genres"], sheet["bpm"]) == ("song_sheet", "folk", 97)
    card = page.locator(f".job[data-job='{first['id']}']")
    card.get_by_role("button", name="Use this sheet").click()
    expect(page.locator("#task input[value=text2music]")).to_be_checked()
    for name in ("caption", "lyrics"):
        expect(field(page, name)).to_have_value(re.sub("\r\n?", "\n", sheet[name]))
    expect(field(page, "bpm")).to_have_value("97")
    field(page, "lyrics").fill("[Verse]\nonly rain")
    field(page, "bpm").fill("120")
    field(page, "duration").fill("10")
    second = job_made(page, studio, page.locator("#go"))
    asked = second["asked"]["request"]
    assert (asked["lyrics"], asked["bpm"]) == ("[Verse]\nonly rain", 120)
    assert asked["keyscale"] == sheet["keyscale"]
    assert second["result"]["request"]["values"]["bpm"] == 120
    assert len(heard(studio, second)) == 10 * RATE
    assert visitor.complaints == []


def field(page: Any, name: str) -> Any:
    """The box that a field of the form is typed into."""
    return page.locator(f"#field-{name} :is(input, textarea)")
