"""What axe-core finds wrong with a page of a browser."""

from __future__ import annotations

from typing import Any

import pytest

# Not waited for: the timeline of a page that is not drawn stands still, and nothing ends a wait.
_AT_REST = """document.getAnimations()
  .filter(one => one.effect.getComputedTiming().endTime < Infinity)
  .forEach(one => one.finish())"""


def serious(page: Any, where: Any = None, options: Any = None) -> dict[str, list[str]]:
    """Serious and critical faults, contrast among them: by the name of the rule, up to three
    elements. Animations are brought to their ends before. `where`: the parts of the page that are
    looked at, else all; `options`: of `axe.run`. Skips the test where axe-core is missing."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.evaluate(_AT_REST)
    told = {"resultTypes": ["violations"], **(options or {})}
    return {
        one["id"]: [node["html"][:120] for node in one["nodes"]][:3]
        for one in axe.Axe().run(page, where, told).response["violations"]
        if one["impact"] in ("serious", "critical")
    }
