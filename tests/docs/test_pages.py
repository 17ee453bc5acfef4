"""The pages say what is so: links lead somewhere, examples run."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Annotated, cast

import pytest

from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.songs import Text2Music
from headroom.params.clamp import clamp
from headroom.params.flags import parse
from headroom.params.knob import Knob, Limit

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = [(kind, body) for _, kind, body in BLOCK.findall(text)]
    return [textwrap.dedent(body) for kind, body in found if kind == language]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    inside = [t for t in targets if "://" not in t and not t.startswith("mailto:")]
    assert [t for t in inside if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_in_a_page_is_python(page: Path) -> None:
    for code in blocks(page, "python"):
        try:
            ast.parse(code)
        except SyntaxError:
            ast.parse("class _:\n" + textwrap.indent(code, "    "))


def test_every_page_named_in_a_page_exists() -> None:
    named = {
        (name(page), path)
        for page in PAGES
        for path in re.findall(r"`((?:docs/)?[A-Za-z]+\.md)`", page.read_text(encoding="utf-8"))
    }
    assert ("README.md", "docs/design.md") in named
    assert [pair for pair in sorted(named) if not (ROOT / pair[1]).exists()] == []


@pytest.fixture(scope="module")
def warm() -> type[Text2Music]:
    """The request with the field that CONTRIBUTING.md adds, exactly as it stands there."""
    (code,) = blocks(ROOT / "CONTRIBUTING.md", "python")
    words = {"Annotated": Annotated, "Knob": Knob, "Limit": Limit, "Text2Music": Text2Music}
    source = "class Warm(Text2Music):\n" + textwrap.indent(code, "    ")
    exec(compile(source, "CONTRIBUTING.md", "exec", dont_inherit=True), words)  # the page's text
    return cast(type[Text2Music], words["Warm"])


def test_the_worked_contribution_has_its_flag(warm: type[Text2Music]) -> None:
    request = parse(warm, ["--caption", "a tune", "--warmth", "0.5"])
    assert request.model_dump()["warmth"] == 0.5
    with pytest.raises(InvalidRequest, match="warmth"):
        parse(warm, ["--caption", "a tune", "--warmth", "nan"])


def test_the_worked_contribution_has_its_schema(warm: type[Text2Music]) -> None:
    shown = warm.model_json_schema()["properties"]["warmth"]
    assert (shown["minimum"], shown["maximum"], shown["default"]) == (0, 1, 0.0)
    assert shown["description"].startswith("How much the highs")


def test_the_worked_contribution_is_clamped_with_the_note_it_promises(
    warm: type[Text2Music],
) -> None:
    kept, (note,) = clamp(parse(warm, ["--caption", "a tune", "--warmth", "3"]))
    assert kept.model_dump()["warmth"] == 1
    assert (note.asked, note.used) == (3, 1) and "a share" in note.why
