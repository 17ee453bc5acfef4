"""Pictures of every view of the page: three widths, light and dark, several languages.

    python scripts/pictures --out DIR [--view NAME]… [--language en]… [--width 360]…
    python scripts/pictures --guides          those that README.md and docs/en/PAGE.md show

A service on this machine makes a small library with the bundled model, which takes a minute;
`--keep DIR` keeps it there for the next time. What does not fit the width, and what the browser's
console complains of, is told. Needs a browser and the extra `browser-test`.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from headroom.settings.serving import LANGUAGES
from pictures.guides import for_guides
from support.browser import browser, why_not
from support.page_states import STATES
from support.page_views import AFTER, OF_FORM, VIEWS, speak
from support.studio import Studio, studio
from support.visitors import Visitor

WIDTHS, SPOKEN, SCHEMES = (360, 820, 1440), ("en", "zh", "he"), ("light", "dark")
HEIGHT, TALL = 900, 4500  # pixels: of a screen, and of one on which a whole page is seen
SETTLED, CHANGED = 900, 300  # milliseconds: after another width, and after other colours
COLUMN, GAP = 1500, 24  # pixels: a page that is taller is laid in columns, so that it can be read,
BROAD = 1700  # pixels: as far as they are no broader together
# The songs below the form are in the pictures of other views.
_PLACES = "#places"
_NO_SONGS = "#mine { display: none !important; }"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--out", type=Path, metavar="DIR")
    asked.add_argument("--guides", action="store_true", help="write docs/pictures")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--view", action="append", choices=(*VIEWS, *STATES), default=[])
    parser.add_argument("--language", action="append", choices=LANGUAGES, default=[])
    parser.add_argument("--width", action="append", type=int, default=[])
    parser.add_argument("--scheme", action="append", choices=SCHEMES, default=[])
    args = parser.parse_args()
    if why := why_not():
        print(why, file=sys.stderr)
        return 2
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    with browser() as opened:
        faults = Pictures(opened, args).take()
    print(f"{faults} faults" if faults else "no fault")
    return 1 if faults else 0


class Pictures:
    """Takes pictures of services, as `args` of the command line say."""

    def __init__(self, browser: Any, args: argparse.Namespace) -> None:
        self.browser, self.out, self.keep = browser, args.out, args.keep
        views = args.view or [*VIEWS, *STATES]
        self.views = [one for one in views if one in VIEWS]
        self.states = [one for one in views if one in STATES]
        self.languages = args.language or SPOKEN
        self.widths, self.schemes = args.width or WIDTHS, args.scheme or SCHEMES
        self.faults = 0

    def take(self) -> int:
        """All of them; the number of faults that were told."""
        if self.views or self.out is None:
            with tempfile.TemporaryDirectory() as folder, studio(self.keep or Path(folder)) as one:
                self._of_library(one)
        for name in self.states if self.out else ():
            state = STATES[name]
            with (
                tempfile.TemporaryDirectory() as folder,
                studio(Path(folder), state.family, **state.config) as place,
            ):
                for language in self.languages:
                    self._state(name, place, language)
        return self.faults

    def _of_library(self, place: Studio) -> None:
        if not place.ask("GET", "/v1/library/songs")["songs"]:
            place.fail()
            with place.live.working():
                place.fill()
        with place.live.working():
            if self.out is None:
                for_guides(self.browser, place.live.url)
                return
            for name in self.views:
                for language in self.languages:
                    self._view(name, place, language)

    def _view(self, name: str, place: Studio, language: str) -> None:
        visitor = self._visitor(place)
        page = visitor.ready()
        speak(page, language)
        VIEWS[name](page)
        if name in OF_FORM:
            page.add_style_tag(content=_NO_SONGS)
        self._pictures(visitor, f"{name}-{language}")
        if name in AFTER:
            AFTER[name](page)
        visitor.context.close()

    def _state(self, name: str, place: Studio, language: str) -> None:
        visitors: list[Visitor] = []

        def enter(**options: Any) -> Visitor:
            visitors.append(self._visitor(place, **options))
            return visitors[-1]

        with STATES[name].shown(place, enter, language):
            for visitor in visitors:
                self._pictures(visitor, f"{name}-{language}")
                visitor.context.close()

    def _visitor(self, place: Studio, **options: Any) -> Visitor:
        size = {"width": max(self.widths), "height": HEIGHT}
        return Visitor(self.browser, place.live.url, viewport=size, **options)

    def _pictures(self, visitor: Visitor, name: str) -> None:
        page = visitor.page
        page.mouse.move(0, 0)  # over nothing
        for width in self.widths:
            tall = TALL if page.locator(_PLACES).count() else HEIGHT
            page.set_viewport_size({"width": width, "height": tall})
            page.wait_for_timeout(SETTLED)  # what is drawn when it is seen is seen now
            if (whole := page.evaluate("document.documentElement.scrollHeight")) > tall:
                page.set_viewport_size({"width": width, "height": whole})
                page.wait_for_timeout(SETTLED)
            for scheme in self.schemes:
                self._picture(page, f"{name}-{width}-{scheme}.png", scheme)
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                self._fault(f"{name} is {wide} wide at {width}")
        for complaint in visitor.complaints:
            self._fault(f"{name}: {complaint}")

    def _picture(self, page: Any, file: str, scheme: str) -> None:
        page.emulate_media(color_scheme=scheme)
        page.evaluate("on => document.body.classList.toggle('dark', on)", scheme == "dark")
        page.wait_for_timeout(CHANGED)
        whole = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        if (places := page.locator(_PLACES)).count():
            box = places.bounding_box()
            whole = whole.crop(
                (0, 0, whole.width, min(whole.height, int(box["y"] + box["height"] + GAP)))
            )
        _columns(whole).save(self.out / file)
        print(file, flush=True)

    def _fault(self, told: str) -> None:
        self.faults += 1
        print(told, file=sys.stderr, flush=True)


def _columns(whole: Image.Image) -> Image.Image:
    """A tall picture, cut into pieces that stand side by side."""
    count = min(-(-whole.height // COLUMN), max(1, BROAD // whole.width))
    tall = -(-whole.height // count)
    laid = Image.new("RGB", (count * (whole.width + GAP) - GAP, tall), "magenta")
    for at in range(count):
        piece = whole.crop((0, at * tall, whole.width, min((at + 1) * tall, whole.height)))
        laid.paste(piece, (at * (whole.width + GAP), 0))
    return laid


if __name__ == "__main__":
    sys.exit(main())
