"""A table of contents for a page in Markdown, with the anchors that GitHub gives its headings."""

from __future__ import annotations

import re
from collections import Counter

HEADING = re.compile(r"^(#{2,3}) (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def contents(page: str) -> str:
    """The headings of the second and third level as a nested list of links."""
    seen: Counter[str] = Counter()
    lines = []
    for marks, title in HEADING.findall(CODE.sub("", page)):
        anchor = anchor_of(title)
        number = f"-{seen[anchor]}" if seen[anchor] else ""
        seen[anchor] += 1
        lines.append(f"{'  ' * (len(marks) - 2)}- [{title}](#{anchor}{number})")
    return "\n".join(lines)


def anchor_of(title: str) -> str:
    """What GitHub makes of a heading: lower case, no punctuation, hyphens for spaces."""
    return NOT_IN_ANCHORS.sub("", title.strip().lower()).replace(" ", "-")
