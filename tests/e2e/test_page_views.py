"""Every view of the page in a browser: nobody is kept out, nothing sticks out, all is translated.

The library is made by the bundled model, once; then the pages are looked at one after another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headroom.ui.words import Words
from support.page_views import VIEWS, machine, refused, simple, speak, unfolded
from support.studio import Studio, studio
from support.visitors import SOON, Visitor

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=SOON)
pytestmark = pytest.mark.browser
NARROW = {"width": 360, "height": 740}
SCHEMES = ("light", "dark")
# Of each element, whether it is cut off at the side, or its text runs out of its own box.
_OUT = """width => [...document.querySelectorAll('#places *, #head *')].filter(one => {
  const box = one.getBoundingClientRect();
  const seen = box.width && box.height && !one.closest('.visually-hidden, .unseen, .tab-container');
  return seen && (box.right > width + 1 || box.left < -1);
}).map(one => `${one.tagName}.${one.className}#${one.id}`.slice(0, 80))"""
# Keeps what Gradio says of errors, which goes away by itself.
_TOASTS = """() => {
  window.toasts = [];
  new MutationObserver(() => {
    for (const one of document.querySelectorAll('.toast-body')) window.toasts.push(one.textContent);
  }).observe(document.body, {childList: true, subtree: true});
}"""
# A part of a song that is lower than what is in it, which then lies over the next part.
_CUT = """() => [...document.querySelectorAll('headroom-song > *')]
  .filter(one => one.clientHeight && one.scrollHeight > one.clientHeight + 1)
  .map(one => one.tagName + one.className)"""
# A block in which a text of the page's language begins on the wrong side.
_LEFT = """() => [...document.querySelectorAll(
  '#form :is([data-testid=block-info], .info-text, .label-wrap), .outlook :is(p, dt, summary), h2')]
  .filter(one => one.getClientRects().length && getComputedStyle(one).direction !== 'rtl')
  .map(one => one.textContent)"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A service with a small library, and an engine at work."""
    with studio(tmp_path_factory.mktemp("views")) as one:
        one.fail()
        with one.live.working():
            one.fill()
            yield one


def serious(page: Any) -> dict[str, list[str]]:
    """What axe-core finds of serious and critical faults, contrast among them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.evaluate(
        "Promise.all(document.getAnimations()"
        ".filter(one => one.effect.getComputedTiming().endTime < Infinity)"
        ".map(one => one.finished.catch(() => {})))"
    )
    return {
        one["id"]: [node["html"][:120] for node in one["nodes"]][:3]
        for one in axe.Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    }


def looked(visitor: Visitor, width: int) -> dict[str, Any]:
    """What is wrong with a view at this width, light and dark."""
    page, wrong = visitor.page, {}
    assert page.locator(".toast-body").count() == 0  # at once: they leave by themselves
    if page.evaluate("document.documentElement.scrollWidth") > width:
        wrong["wide"] = page.evaluate(_OUT, width)
    elif out := page.evaluate(_OUT, width):
        wrong["out"] = out
    for dark in (False, True):
        page.evaluate("on => document.body.classList.toggle('dark', on)", dark)
        if found := serious(page):
            wrong[SCHEMES[dark]] = found
    if visitor.complaints:
        wrong["console"] = visitor.complaints
    return wrong


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_keeps_nobody_out_and_fits_a_small_screen(
    visit: Any, place: Studio, name: str
) -> None:
    visitor = visit(place.live, viewport=NARROW)
    page = visitor.ready()
    VIEWS[name](page)
    try:
        assert looked(visitor, NARROW["width"]) == {}
    finally:
        if name == "deleted":  # for those that come after
            page.locator("[data-does=undo]").click()
            expect(page.locator("[data-does=undo]")).to_have_count(0)


def test_in_a_language_from_the_right_every_text_begins_there(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    speak(page, "he")
    unfolded(page)
    assert page.evaluate(_LEFT) == []
    aside, form = (page.locator(name).bounding_box() for name in ("#aside", "#form"))
    assert aside["x"] + aside["width"] <= form["x"]


def test_no_english_is_left_in_another_language(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    speak(page, "zh")
    refused(page)
    expect(page.locator(".outlook.refused")).to_contain_text(Words("zh").field("source_audio"))
    page.locator("#task input[value=text2music]").check()
    page.locator(".outlook .stages").wait_for()
    said = page.locator("#form, #aside").all_inner_texts()
    machine(page)
    said += page.locator("#gpu, #machine label, #machine .info-text").all_inner_texts()
    # Names of things stay as they are: those of models, formats, settings and section marks.
    known = (
        r"\[\w+\]|acestep[\w.-]*|headroom|BPM|DiT|VAE|GPU|CPU|GB|MB|ms|dB|JSON|DCW|int8"
        r"|b?float\d+|pt|mlx|vllm"
    )
    left = re.sub(known, "", "\n".join(said))
    assert re.findall(r"[A-Za-z]{2,}(?: [A-Za-z]{2,})+", left) == []


def test_the_parts_of_a_song_stand_one_below_the_other(visit: Any, place: Studio) -> None:
    page = visit(place.live, viewport={"width": 1200, "height": 600}).ready()
    VIEWS["song"](page)
    assert page.evaluate(_CUT) == []


def test_what_can_be_begun_stays_when_the_language_changes(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    first = page.locator(".first")
    expect(first).to_contain_text(Words()("first_about"))  # what the bundled model is
    expect(first).to_contain_text(re.compile(r"acestep-v15-turbo, acestep-5Hz-lm-0.6B. \d+\.\d GB"))
    expect(first.get_by_role("button")).to_have_text("Download and use")
    speak(page, "pt")
    expect(first).to_contain_text(Words("pt")("first_title"))
    expect(first.get_by_role("button")).to_have_text(Words("pt")("first_go"))


def test_a_card_without_a_language_model_is_no_error(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    page.locator("#mode input[value=expert]").check()
    page.locator("#task input[value=create_sample]").check()  # needs the language model
    page.evaluate(_TOASTS)
    VIEWS["smaller"](page)
    expect(page.locator("#command textarea")).to_have_value(re.compile("--lm-model none"))
    page.locator("#places [role=tab]").first.click()
    expect(page.locator("#task input[value=text2music]")).to_be_checked()
    expect(page.locator("#grey")).to_contain_text("needs a language model")
    assert page.evaluate("window.toasts") == []


def test_a_song_sheet_goes_into_the_form(visit: Any, place: Studio, tmp_path: Path) -> None:
    page = visit(place.live).ready()
    VIEWS["sheet"](page)
    expect(page.locator("#task input[value=text2music]")).to_be_checked()
    expect(page.locator("#field-lyrics textarea")).not_to_be_empty()
    expect(page.locator(".outlook.refused")).to_have_count(0)


def test_the_keyboard_alone_goes_through_the_views(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    simple(page)
    tabs = page.locator("#places [role=tab]")
    tabs.first.focus()
    for number in (1, 2):
        page.keyboard.press("Tab")
        expect(tabs.nth(number)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".song").first).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.song button.open')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("headroom-song headroom-player [data-state=paused]")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('headroom-song [data-does=cover]')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#task input[value=cover]")).to_be_checked()
