"""What the tests of the page share: a browser, people in it, and a service whose songs wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.browser import browser as chromium
from support.browser import why_not
from support.live import Live
from support.needed import require
from support.visitors import Visitor, config_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    require(why_not())
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Opens the page of a service for one more person."""
    visitors: list[Visitor] = []

    def begin(live: Live, path: str = "/", **options: Any) -> Visitor:
        visitors.append(Visitor(browser, live.url + path, **options))
        return visitors[-1]

    yield begin
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service of songs without an engine: what is asked for waits."""
    live = Live(config_of(tmp_path_factory.mktemp("waiting"), "acestep"))
    live.start()
    yield live
    live.stop()
