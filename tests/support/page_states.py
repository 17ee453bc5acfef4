"""Views of the page that take a service of their own: how to come to each, in any language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from headroom.ui.words import Words
from support.page_views import expert, speak, unfolded
from support.studio import Studio
from support.visitors import SOON, Visitor

Enter = Callable[..., Visitor]
"""Opens the page for one more person, with options of its browser."""


@dataclass(frozen=True)
class State:
    """A view, as `with shown(place, enter, language) as page`, and what its service is made of."""

    shown: Callable[[Studio, Enter, str], AbstractContextManager[Any]]
    family: str = "acestep"
    config: dict[str, Any] = field(default_factory=dict)


def _entered(enter: Enter, language: str) -> Any:
    page = enter().ready()
    if language != "en":
        speak(page, language)
        planned = page.locator(".outlook", has_text=Words(language)("takes_time"))
        planned.or_(page.locator(".outlook.refused")).first.wait_for(timeout=SOON)
    return page


@contextmanager
def working(place: Studio, enter: Enter, language: str) -> Iterator[Any]:
    """A job that runs, which can be listened to already, and one that waits."""
    with place.running():
        page = _entered(enter, language)
        page.locator(".job.running progress").wait_for(timeout=SOON)
        page.locator("[data-does=job_early]").wait_for(timeout=SOON)
        yield page


@contextmanager
def away(place: Studio, enter: Enter, language: str) -> Iterator[Any]:
    """The service has ended, and the page asks for it again and again."""
    page = _entered(enter, language)
    place.live.stop()
    try:
        page.evaluate("window.dispatchEvent(new Event('headroom-made'))")
        page.locator("headroom-jobs [role=status]:not(:empty)").wait_for(timeout=SOON)
        yield page
    finally:
        place.live.start()


@contextmanager
def sign_in(place: Studio, enter: Enter, language: str) -> Iterator[Any]:
    """The form for a key, after a wrong one."""
    page = enter(locale=language).page
    page.locator("#key").fill("hr_wrong")
    page.locator("button").click()
    page.locator("#wrong:not(:empty)").wait_for(timeout=SOON)
    yield page


@contextmanager
def speech(place: Studio, enter: Enter, language: str) -> Iterator[Any]:
    """The simple form of a family that speaks."""
    yield _entered(enter, language)


@contextmanager
def speech_edit(place: Studio, enter: Enter, language: str) -> Iterator[Any]:
    """Every field of the request that changes speech."""
    page = _entered(enter, language)
    expert(page, "text")
    page.locator("#task input").last.check()
    unfolded(page, "text")
    yield page


STATES = {
    "working": State(working),
    "away": State(away),
    "sign-in": State(sign_in, config={"trusts_here": False}),
    "speech": State(speech, "stepaudio"),
    "speech-edit": State(speech_edit, "stepaudio"),
}
