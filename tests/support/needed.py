"""What a test needs that not every machine has: without it the test is skipped, and fails in CI."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

NOTHING_MISSING = (
    "TESTS_NOTHING_MISSING"  # the variable by which .ci/run says that all of it is there
)


def require(why_not: str) -> None:
    """Skip the test for a reason, if there is one; fail it where everything has to be there."""
    if why_not and os.environ.get(NOTHING_MISSING):
        pytest.fail(f"{why_not}, and {NOTHING_MISSING} is set")
    if why_not:
        pytest.skip(why_not)


def require_packages(*names: str) -> None:
    """Require that these packages are installed."""
    missing = [name for name in names if find_spec(name) is None]
    require(f"{', '.join(missing)} not installed" if missing else "")
