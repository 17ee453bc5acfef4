"""Every view of the page in a browser: nobody is kept out, nothing sticks out, all is translated.

The library is made by the bundled model, once for all workers; then one page is looked at in one
view after another.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from headroom.ui.words import Words
from support.axe import serious
from support.page_states import STATES
from support.page_views import AFTER, OF_FORM, VIEWS, machine, refused, simple, speak, unfolded
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
# Titles of songs that do not begin on the side on which their dates do.
_APART = """() => [...document.querySelectorAll('button.open')].filter(one => {
  const [title, date] = [...one.children].map(child => {
    const text = document.createRange();
    text.selectNodeContents(child);
    return text.getBoundingClientRect().right;
  });
  return Math.abs(title - date) > 2;
}).map(one => one.textContent)"""
# Lists whose value lies on the side of their sign, or that have no sign.
_UNSIGNED = """() => [...document.querySelectorAll('input[role=combobox], headroom-library select')]
  .filter(one => one.getClientRects().length)
  .filter(one => {
    const {backgroundImage: sign, backgroundPositionX: at, textAlign} = getComputedStyle(one);
    return one.matches('select') ? sign === 'none' || at.includes('100%') : textAlign !== 'right';
  })
  .map(one => one.outerHTML.slice(0, 120))"""
# A block in which a text of the page's language begins on the wrong side.
_LEFT = """() => [...document.querySelectorAll(
  '#form :is([data-testid=block-info], .info-text, .label-wrap), .outlook :is(p, dt, summary), h2')]
  .filter(one => one.getClientRects().length && getComputedStyle(one).direction !== 'rtl')
  .map(one => one.textContent)"""


# Axe-core's rules that depend on colours, which alone differ between light and dark.
_OF_COLOUR = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
# The songs below the form are the same in every view of it.
_PARTS = {name: {"include": [["#form"], ["#aside"]]} for name in OF_FORM}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A service with a small library, and an engine at work. Whichever worker comes first makes
    the library; the others have a copy."""
    own = tmp_path_factory.getbasetemp()
    made = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "library"
    mine = tmp_path_factory.mktemp("views")
    with FileLock(f"{made}.lock"):
        if not made.exists():
            with studio(mine) as one:
                one.fail()
                with one.live.working():
                    one.fill()
            shutil.copytree(mine, made)
        else:
            shutil.copytree(made, mine, dirs_exist_ok=True)
    with studio(mine) as one, one.live.working():
        yield one


@pytest.fixture(scope="module")
def narrow(browser: Any, place: Studio) -> Iterator[Visitor]:
    """One page on a small screen, which every view finds as it opens."""
    visitor = Visitor(browser, place.live.url, viewport=NARROW)
    visitor.ready()
    yield visitor
    visitor.context.close()


def looked(visitor: Visitor, width: int, where: Any = None, toasts: int = 0) -> dict[str, Any]:
    """What is wrong with a view at this width, light and dark."""
    page, wrong = visitor.page, {}
    assert page.locator(".toast-body").count() <= toasts  # at once: they leave by themselves
    if page.evaluate("document.documentElement.scrollWidth") > width:
        wrong["wide"] = page.evaluate(_OUT, width)
    elif out := page.evaluate(_OUT, width):
        wrong["out"] = out
    for dark in (False, True):
        page.emulate_media(color_scheme=SCHEMES[dark])
        page.evaluate("on => document.body.classList.toggle('dark', on)", dark)
        if found := serious(page, where, _OF_COLOUR if dark else None):
            wrong[SCHEMES[dark]] = found
    if visitor.complaints:
        wrong["console"] = visitor.complaints
    return wrong


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_keeps_nobody_out_and_fits_a_small_screen(narrow: Visitor, name: str) -> None:
    page = narrow.anew()
    VIEWS[name](page)
    try:
        assert looked(narrow, NARROW["width"], _PARTS.get(name)) == {}
    finally:
        if name in AFTER:  # for those that come after
            AFTER[name](page)


@pytest.mark.parametrize("name", STATES)
def test_a_view_of_another_service_does_so_too(browser: Any, tmp_path: Path, name: str) -> None:
    state, visitors = STATES[name], []

    def enter(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, place.live.url, viewport=NARROW, **options))
        return visitors[-1]

    with (
        studio(tmp_path, state.family, **state.config) as place,
        state.shown(place, enter, "en"),
    ):
        toasts = 1 if name == "away" else 0  # Gradio tells it too, in the page's language
        wrong = looked(visitors[0], NARROW["width"], toasts=toasts)
        expect(visitors[0].page.get_by_text("Connection to the server")).to_have_count(0)
        visitors[0].context.close()
    if name == "sign-in":  # the answer to a wrong key, which a browser tells too
        assert all("401" in one for one in wrong.pop("console"))
    assert wrong == {}


def test_in_a_language_from_the_right_every_text_begins_there(visit: Any, place: Studio) -> None:
    page = visit(place.live).ready()
    speak(page, "he")
    unfolded(page)
    assert page.evaluate(_LEFT) == []
    aside, form = (page.locator(name).bounding_box() for name in ("#aside", "#form"))
    assert aside["x"] + aside["width"] <= form["x"]
    assert page.evaluate(_UNSIGNED) == []
    VIEWS["song"](page)
    assert page.evaluate(_APART) == []
    assert page.evaluate(_UNSIGNED) == []


def test_what_is_focused_is_not_cut_and_an_error_begins_with_a_capital(
    visit: Any, place: Studio
) -> None:
    page = visit(place.live).ready()
    line = page.locator(".job.failed .line")
    expect(line).to_have_css("display", "block")  # `::first-letter` is for blocks
    VIEWS["unfolded"](page)
    expect(page.locator("#field-duration")).to_have_css("overflow", "visible")
    heights = (
        page.locator("#presets .row")
        .last.locator("button:visible")
        .evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    )
    assert max(heights) - min(heights) <= 1


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
