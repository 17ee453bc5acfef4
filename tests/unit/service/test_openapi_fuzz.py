"""The service does what its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headroom.hardware.machine import card
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig
from support.api_fuzz import KEY, explore


@pytest.mark.ci
def test_every_answer_is_as_the_document_says_and_none_is_a_fault(
    config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.service.stream.LIFE_SECONDS", 0.0)
    app = create_app(replace(config, key=KEY, waiting=10**6, family="tone"), lambda: card(8))
    found = explore(app, 4, ("fuzzing",))
    assert not found.faults, "\n\n".join(found.faults)
    asked = {operation for operation, _ in found.statuses}
    spec = app.openapi()["paths"]
    assert asked == {f"{method.upper()} {path}" for path in spec for method in spec[path]}
    assert {200, 201, 202, 204, 404, 422} <= {status for _, status in found.statuses}
