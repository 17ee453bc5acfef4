"""The browser of this machine, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def program() -> str | None:
    """The browser: what HEADROOM_TEST_BROWSER names, else the first that is installed."""
    return os.environ.get("HEADROOM_TEST_BROWSER") or next(
        (found for name in NAMES if (found := shutil.which(name))), None
    )


def why_not() -> str:
    """Why no browser can be driven here; empty if one can."""
    if find_spec("playwright") is None:
        return "Playwright is not installed: pip install 'headroom-audio[browser-test]'"
    return "" if program() else f"none of {', '.join(NAMES)} is installed here"


@contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window and without sound, which plays what a page asks it to."""
    from playwright.sync_api import sync_playwright

    arguments = ["--autoplay-policy=no-user-gesture-required", "--mute-audio", "--disable-gpu"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        arguments.append("--no-sandbox")  # which root cannot have
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program(), args=arguments)
        try:
            yield opened
        finally:
            opened.close()
