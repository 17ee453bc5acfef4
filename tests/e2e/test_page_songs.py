"""The songs of the page in a browser: found, rated, put together, deleted, fetched, compared."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from headroom.audio.files import read_audio
from headroom.audio.formats import FORMATS, container
from headroom.audio.tags import PROVENANCE, read_tags
from support.live import Live, wait_for
from support.visitors import SOON, config_of, opened

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser
KINDS = {
    "wav": WAVE, "wav24": WAVE, "wav32": WAVE, "flac": FLAC, "ogg": OggVorbis, "opus": OggOpus,
    "mp3": MP3, "m4a": MP4,
}  # fmt: skip
NAMES = ["Over the sea", "Rain in the hills", "Night train"]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Live]:
    """A service that has made three tones, of 1, 2 and 3 seconds, with these names."""
    live = Live(config_of(tmp_path, "tone"))
    live.start()
    with live.working():
        for seconds, name in enumerate(NAMES, 1):
            job = tone(live, duration=float(seconds), frequency=110.0 * seconds)
            httpx2.patch(f"{live.url}/v1/library/songs/{job}.1", json={"title": name})
        yield live
    live.stop()


def tone(live: Live, **asked: Any) -> str:
    """The id of a job that has made one."""
    answer = httpx2.post(f"{live.url}/v1/jobs", json={"task": "tone", **asked})
    assert answer.status_code == 202, answer.text
    path = f"{live.url}/v1/jobs/{answer.json()['id']}"
    wait_for(lambda: httpx2.get(path).json()["state"] == "done")
    return str(answer.json()["id"])


def shown(library: Any, *names: str) -> None:
    """Exactly these songs are listed, in this order."""
    expect(library.locator(".song strong")).to_have_text(list(names))


def of(library: Any, name: str) -> Any:
    return library.locator(".song", has_text=name)


def test_songs_are_there_after_a_restart_found_rated_and_named(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    library = visitor.songs()
    shown(library, *reversed(NAMES))
    of(library, NAMES[1]).get_by_role("button", name="4 of 5 stars").click()
    expect(of(library, NAMES[1]).locator("[data-stars='4']")).to_have_attribute(
        "aria-pressed", "true"
    )
    song = opened(library, "Night train")
    song.get_by_label("Tags").fill("slow, dark")
    song.get_by_label("Tags").press("Enter")
    song.get_by_label("Title").fill("Night bus ${1+1} <b>")
    song.get_by_label("Title").press("Enter")
    shown(library, "Night bus ${1+1} <b>", "Rain in the hills", "Over the sea")
    expect(library.get_by_label("Tag", exact=True).locator("option")).to_have_text(
        ["Any", "dark", "slow"]
    )
    assert visitor.complaints == []
    visitor.page.close()  # Gradio complains where it was just asked something
    shelf.stop()
    shelf.start()
    visitor = visit(shelf)
    library = visitor.songs()
    shown(library, "Night bus ${1+1} <b>", "Rain in the hills", "Over the sea")
    library.get_by_role("searchbox").fill("HILLS")
    shown(library, "Rain in the hills")
    library.get_by_role("searchbox").fill("")
    library.get_by_label("Tag", exact=True).select_option("slow")
    shown(library, "Night bus ${1+1} <b>")
    library.get_by_label("Tag", exact=True).select_option("")
    library.get_by_label("Rating").first.select_option("4")
    shown(library, "Rain in the hills")
    library.get_by_label("Rating").first.select_option("")
    library.get_by_label("Order").select_option("name asc")
    shown(library, "Night bus ${1+1} <b>", "Over the sea", "Rain in the hills")
    assert visitor.complaints == []


def test_texts_that_come_late_are_put_into_the_rows(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    page = visitor.page
    late: list[Any] = []
    page.route("**/ui/words/*", lambda route: late.append(route))  # a builtin is no handler
    with page.expect_request("**/ui/words/*"):  # the page asks once Gradio has opened it
        page.reload()
        page.locator("#tab-songs-button").click()
    library = page.locator("headroom-library")
    shown(library, *reversed(NAMES))
    for route in late:
        route.continue_()
    expect(of(library, NAMES[0]).get_by_role("button", name="4 of 5 stars")).to_be_visible()


def test_a_list_that_comes_late_does_not_undo_a_change(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    page, library = visitor.page, visitor.songs()
    song = opened(library, NAMES[2])
    late: list[Any] = []
    page.route("**/v1/library/songs?*", lambda route: late.append((route, route.fetch())))
    song.get_by_label("Tags").fill("slow")
    with page.expect_request("**/v1/library/songs?*"):
        song.get_by_label("Tags").press("Enter")
    song.get_by_label("Title").fill("Night bus")
    song.get_by_label("Title").press("Enter")
    shown(library, "Night bus", *reversed(NAMES[:2]))
    for route, answer in list(late):
        with page.expect_event("requestfinished"):
            route.fulfill(response=answer)
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    shown(library, "Night bus", *reversed(NAMES[:2]))


def test_a_playlist_is_made_ordered_and_fetched(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    library = visitor.songs()
    for name in NAMES[:2]:
        of(library, name).get_by_role("checkbox").check()
    library.get_by_label("Add to playlist").first.select_option("New playlist")
    library.get_by_label("Name of the playlist").fill("Evening")
    library.get_by_role("button", name="Make playlist").click()
    expect(library.locator(".said").first).to_contain_text("Added to “Evening”.")
    library.get_by_label("Show", exact=True).select_option("Evening (2)")
    shown(library, *NAMES[:2])
    library.get_by_role("button", name=f"Move “{NAMES[1]}” up").click()
    shown(library, NAMES[1], NAMES[0])
    with visitor.page.expect_download() as download:
        library.get_by_role("button", name="Download all as ZIP").click()
    assert titles(download.value) == [NAMES[1], NAMES[0]]
    library.get_by_role("button", name=f"Take “{NAMES[0]}” out").click()
    shown(library, NAMES[1])
    library.get_by_role("button", name="Remove playlist").click()
    shown(library, *reversed(NAMES))
    assert visitor.complaints == []


def titles(download: Any) -> list[str]:
    """Of the songs in an archive, each of which is a sound."""
    with zipfile.ZipFile(download.path()) as archive:
        told = json.loads(archive.read("songs.json"))["songs"]
        for one in told:
            assert soundfile.info(io.BytesIO(archive.read(one["file"]))).duration > 0.5
    return [one["title"] for one in told]


def test_what_is_chosen_is_fetched_deleted_and_brought_back(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    library = visitor.songs()
    for name in NAMES[1:]:
        of(library, name).get_by_role("checkbox").check()
    chosen = library.get_by_role("group", name="2 chosen")
    with visitor.page.expect_download() as download:
        chosen.get_by_role("button", name="Download as ZIP").click()
    assert sorted(titles(download.value)) == sorted(NAMES[1:])
    chosen.get_by_role("button", name="Delete").click()
    expect(library.locator(".said").first).to_contain_text("2 songs are deleted.")
    shown(library, NAMES[0])
    library.get_by_role("button", name="Undo").click()
    shown(library, *reversed(NAMES))
    song = opened(library, NAMES[0])
    song.get_by_role("button", name="Delete").click()
    expect(library.locator(".said").first).to_contain_text(f"“{NAMES[0]}” is deleted.")
    expect(song).to_be_hidden()
    library.get_by_label("Show", exact=True).select_option("Deleted songs")
    shown(library, NAMES[0])
    library.get_by_role("button", name="Bring back").click()
    expect(library.locator(".song")).to_have_count(0)
    library.get_by_label("Show", exact=True).select_option("All songs")
    shown(library, *reversed(NAMES))
    assert visitor.complaints == []


def test_a_song_is_heard_and_fetched_in_any_format(visit: Any, shelf: Live, tmp_path: Path) -> None:
    visitor = visit(shelf)
    song = opened(visitor.songs(), NAMES[2])
    visitor.page.set_viewport_size({"width": 1280, "height": 420})
    visitor.page.mouse.move(200, 300)  # over the list
    visitor.page.mouse.wheel(0, 9000)
    expect(song.get_by_label("Title")).to_be_in_viewport(ratio=0.5)  # beside the end of the list
    visitor.page.set_viewport_size({"width": 1280, "height": 720})
    player = song.locator("headroom-player [data-state]")
    song.get_by_role("button", name="Play").click()
    expect(player).to_have_attribute("data-state", "playing")
    expect(player).to_have_attribute("data-time", re.compile(r"[1-9]"))
    song.get_by_role("button", name="Pause").click()
    links = song.get_by_role("group", name="Downloads").get_by_role("link")
    expect(links).to_have_text(list(FORMATS))
    (train,) = httpx2.get(f"{shelf.url}/v1/library/songs?q=train").json()["songs"]
    stored = httpx2.get(f"{shelf.url}/v1/library/songs/{train['id']}").json()["made"]
    for format in FORMATS:
        with visitor.page.expect_download() as download:
            song.get_by_role("link", name=format, exact=True).click()
        name = download.value.suggested_filename
        assert name == f"{NAMES[2]}.{container(format)}"
        file = tmp_path / name
        download.value.save_as(file)
        assert type(mutagen.File(file)) is KINDS[format]
        sound = read_audio(file)
        assert sound.samples.shape[-1] / sound.rate == pytest.approx(3, abs=0.1)
        assert pitch(sound.samples[0].numpy(), sound.rate) == pytest.approx(330, abs=1)
        assert json.loads(read_tags(file)[PROVENANCE]) == stored["provenance"]
    assert visitor.complaints == []


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def test_versions_are_a_tree_and_two_are_compared(visit: Any, shelf: Live) -> None:
    visitor = visit(shelf)
    library = visitor.songs()
    song = opened(library, NAMES[0])
    song.get_by_role("button", name="Once more").click()
    versions = song.locator(".version")
    expect(versions).to_have_count(2)
    expect(song.locator("ul.versions ul .version")).to_have_count(1)
    versions.get_by_role("button", name="Compare").click()
    player = song.locator("headroom-player [data-state=paused]")
    expect(player).to_have_attribute("data-version", "0")
    song.get_by_role("button", name="Version B").click()
    expect(player).to_have_attribute("data-version", "1")
    expect(song.get_by_label("at equal loudness")).to_be_checked()
    song.get_by_role("button", name="Stop comparing").click()
    expect(song.get_by_role("button", name="Version B")).to_have_count(0)
    for name in NAMES[1:]:
        of(library, name).get_by_role("checkbox").check()
    library.get_by_role("group", name="2 chosen").get_by_role("button", name="Compare").click()
    expect(song.get_by_role("button", name=f"Version A: {NAMES[1]}")).to_be_visible()
    expect(song.get_by_role("button", name=f"Version B: {NAMES[2]}")).to_be_visible()
    assert visitor.complaints == []
