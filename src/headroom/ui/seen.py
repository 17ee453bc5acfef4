"""Which controls of the form are seen: all are there from the start, and a style sheet hides those
that the chosen form or task does not have. Nothing is built or fetched when the choice changes.
"""

from __future__ import annotations

from collections.abc import Collection

from headroom.models.family import Family

SIMPLE, EXPERT = "simple", "expert"  # the two forms
ONLY_SIMPLE, ONLY_EXPERT = "only-simple", "only-expert"
# The change of form or task, in the browser.
ARRANGE = """
(mode, task) => {
  const form = document.getElementById("form");
  form.dataset.mode = mode;
  form.dataset.task = task;
}
"""


def classes(tasks: Collection[str], simple: bool = False) -> list[str]:
    """The classes of a control that requests of these tasks have; `simple`: in both forms."""
    named = [f"for-{task}" for task in sorted(tasks)]
    return ["asked", *named] if simple else ["asked", ONLY_EXPERT, *named]


def style(family: Family) -> str:
    """The style sheet."""
    expert = f"#form[data-mode={EXPERT}]"
    hidden = [f"#form:not([data-mode={EXPERT}]) .{ONLY_EXPERT}", f"{expert} .{ONLY_SIMPLE}"]
    hidden += [f"{expert}[data-task={task}] .asked:not(.for-{task})" for task in family.requests]
    return ",\n".join(hidden) + " { display: none !important; }\n"
