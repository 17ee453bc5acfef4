"""The player in a real browser, on a page with a strict policy, as somebody would use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.browser import browser, why_not
from support.needed import require
from support.player_site import BPM, HEBREW, LABELS, SECONDS, options, site

pytestmark = pytest.mark.browser
EXTEND = 8.0
EDIT = {"regions": [], "extend": EXTEND, "most": 3, "tempo": None}
# Audio elements that are not in the document can only be seen where they are made.
RECORD = """
window.audios = [];
window.Audio = class extends Audio { constructor() { super(); window.audios.push(this); } };
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with site() as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    require(why_not())
    with browser() as opened:
        yield opened


class Visit:
    """A visit to the page, during which nothing went wrong."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.faults = page, []
        page.on("console", lambda told: self.faults.append(told.text) if told.type in (
            "error", "warning") else None)  # fmt: skip
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        page.add_init_script(RECORD)
        page.goto(address)
        page.wait_for_function("() => window.loaded")

    def start(self, **given: Any) -> None:
        self.page.evaluate("given => window.start(given)", options(**given))
        self.page.locator("#player[data-state=paused]").wait_for()
        self.page.locator(".main").wait_for()

    def told(self, name: str) -> str:
        return str(self.page.locator("#player").get_attribute(f"data-{name}"))

    @property
    def regions(self) -> list[tuple[float, float]]:
        found = self.page.evaluate("player.regions()")
        assert json.loads(self.told("regions")) == found
        return [(one["start"], one["end"]) for one in found]

    @property
    def time(self) -> float:
        return float(self.told("time"))

    def at(self, seconds: float) -> float:
        """Where a time of the song is on the screen, with the room before it."""
        box = self.page.locator(".wave").bounding_box()
        return float(box["x"] + (seconds + EXTEND) / (SECONDS + 2 * EXTEND) * box["width"])

    def drag(self, start: float, end: float) -> None:
        """Drag from one time of the song to another."""
        box = self.page.locator(".wave").bounding_box()
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(self.at(start), middle)
        self.page.mouse.down()
        self.page.mouse.move((self.at(start) + self.at(end)) / 2, middle, steps=4)
        self.page.mouse.move(self.at(end), middle, steps=4)
        self.page.mouse.up()

    def events(self, name: str) -> list[Any]:
        found = self.page.evaluate("window.events")
        return [detail for event, detail in found if event == name]


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Visit]:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    visit = Visit(page, address)
    yield visit
    assert visit.faults == []
    page.close()


def near(*expected: tuple[float, float]) -> list[Any]:
    return [pytest.approx(one, abs=0.1) for one in expected]


# Regions


def test_a_region_is_drawn_moved_and_resized_with_the_mouse(visit: Visit) -> None:
    visit.start(edit=EDIT)
    visit.drag(10, 16)
    assert visit.regions == near((10, 16))
    assert visit.events("regions")[-1]["regions"] == visit.page.evaluate("player.regions()")
    visit.drag(13, 23)
    assert visit.regions == near((20, 26))
    visit.drag(25.95, 30)
    assert visit.regions == near((20, 30))
    visit.drag(20.05, 24)
    assert visit.regions == near((24, 30))
    visit.drag(2, 6)
    assert visit.regions == near((2, 6), (24, 30))
    assert visit.page.locator("[part~=region]").count() == 2


def test_regions_reach_past_both_ends_and_no_further(visit: Visit) -> None:
    visit.start(edit=EDIT | {"regions": [{"start": 10, "end": 20}]})
    visit.drag(10.05, -5)
    assert visit.regions == near((-5, 20))
    visit.drag(19.95, SECONDS + 4)
    assert visit.regions == near((-5, SECONDS + 4))
    visit.drag(20, 45)
    assert visit.regions[0][1] == pytest.approx(SECONDS + EXTEND, abs=0.1)
    visit.page.evaluate("player.setRegions([{start: -99, end: 99}])")
    assert visit.regions == [(-EXTEND, SECONDS + EXTEND)]


def test_without_room_a_region_stays_within_the_song(visit: Visit) -> None:
    visit.start(edit=EDIT | {"extend": 0, "regions": [{"start": -3, "end": 99}]})
    assert visit.regions == [(0, SECONDS)]
    assert visit.page.locator(".outside").count() == 0


def test_the_position_is_that_of_the_song(visit: Visit) -> None:
    visit.start(edit=EDIT)
    cursor = visit.page.locator("[part~=cursor]")
    for time in 0, 25:
        visit.page.evaluate("(time) => time && player.seek(time)", time)
        assert cursor.bounding_box()["x"] == pytest.approx(visit.at(time), abs=3)


def test_a_region_is_changed_by_keys_alone(visit: Visit) -> None:
    visit.start(edit=EDIT | {"regions": [{"start": 10, "end": 20}]})
    keys = visit.page.keyboard
    start, end = (visit.page.get_by_role("slider", name=name) for name in (
        "Start of part 1", "End of part 1"))  # fmt: skip
    for _ in range(3):  # the region, then its edges
        keys.press("Tab")
    assert (
        visit.page.evaluate(
            "document.querySelector('#player').shadowRoot.querySelector('.wave > div').shadowRoot"
            ".activeElement.getAttribute('aria-label')"
        )
        == "End of part 1"
    )
    keys.press("ArrowRight")
    keys.press("Shift+ArrowRight")
    assert visit.regions == [(10, 21.1)]
    assert end.get_attribute("aria-valuenow") == "21.10"
    assert end.get_attribute("aria-valuetext") == "0:21.1"
    start.focus()
    keys.press("ArrowLeft")
    keys.press("PageDown")
    assert visit.regions == [(4.9, 21.1)]
    keys.press("Home")
    end.focus()
    keys.press("End")
    assert visit.regions == [(-EXTEND, SECONDS + EXTEND)]
    assert start.get_attribute("aria-valuetext") == "−0:08.0"
    keys.press("Home")
    assert visit.regions == [(-EXTEND, -EXTEND + 0.5)]  # the shortest
    region = visit.page.get_by_role("group", name="Part 1, −0:08.0 – −0:07.5")
    region.focus()
    keys.press("PageUp")
    keys.press("ArrowRight")
    assert visit.regions == [(-2.9, -2.4)]
    keys.press("Delete")
    assert visit.regions == []
    assert visit.time == 0  # no key of a region moved the position


def test_edges_go_to_beats_where_the_tempo_is_known(visit: Visit) -> None:
    visit.start(edit=EDIT | {"tempo": BPM, "regions": [{"start": 10, "end": 20}]})
    visit.drag(30.1, 33.4)
    assert [start % 0.5 for pair in visit.regions for start in pair] == [0, 0, 0, 0]
    assert visit.regions[1] == (30, 33.5)
    visit.page.get_by_role("slider", name="End of part 1").focus()
    visit.page.keyboard.press("ArrowRight")
    assert visit.regions[0] == (10, 20.5)
    visit.page.get_by_label("Snap to beats (120 BPM)").uncheck()
    visit.page.keyboard.press("Tab")
    visit.drag(30.05, 28.2)
    start = visit.regions[1][0]
    assert start == pytest.approx(28.2, abs=0.1) and start % 0.5 not in (0,)


def test_numbers_and_regions_are_the_same(visit: Visit) -> None:
    visit.start(edit=EDIT)
    visit.page.get_by_role("button", name="Add a part").click()
    assert visit.regions == [(0, 10)]
    start, end = (visit.page.get_by_role("spinbutton", name=name) for name in (
        "Start of part 1", "End of part 1"))  # fmt: skip
    assert (start.input_value(), end.input_value()) == ("0.00", "10.00")
    for field, text, expected in (
        (start, "-2.5", (-2.5, 10)),
        (end, "47.25", (-2.5, 47.25)),
        (end, "999", (-2.5, SECONDS + EXTEND)),
        (start, "", (-2.5, SECONDS + EXTEND)),
        (end, "-50", (-2.5, -2)),
    ):
        field.fill(text)
        field.press("Tab")
        assert visit.regions == [expected]
        assert (start.input_value(), end.input_value()) == tuple(f"{one:.2f}" for one in expected)
    visit.page.get_by_role("button", name="Remove part 1").click()
    assert visit.regions == [] and start.count() == 0


def test_no_more_regions_than_may_be(visit: Visit) -> None:
    visit.start(edit=EDIT | {"most": 1})
    visit.drag(1, 5)
    visit.drag(20, 25)
    assert visit.regions == near((20, 25))
    assert visit.page.get_by_role("button", name="Add a part").is_disabled()


# Playing and comparing


def playing(visit: Visit) -> list[bool]:
    return list(visit.page.evaluate("audios.map((one) => !one.paused)"))


def volumes(visit: Visit) -> list[float]:
    return list(visit.page.evaluate("audios.map((one) => one.volume)"))


def test_two_versions_are_compared_at_equal_loudness_where_one_is(visit: Visit) -> None:
    visit.start(two=True)
    quieter = 10 ** (-9.5 / 20)
    assert volumes(visit) == [pytest.approx(quieter, abs=1e-3), 1]
    assert (visit.told("version"), visit.told("gain")) == ("0", "-9.5")
    visit.page.evaluate("player.seek(12)")
    visit.page.get_by_role("button", name="Play").click()
    visit.page.locator("#player[data-state=playing]").wait_for()
    visit.page.wait_for_function("() => document.querySelector('#player').dataset.time > 12.3")
    before = visit.time
    visit.page.get_by_role("button", name="Version B: Brighter second take").click()
    visit.page.locator("#player[data-version='1']").wait_for()
    assert visit.time >= before
    assert playing(visit) == [False, True] and visit.told("gain") == "0"
    assert visit.told("state") == "playing"
    visit.page.get_by_label("Equal loudness").uncheck()
    assert volumes(visit) == [1, 1]
    visit.page.get_by_role("button", name="Pause").click()
    visit.page.locator("#player[data-state=paused]").wait_for()
    assert playing(visit) == [False, False]
    stopped = visit.time
    visit.page.get_by_role("button", name="Play").click()
    visit.page.locator("#player[data-state=playing]").wait_for()
    here, there, back = visit.page.evaluate(
        """async () => {
          const [a, b] = window.audios;
          const done = window.player.choose(0);
          const found = [b.currentTime, a.currentTime];
          await done;
          return [...found, b.paused];
        }"""
    )
    assert there == pytest.approx(here, abs=0.05) and back
    visit.page.evaluate("player.choose(1)")
    visit.page.get_by_role("button", name="Pause").click()
    visit.page.locator("#player[data-state=paused]").wait_for()
    stopped = visit.time
    visit.page.keyboard.press("a")
    visit.page.locator("#player[data-version='0']").wait_for()
    assert visit.time == pytest.approx(stopped, abs=0.05) and playing(visit) == [False, False]
    assert [one["version"] for one in visit.events("version")] == [1, 0, 1, 0]


def test_without_a_loudness_nothing_is_turned_down(visit: Visit) -> None:
    given = options(two=True)
    given["versions"][1]["peaks"]["loudness"] = None
    visit.page.evaluate("given => window.start(given)", given)
    visit.page.locator("#player[data-state=paused]").wait_for()
    assert volumes(visit) == [1, 1] and visit.told("gain") == "0"


def test_played_stopped_and_moved_by_keys(visit: Visit) -> None:
    visit.start()
    keys = visit.page.keyboard
    play = visit.page.get_by_role("button", name="Play")
    play.focus()
    for key, time in (("ArrowRight", 5), ("ArrowRight", 10), ("ArrowLeft", 5), ("End", SECONDS),
                      ("Home", 0), ("ArrowLeft", 0)):  # fmt: skip
        keys.press(key)
        assert visit.time == pytest.approx(time, abs=0.05), key
    keys.press("k")
    visit.page.locator("#player[data-state=playing]").wait_for()
    keys.press("Space")
    visit.page.locator("#player[data-state=paused]").wait_for()
    slider = visit.page.get_by_role("slider", name="Position")
    slider.fill("20")
    assert visit.time == 20 and slider.get_attribute("aria-valuetext") == "0:20 of 0:40"
    line = visit.page.get_by_role("button", name="And all the lights came down")
    assert line.get_attribute("aria-current") == "true"
    keys.press("b")  # there is no other version
    assert visit.told("version") == "0"


def test_a_click_on_the_waveform_or_a_line_goes_there(visit: Visit) -> None:
    visit.start(edit=EDIT)
    box = visit.page.locator(".wave").bounding_box()
    visit.page.mouse.click(visit.at(30), box["y"] + 10)
    assert visit.time == pytest.approx(30, abs=0.1)
    visit.page.mouse.click(visit.at(-4), box["y"] + 10)
    assert visit.time == 0
    lane = visit.page.locator(".lane.sections").bounding_box()
    visit.page.mouse.click(visit.at(22), lane["y"] + 5)
    assert visit.time == pytest.approx(22, abs=0.1)
    words = visit.page.get_by_role("group", name="Lyrics").get_by_role("button")
    words.first.focus()
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    assert visit.time == 9
    visit.page.get_by_role("button", name="Zoom in").click()
    assert visit.page.locator(".wave").bounding_box()["width"] > 1.9 * box["width"]
    visit.page.mouse.click(visit.at(12), box["y"] + 10)
    assert visit.time == pytest.approx(12, abs=0.1)


def test_a_song_that_cannot_be_played_says_so(visit: Visit) -> None:
    given = options()
    given["versions"][0]["url"] = "/gone.wav"
    visit.page.evaluate("given => window.start(given)", given)
    visit.page.locator("#player[data-state=error]").wait_for()
    assert visit.page.get_by_role("alert").inner_text() == LABELS["error"]
    assert len(visit.events("error")) == 1
    assert all("404" in fault for fault in visit.faults)
    visit.faults.clear()


# Texts, looks and endings

HOSTILE = ("${alert(1)}", "<img src=x onerror=alert(1)>", "{{constructor}}", '"><script>alert(1)')


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_wrote_is_only_ever_text(visit: Visit, text: str) -> None:
    given = options(two=True, edit=EDIT | {"regions": [{"start": 1, "end": 3}]})
    given["labels"] = {name: value + text for name, value in LABELS.items()}
    for version in given["versions"]:
        version["name"] = text
        version["downloads"] = [
            {"label": text, "url": "/song0.wav", "name": text},
            {"label": "bad", "url": "javascript:alert(1)", "name": "bad"},
            {"label": "bad", "url": "data:text/html,<script>alert(1)</script>", "name": "bad"},
        ]
        for one in version["peaks"]["lines"] + version["peaks"]["sections"]:
            one["text"] = text
    visit.page.evaluate("given => window.start(given)", given)
    visit.page.locator("#player[data-state=paused]").wait_for()
    root = "document.querySelector('#player').shadowRoot"
    assert visit.page.evaluate(f"{root}.querySelectorAll('img, script').length") == 0
    assert visit.page.evaluate(f"[...{root}.querySelectorAll('a')].map((one) => one.download)") == [
        text, text,
    ]  # fmt: skip
    assert text in visit.page.locator(".words").inner_text()
    assert text in visit.page.locator(".choices").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "direction"), [(360, "ltr"), (360, "rtl"), (1280, "ltr")])
def test_everybody_can_use_it(visit: Visit, width: int, direction: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    language = "he" if direction == "rtl" else "en"
    page.evaluate("([d, l]) => Object.assign(document.documentElement, {dir: d, lang: l})",
                  [direction, language])  # fmt: skip
    labels = HEBREW if direction == "rtl" else LABELS
    regions = [{"start": -2, "end": 3}, {"start": 8, "end": 14}]
    visit.start(two=True, edit=EDIT | {"regions": regions, "tempo": BPM}, labels=labels)
    assert visit.faults == []
    found = Axe().run(page).response
    visit.faults.clear()  # its own styles are against the policy
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
    looked_at = {one["id"] for one in found["passes"]}
    assert {"color-contrast", "button-name", "label"} <= looked_at
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    # Time goes from left to right in every language.
    first, second = (page.locator("[part~=region]").nth(n).bounding_box()["x"] for n in (0, 1))
    assert first < second


def test_motion_is_reduced_and_themes_are_followed(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    visit.start()
    root = "document.querySelector('#player').shadowRoot"
    paper = f"getComputedStyle({root}.querySelector('.player'))"
    assert page.evaluate(f"{paper}.backgroundColor") == "rgb(255, 255, 255)"
    main = f"getComputedStyle({root}.querySelector('.main'))"
    assert page.evaluate(f"{main}.transitionProperty") == "none"
    page.evaluate("player.theme('dark')")
    assert page.evaluate(f"{paper}.backgroundColor") == "rgb(22, 26, 35)"
    page.evaluate("player.theme('auto')")
    page.evaluate("document.documentElement.style.setProperty('--player-paper', 'rgb(1, 2, 3)')")
    assert page.evaluate(f"{paper}.backgroundColor") == "rgb(1, 2, 3)"


def test_it_ends_cleanly_and_begins_again(visit: Visit) -> None:
    given = options(two=True, edit=EDIT | {"regions": [{"start": 1, "end": 3}]})
    left = visit.page.evaluate(
        """async (given) => {
          const host = document.querySelector("#player");
          for (let n = 0; n < 10; n += 1) {
            window.start(given);
            if (n % 2) await new Promise((done) => setTimeout(done, 30));
            if (n % 3 === 0) window.player.play();
            window.player.destroy();
            window.player.destroy();
          }
          window.events.length = 0;
          await new Promise((done) => setTimeout(done, 200));
          return [host.shadowRoot.childElementCount, {...host.dataset}, window.events,
                  window.audios.filter((one) => one.getAttribute("src") || !one.paused).length];
        }""",
        given,
    )
    assert left == [0, {"state": "destroyed"}, [], 0]
    visit.start(two=True)
    assert len(visit.page.evaluate("window.audios")) == 22


def test_labels_that_are_missing_are_named(visit: Visit) -> None:
    given = options()
    given["labels"] = {name: text for name, text in LABELS.items() if name not in ("snap", "play")}
    told = visit.page.evaluate(
        "(given) => { try { window.start(given); } catch (error) { return error.message; } }", given
    )
    assert told == "labels are missing: play, snap"
    assert visit.page.locator("#player").get_attribute("data-state") is None
