from __future__ import annotations

from collections.abc import Iterator

import pytest

from unit.weights.folders import published
from unit.weights.hub import Hub, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(published())) as served:
        yield served
