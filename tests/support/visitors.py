"""People at the page: browsers of their own, at a service that has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from headroom.service.config import Page as PageConfig
from headroom.service.config import ServiceConfig, from_settings
from headroom.settings import load
from headroom.ui import mount

SOON = 60_000  # milliseconds
MADE = 6 * SOON  # in which the bundled model makes a song on a busy machine
AWAY = "net::ERR_CONNECTION_REFUSED"  # what a browser says by itself of a service that has ended
PAGE = PageConfig(mount.PATH, mount.LOGIN, mount.POLICY, mount.add)


def config_of(folder: Path, family: str, **more: Any) -> ServiceConfig:
    """A service of a family with the page, in a folder."""
    given = {"HEADROOM_DATA_DIR": str(folder), "HEADROOM_CACHE_DIR": str(folder / "c")}
    made = from_settings(load(given), family)
    return replace(made, free_bytes=0, page=PAGE, **more)


class Visitor:
    """A browser of its own, at the page; what its console complains of is kept."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(SOON)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog"))
        self.url = url
        self.page.goto(url)

    def anew(self) -> Any:
        """The page as it opens for the first time, when it has planned."""
        self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        self.complaints.clear()
        self.page.goto(self.url)
        return self.ready()

    def _heard(self, message: Any) -> None:
        if message.type == "error" and AWAY not in message.text:
            self.complaints.append(message.text)

    def ready(self) -> Any:
        """The page when it has planned for the first time."""
        self.page.locator(".outlook").wait_for(timeout=SOON)
        return self.page

    def songs(self) -> Any:
        """The place with the songs, when it is shown."""
        self.page.locator("#tab-songs-button").click()
        library = self.page.locator("headroom-library")
        library.wait_for()
        return library


def opened(library: Any, name: str) -> Any:
    """The view of a song of the library, once its player can play."""
    from playwright.sync_api import expect

    library.locator(".song", has_text=name).locator("button.open").first.click()
    song = library.locator("headroom-song")
    expect(song.get_by_label("Title")).to_have_value(name)
    expect(song.locator("headroom-player [data-state=paused]")).to_be_visible()
    return song
