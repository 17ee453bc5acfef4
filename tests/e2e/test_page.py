"""The page in a browser, as people use it: make, cancel, change the language.

An engine process plays the tone family, or none runs and songs wait. The browser is the system's
Chromium; without one, and without the extra `browser-test`, these tests are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.live import Live
from support.visitors import SOON, config_of

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service whose engine makes tones, in milliseconds."""
    live = Live(config_of(tmp_path_factory.mktemp("tones"), "tone"))
    live.start()
    with live.working():
        yield live
    live.stop()


def test_a_song_is_made_heard_and_deleted(visit: Any, tones: Live) -> None:
    visitor = visit(tones)
    page = visitor.ready()
    page.locator("#go").click()
    job = page.locator(".job[data-state=done]").first
    expect(job).to_be_visible(timeout=SOON)
    expect(job.locator("headroom-player [data-state=paused]")).to_be_visible(timeout=SOON)
    source = job.get_by_role("link", name="flac").get_attribute("href")
    assert re.fullmatch(r"http://[\w.:]+/v1/jobs/[\w-]{20}/outputs/1\?format=flac", source)
    with page.expect_download() as download:
        job.get_by_role("link", name="flac").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"fLaC"
    again = visit(tones).ready()  # who comes back finds it
    expect(again.locator(".job[data-state=done]").first).to_be_visible(timeout=SOON)
    job.locator("[data-does=job_delete]").click()
    job.get_by_role("button", name="Delete").click()
    expect(page.locator(".job")).to_have_count(0, timeout=SOON)
    assert visitor.complaints == []


def test_a_job_that_waits_is_cancelled_and_words_are_only_words(visit: Any, waiting: Live) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    name = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
    page.locator("#field-caption textarea").fill(name)
    page.get_by_label("Tender").check()
    page.locator("#go").click()
    job = page.locator(".job").first
    expect(job).to_contain_text(f"{name}, tender", timeout=SOON)
    job.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job[data-state=cancelled]").first).to_be_visible(timeout=SOON)
    page.locator(".job [data-does=job_edit]").first.click()
    expect(page.locator("#field-lyrics textarea")).to_be_visible(timeout=SOON)
    expect(page.locator("#field-caption textarea")).to_have_value(f"{name}, tender")
    assert visitor.complaints == []


def test_the_list_of_jobs_is_asked_for_once_at_a_time(visit: Any, waiting: Live) -> None:
    page = visit(waiting).ready()
    expect(page.locator("headroom-jobs h2")).to_have_text("Your songs")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/v1/jobs?" in one.url else None)
    wished = "for (let i = 0; i < 20; i++) window.dispatchEvent(new Event('headroom-made'))"
    with page.expect_response("**/v1/jobs?**"), page.expect_response("**/v1/jobs?**"):
        page.evaluate(wished)
    page.wait_for_timeout(300)
    assert 2 <= len(asked) < 10, asked  # of 20 wishes; the clock asks too


def test_the_language_changes_at_once_and_is_remembered(visit: Any, waiting: Live) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    page.locator("#language input").click()
    page.get_by_role("option", name="עברית").click()
    expect(page.locator("#go")).to_have_text("יצירה", timeout=SOON)
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("headroom-jobs h2")).to_have_text("השירים שלכם")
    expect(page.locator(".outlook dt").first).to_have_text("זמן", timeout=SOON)
    page.reload()
    expect(page.locator("#go")).to_have_text("יצירה", timeout=SOON)
    assert visitor.complaints == []
