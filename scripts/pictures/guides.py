"""The few pictures that README.md and docs/en/PAGE.md show: small, in few colours."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from support.page_views import VIEWS, speak
from support.visitors import Visitor

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
COLOURS, GAP = 96, 16  # of a picture; pixels between two that stand side by side
WORDS = "slow bossa nova, nylon guitar, warm night"
PHONE, SETTLED = 360, 1200  # pixels; milliseconds


@dataclass(frozen=True)
class Shot:
    """A view as it is seen at this size. `top`: what is scrolled to."""

    view: str
    width: int = 1200
    height: int = 780
    dark: bool = False
    language: str = "en"
    top: str = ""


PICTURES: dict[str, tuple[Shot, ...]] = {
    "make": (Shot("simple"),),
    "everything": (Shot("clamped", height=900, top="#form"),),
    "song": (Shot("song", height=800, dark=True),),
    "parts": (Shot("parts", height=640, top="headroom-song"),),
    "machine": (Shot("smaller", height=820, top="#machine"),),
    "phone": (
        Shot("simple", PHONE, 700, top="#form"),
        Shot("song", PHONE, 700, dark=True),
        Shot("simple", PHONE, 700, language="he", top="#form"),
    ),
}


def for_guides(browser: Any, url: str) -> None:
    """Take all of them, from a service at `url`."""
    FOLDER.mkdir(exist_ok=True)
    for name, shots in PICTURES.items():
        taken = [_taken(browser, url, shot) for shot in shots]
        width = sum(one.width for one in taken) + GAP * (len(taken) - 1)
        whole = Image.new("RGB", (width, max(one.height for one in taken)), "white")
        at = 0
        for one in taken:
            whole.paste(one, (at, 0))
            at += one.width + GAP
        small = whole.quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(FOLDER / f"{name}.png", optimize=True)
        print(f"{name}.png", (FOLDER / f"{name}.png").stat().st_size, flush=True)


def _taken(browser: Any, url: str, shot: Shot) -> Image.Image:
    size = {"width": shot.width, "height": shot.height}
    visitor = Visitor(browser, url, viewport=size, color_scheme="dark" if shot.dark else "light")
    page = visitor.ready()
    speak(page, shot.language)
    VIEWS[shot.view](page)
    if shot.view == "simple" and shot.language == "en":
        page.locator("#field-caption textarea").fill(WORDS)
        page.locator("#mood input[value=tender]").check()
    page.mouse.move(0, 0)  # over nothing
    page.evaluate("document.activeElement?.blur()")
    page.evaluate("top => top && document.querySelector(top).scrollIntoView()", shot.top)
    page.wait_for_timeout(SETTLED)
    picture = page.screenshot(animations="disabled")
    visitor.context.close()
    return Image.open(io.BytesIO(picture)).convert("RGB")
