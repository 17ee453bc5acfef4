"""The guides, their languages, and the parts of them that are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

from docs import flags, management, memory, samples, tiers
from docs.contents import contents
from docs.tree import tree
from docs.words import ENGLISH, LANGUAGES, Words, words

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = "contents"  # the part that is made of the page itself
GUIDES = (
    "GPU_COMPATIBILITY",
    "MEMORY",
    "BENCHMARK",
    "MEMORY_4GB",
    "GPU_MANAGEMENT",
    "QUICK_START_GPU",
    "GPU_MANAGEMENT_SUMMARY",
    "GPU_MANAGEMENT_CHANGES",
)
README = "README"
DESIGN = "design"
__all__ = ["GUIDES", "LANGUAGES", "PARTS", "README", "every", "filled", "path"]
# What stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
PARTS: Mapping[str, Callable[[Words], str]] = {
    "tiers": tiers.table_of_tiers,
    "edges": tiers.table_of_edges,
    "axes": flags.table_of_axes,
    "flags": flags.tables_of_flags,
    "models": memory.table_of_models,
    "operations": memory.table_of_operations,
    "cards": memory.table_of_cards,
    "notes": samples.notes,
    "breakdown": samples.breakdown,
    "benchmark": samples.benchmark,
    "tier-test": samples.tier_test,
    "boundary": samples.boundary,
    "batch-boundary": samples.batch_boundary,
    "menu": management.the_menu,
    "env": management.env,
    "limits": management.table_of_limits,
    "lengths": management.table_of_lengths,
    "script": management.table_of_settings,
    "returns": management.table_of_returns,
    "comparison": management.comparison,
    "checks": management.checks,
    "tree": tree,
}
PART = re.compile(r"<!-- ([\w-]+):begin -->\n(.*?)<!-- \1:end -->", re.DOTALL)


def path(guide: str, language: str) -> Path:
    """Where a guide is; README and the design are English, and beside the folders of languages."""
    alone = {README: ROOT / f"{README}.md", DESIGN: ROOT / "docs" / f"{DESIGN}.md"}
    return alone.get(guide) or ROOT / "docs" / language / f"{guide}.md"


def every() -> Iterator[tuple[str, str]]:
    """Guide and language of every page with parts that are written."""
    yield README, ENGLISH
    yield DESIGN, ENGLISH
    yield from product(GUIDES, LANGUAGES)


def filled(text: str, language: str) -> str:
    """A page with its parts as the code has them. Raises KeyError for a part nobody knows."""
    say = words(language)

    def part(found: re.Match[str]) -> str:
        name = found[1]
        return found[0] if name == CONTENTS else between(name, PARTS[name](say))

    def headings(found: re.Match[str]) -> str:
        return between(CONTENTS, contents(page)) if found[1] == CONTENTS else found[0]

    page = PART.sub(part, text)  # parts have headings of their own
    return PART.sub(headings, page)


def between(name: str, words: str) -> str:
    """A part with its marks."""
    return f"<!-- {name}:begin -->\n{words}\n<!-- {name}:end -->"
