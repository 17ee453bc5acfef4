"""Every view of the page: how to come to it from the page as it opens, in any language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headroom.settings.serving import LANGUAGES
from support.visitors import SOON

View = Callable[[Any], None]
MADE = 300_000  # milliseconds, in which six short songs are made on a busy machine
_SWEPT = """() => [...document.querySelectorAll("headroom-sweep .cell")]
  .every(one => one.dataset.state === "done")"""
_UNSWEPT = """async () => {
  for (const one of JSON.parse(sessionStorage.getItem("headroom-sweep")))
    await fetch(`/v1/jobs/${one.id}`, {method: "DELETE"});
}"""
READY = "headroom-player [data-state=paused]"


def place(page: Any, number: int) -> None:
    """Go to one of the places: make, songs, machine."""
    page.locator("#places [role=tab]").nth(number).click()


def unfold(page: Any, selector: str) -> None:
    """Open what is folded."""
    page.locator(selector).evaluate_all("all => { for (const one of all) one.open = true; }")


def speak(page: Any, language: str) -> None:
    """Change the language of the page."""
    page.locator("#language input").click()
    page.locator("[role=option]").nth(LANGUAGES.index(language)).click()
    page.wait_for_function("code => document.documentElement.lang === code", arg=language)
    page.wait_for_function("!!document.querySelector('.outlook')")


def simple(page: Any) -> None:
    place(page, 0)
    page.locator("#mode input[value=simple]").check()
    page.locator(".outlook").wait_for(timeout=SOON)


def expert(page: Any, field: str = "lyrics") -> None:
    """The larger form, when it shows this field."""
    place(page, 0)
    page.locator("#mode input[value=expert]").check()
    page.locator(f"#field-{field}").wait_for(timeout=SOON)


def clamped(page: Any) -> None:
    """A song that is longer than the card allows."""
    expert(page)
    page.locator("#field-duration :is(textarea, input)").fill("900")
    page.locator(".outlook ul.notes").wait_for(timeout=SOON)
    unfold(page, ".outlook details")


def unfolded(page: Any, field: str = "lyrics") -> None:
    """Every field of a song."""
    expert(page, field)
    closed = page.locator("#form .label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()


def cover(page: Any) -> None:
    """The fields of another task, with a place for recordings."""
    expert(page)
    page.locator("#task input[value=cover]").check()
    page.locator("#field-source_audio").wait_for(timeout=SOON)


def refused(page: Any) -> None:
    """A request that cannot be carried out."""
    cover(page)
    page.locator("#go").click()
    page.locator(".outlook.refused").wait_for(timeout=SOON)


def sheet(page: Any) -> None:
    """A song sheet, put into the form."""
    page.locator("[data-does=job_sheet]").first.click()
    page.locator("#field-lyrics").wait_for(timeout=SOON)


def songs(page: Any) -> None:
    place(page, 1)
    page.locator(".song").first.wait_for(timeout=SOON)


def song(page: Any) -> None:
    songs(page)
    page.locator(".song button.open", has_text="Lantern light").last.click()
    page.locator(f"headroom-song {READY}").wait_for(timeout=SOON)
    unfold(page, "headroom-song details")


def compared(page: Any) -> None:
    song(page)
    page.locator("headroom-song [data-does=compare]").first.click()
    page.locator("headroom-song [data-does=alone]").wait_for(timeout=SOON)
    page.locator(f"headroom-song {READY}").wait_for(timeout=SOON)


def parts(page: Any) -> None:
    """Two parts of a song that are chosen to be made anew."""
    song(page)
    page.locator("headroom-song [data-does=parts]").click()
    page.locator("headroom-song .regions").wait_for(timeout=SOON, state="attached")
    for _ in range(2):
        page.locator("headroom-song headroom-player .add").click()


def chosen(page: Any) -> None:
    """Two songs that are chosen, and a list of what can be done with them."""
    songs(page)
    for box in page.locator(".song input[type=checkbox]").all()[:2]:
        box.check()


def playlist(page: Any) -> None:
    songs(page)
    page.locator("select[name=place]").select_option(index=1)
    page.locator(".moves").first.wait_for(timeout=SOON)


def deleted(page: Any) -> None:
    """A song that was deleted just now, with a way to undo that."""
    songs(page)
    page.locator(".song button.open").last.click()
    page.locator(f"headroom-song {READY}").wait_for(timeout=SOON)
    page.locator("headroom-song [data-does=delete]").click()
    page.locator("[data-does=undo]").wait_for(timeout=SOON)


def nothing(page: Any) -> None:
    """A search that finds nothing."""
    songs(page)
    page.locator("headroom-library input[type=search]").fill("zzz")
    page.locator(".song").first.wait_for(state="detached", timeout=SOON)


def machine(page: Any) -> None:
    place(page, 2)
    page.locator("ul.models li").first.wait_for(timeout=SOON)
    page.locator("#gpu-refresh").click()


def smaller(page: Any) -> None:
    """The machine as if its card had 4 GB."""
    machine(page)
    page.locator("#vram input").click()
    page.locator("#vram [role=option], ul[role=listbox] [role=option]").nth(1).click()
    page.locator("#init_lm input:disabled").wait_for(timeout=SOON)


def sweep(page: Any) -> None:
    """Settings to compare."""
    expert(page)
    page.locator("headroom-sweep summary").click()


def swept(page: Any) -> None:
    """Settings that were compared, of a song as short as they get."""
    expert(page)
    for name, value in (("caption", "two guitars"), ("duration", "10")):
        page.locator(f"#field-{name} :is(textarea, input)").fill(value)
    sweep(page)
    page.locator("headroom-sweep [data-does=sweep]").click()
    page.locator("headroom-sweep .cell").first.wait_for(timeout=SOON)
    page.wait_for_function(_SWEPT, timeout=MADE)


def unswept(page: Any) -> None:
    """The service without what `swept` made."""
    page.evaluate(_UNSWEPT)


def undone(page: Any) -> None:
    """The library as it was before `deleted`."""
    page.locator("[data-does=undo]").click()
    page.locator("[data-does=undo]").wait_for(state="detached", timeout=SOON)


VIEWS: dict[str, View] = {
    view.__name__: view
    for view in (
        simple, expert, clamped, unfolded, cover, refused, sheet, sweep, songs, song, compared,
        parts, chosen, playlist, deleted, nothing, machine, smaller, swept,
    )
}  # fmt: skip
AFTER: dict[str, View] = {"deleted": undone, "swept": unswept}  # leaves the library as it was
OF_FORM = ("expert", "clamped", "unfolded", "cover", "refused", "sweep", "swept")
