"""The page for several people and for everybody: keys, keyboards, presets, small screens, contrast.

An engine process plays the bundled model, or none runs and songs wait.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.axe import serious
from support.live import Live
from support.visitors import SOON, config_of

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser
STEPS = 60  # of the Tab key, within which everything of the simple form is reached
_FOCUSED = """selector => {
  let focused = document.activeElement;
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  return !!focused?.matches(selector);
}"""


def test_two_people_sign_in_and_see_their_own(visit: Any, tmp_path: Path) -> None:
    live = Live(config_of(tmp_path, "acestep", trusts_here=False))
    live.start()
    try:
        assert live.doors is not None
        pages = []
        for caption in ("mine", "yours"):
            secret = live.doors.keys.create(caption, ("use",))[1]
            visitor = visit(live)
            page = visitor.page
            expect(page).to_have_url(live.url + "/login")
            page.locator("#key").fill("wrong")
            page.get_by_role("button").click()
            expect(page.get_by_role("alert")).not_to_be_empty()
            page.locator("#key").fill(secret)
            page.get_by_role("button").click()
            page = visitor.ready()
            page.locator("#field-caption textarea").fill(caption)
            page.locator("#go").click()
            expect(page.locator(".job")).to_contain_text(caption)
            pages.append(page)
        for page, caption in zip(pages, ("mine", "yours"), strict=True):
            page.reload()
            expect(page.locator(".job")).to_have_count(1)
            expect(page.locator(".job strong")).to_have_text(caption)
    finally:
        live.stop()


def test_from_the_caption_to_the_download_by_the_keyboard_alone(visit: Any, tmp_path: Path) -> None:
    live = Live(config_of(tmp_path, "acestep"))
    live.start()
    try:
        with live.working():
            visitor = visit(live)
            page = visitor.ready()
            reach(page, "#field-caption textarea")
            page.keyboard.type("a slow song")
            reach(page, "#length input[type=number]")
            page.keyboard.press("Control+A")
            page.keyboard.type("10")
            reach(page, "#go")
            page.keyboard.press("Enter")
            expect(page.locator(".job[data-state=done]").first).to_contain_text("a slow song")
            expect(page.locator("a[href*='format=flac']").first).to_be_visible()
            with page.expect_download() as download:
                reach(page, "a[href*='format=flac']")
                page.keyboard.press("Enter")
            assert Path(download.value.path()).read_bytes()[:4] == b"fLaC"
            assert visitor.complaints == []
    finally:
        live.stop()


def reach(page: Any, selector: str) -> None:
    """Go on with the Tab key until this is focused."""
    for _ in range(STEPS):
        if page.evaluate(_FOCUSED, selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached")


def test_a_preset_is_kept_chosen_and_deleted(visit: Any, waiting: Live) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    caption = page.locator("#field-caption textarea")
    caption.fill("a slow song")
    page.get_by_role("button", name="Presets and files").click()
    page.get_by_label("Name").fill("slow")
    page.get_by_role("button", name="Save as preset").click()
    expect(page.get_by_label("Preset", exact=True)).to_have_value("slow")
    page.close()
    page = visitor.page = visitor.context.new_page()  # who comes back finds it
    page.goto(waiting.url)
    page = visitor.ready()
    page.get_by_role("button", name="Presets and files").click()
    page.get_by_label("Preset", exact=True).click()
    page.get_by_role("option", name="slow").click()
    expect(page.locator("#field-caption textarea")).to_have_value("a slow song")
    page.get_by_role("button", name="Delete preset").click()
    page.get_by_label("Preset", exact=True).click()
    expect(page.get_by_role("option", name="slow")).to_have_count(0)


def test_the_form_is_found_as_it_was_when_a_song_was_made_last(visit: Any, waiting: Live) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    page.locator("#field-caption textarea").fill("a slow song")
    page.get_by_label("Tender").check()
    page.locator("#length input[type=number]").fill("45")
    asked(page)
    expect(page.locator(".job").first).to_contain_text("a slow song, tender")
    page.reload()
    page = visitor.ready()
    expect(page.locator("#field-caption textarea")).to_have_value("a slow song")
    expect(page.get_by_label("Tender")).to_be_checked()
    expect(page.locator("#length input[type=number]")).to_have_value("45")
    page.get_by_label("Everything").check()
    page.get_by_label("Describe a recording").check()
    page.get_by_label("Make a cover").check()
    page.locator("#field-caption textarea").fill("in another way")
    page.get_by_label("Make a song", exact=True).check()
    page.locator("#field-bpm :is(input, textarea)").fill("93")
    asked(page)
    expect(page.locator(".job").first).to_contain_text("in another way")
    page.reload()
    page = visitor.ready()
    expect(page.get_by_label("Everything")).to_be_checked()
    expect(page.locator("#field-caption textarea")).to_have_value("in another way")
    expect(page.locator("#field-bpm :is(input, textarea)")).to_have_value("93")
    assert visitor.complaints == []


def asked(page: Any) -> None:
    """Press the button, and wait until the browser keeps what was asked for. A list that is read
    meanwhile may show the job before."""
    before = page.evaluate("localStorage.headroom")
    page.locator("#go").click()
    page.wait_for_function("before => localStorage.headroom !== before", arg=before)


def test_what_is_typed_before_the_form_is_as_it_was_left_stays(visit: Any, waiting: Live) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    page.locator("#field-caption textarea").fill("of last time")
    page.get_by_label("Tender").check()
    page.locator("#length input[type=number]").fill("45")
    asked(page)
    events = httpx2.get(f"{waiting.url}/ui/config").json()["dependencies"]
    left = next(one["id"] for one in events if one["api_name"] == "left")
    held = []

    def late(route: Any) -> None:
        if route.request.post_data_json["fn_index"] == left:
            held.append(route)
        else:
            route.continue_()

    page.route("**/run/predict", late)
    page.reload()
    page = visitor.ready()
    page.locator("#field-caption textarea").fill("of today")
    page.locator("#length input[type=number]").fill("30")
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.get_by_label("Tender")).to_be_checked()
    expect(page.locator("#field-caption textarea")).to_have_value("of today")
    expect(page.locator("#length input[type=number]")).to_have_value("30")
    asked(page)
    job = page.locator(".job").first
    expect(job).to_contain_text("of today, tender")
    request = httpx2.get(f"{waiting.url}/v1/jobs/{job.get_attribute('data-job')}").json()["asked"]
    assert float(request["request"]["duration"]) == 30
    assert visitor.complaints == []


def test_a_request_goes_to_a_file_and_one_of_the_reference_comes_back(
    visit: Any, waiting: Live, tmp_path: Path
) -> None:
    visitor = visit(waiting)
    page = visitor.ready()
    page.locator("#field-caption textarea").fill("a slow song")
    page.get_by_role("button", name="Presets and files").click()
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert saved == {"task": "text2music", "caption": "a slow song"}
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"prompt": "an older song", "audio_duration": 42}), "utf-8")
    page.locator("headroom-load input").set_input_files(old)
    expect(page.locator("#field-caption textarea")).to_have_value("an older song")
    expect(page.locator("#field-duration textarea, #field-duration input")).to_have_value("42")
    assert visitor.complaints == []


def test_each_task_shows_its_own_fields_at_once(visit: Any, waiting: Live) -> None:
    page = visit(waiting).ready()
    page.get_by_label("Everything").check()
    expect(page.locator("#field-lyrics")).to_be_visible()
    expect(page.locator("#mood")).to_be_hidden()
    page.get_by_label("Describe a recording").check()
    expect(page.locator("#field-lyrics")).to_be_hidden()
    page.get_by_label("Simple").check()
    expect(page.locator("#mood")).to_be_visible()
    expect(page.locator("#task")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_keeps_people_out(visit: Any, waiting: Live, scheme: str) -> None:
    visitor = visit(waiting, color_scheme=scheme, viewport={"width": 360, "height": 740})
    page = visitor.ready()

    def looked(place: str) -> dict[str, Any]:
        faults = serious(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, place
        return {f"{place}: {rule}": found for rule, found in faults.items()}

    wrong = looked("simple")
    page.get_by_label("Everything").check()
    expect(page.locator("#field-lyrics")).to_be_visible()
    wrong |= looked("everything")
    page.get_by_role("tab", name="Machine").click()
    expect(page.locator("ul.models li").first).to_be_visible()
    wrong |= looked("machine")
    assert wrong == {}
