"""Pictures of every view of the page: three widths, light and dark, several languages.

    python scripts/pictures --out DIR [--view NAME]… [--language en]… [--width 360]…
    python scripts/pictures --guides          those that README.md and docs/en/PAGE.md show

A service on this machine makes a small library with the bundled model, which takes a minute;
`--keep DIR` keeps it there for the next time. What does not fit the width, and what the browser's
console complains of, is told. Needs a browser and the extra `browser-test`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headroom.settings.serving import LANGUAGES
from pictures.guides import for_guides
from support.browser import browser, why_not
from support.page_views import VIEWS, speak
from support.studio import Studio, studio
from support.visitors import Visitor

WIDTHS, SPOKEN, SCHEMES = (360, 820, 1440), ("en", "zh", "he"), ("light", "dark")
WORKING = "working"  # the view of a job that runs, for which no engine may take it
HEIGHT, SETTLED = 900, 700  # pixels; milliseconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--out", type=Path, metavar="DIR")
    asked.add_argument("--guides", action="store_true", help="write docs/pictures")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--view", action="append", choices=(*VIEWS, WORKING), default=[])
    parser.add_argument("--language", action="append", choices=LANGUAGES, default=[])
    parser.add_argument("--width", action="append", type=int, default=[])
    parser.add_argument("--scheme", action="append", choices=SCHEMES, default=[])
    args = parser.parse_args()
    if why := why_not():
        print(why, file=sys.stderr)
        return 2
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, studio(args.keep or Path(folder)) as place:
        with browser() as opened:
            faults = Pictures(place, opened, args).take()
    print(f"{faults} faults" if faults else "no fault")
    return 1 if faults else 0


class Pictures:
    """Takes pictures of a service, as `args` of the command line say."""

    def __init__(self, place: Studio, browser: Any, args: argparse.Namespace) -> None:
        self.place, self.browser, self.out = place, browser, args.out
        self.views = args.view or [*VIEWS, WORKING]
        self.languages = args.language or SPOKEN
        self.widths, self.schemes = args.width or WIDTHS, args.scheme or SCHEMES
        self.faults = 0

    def take(self) -> int:
        """All of them; the number of faults that were told."""
        if not self.place.ask("GET", "/v1/library/songs")["songs"]:
            self.place.fail()
            with self.place.live.working():
                self.place.fill()
        if self.out is None:
            with self.place.live.working():
                for_guides(self.browser, self.place.live.url)
            return 0
        with self.place.live.working():
            for name in self.views:
                if name != WORKING:
                    self._view(name)
        if WORKING in self.views:
            with self.place.running():
                self._view(WORKING)
        return self.faults

    def _view(self, name: str) -> None:
        for language in self.languages:
            size = {"width": max(self.widths), "height": HEIGHT}
            visitor = Visitor(self.browser, self.place.live.url, viewport=size)
            page = visitor.ready()
            speak(page, language)
            if name == WORKING:
                page.locator(".job.running progress").wait_for()
            else:
                VIEWS[name](page)
            for width in self.widths:
                for scheme in self.schemes:
                    self._picture(page, f"{name}-{language}", width, scheme)
            for complaint in visitor.complaints:
                self._fault(f"{name}, {language}: {complaint}")
            if name == "deleted":
                page.locator("[data-does=undo]").click()
                page.wait_for_timeout(SETTLED)
            visitor.context.close()

    def _picture(self, page: Any, name: str, width: int, scheme: str) -> None:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.evaluate("on => document.body.classList.toggle('dark', on)", scheme == "dark")
        page.wait_for_timeout(SETTLED)
        file = f"{name}-{width}-{scheme}.png"
        page.screenshot(path=self.out / file, full_page=True, animations="disabled")
        print(file, flush=True)
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            self._fault(f"{file} is {wide} wide")

    def _fault(self, told: str) -> None:
        self.faults += 1
        print(told, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
