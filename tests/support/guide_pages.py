"""The guides of docs/{en,zh,ko,pt}/ as they stand there: headings, tables, blocks, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh", "ko", "pt")
PROFILED = ("GPU_COMPATIBILITY", "MEMORY", "BENCHMARK")  # whose flags are those of songs
MANAGED = (
    "MEMORY_4GB",
    "GPU_MANAGEMENT",
    "QUICK_START_GPU",
    "GPU_MANAGEMENT_SUMMARY",
    "GPU_MANAGEMENT_CHANGES",
)
GUIDES = (*PROFILED, *MANAGED)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASSIGNED = re.compile(r"([A-Z_]+)=(\S+)")


def path(guide: str, language: str) -> Path:
    alone = {"README": ROOT / "README.md", "design": ROOT / "docs" / "design.md"}
    return alone.get(guide) or ROOT / "docs" / language / f"{guide}.md"


def text(guide: str, language: str) -> str:
    return path(guide, language).read_text(encoding="utf-8")


def without_blocks(page: str) -> str:
    return BLOCK.sub("", page)


def levels(page: str) -> list[int]:
    """How deep each heading is, in order."""
    return [len(mark) for mark in re.findall(r"^(#+) ", without_blocks(page), re.MULTILINE)]


def part(page: str, name: str) -> str:
    """What stands between the markers of a name, which is there once."""
    (found,) = re.findall(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", page, re.DOTALL)
    assert isinstance(found, str)
    return found


def rows(table: str) -> list[list[str]]:
    """The cells of every table in a text, without heads and rules."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {i for i, row in enumerate(cells) if set("".join(row)) <= set("- ")}
    return [row for i, row in enumerate(cells) if i not in heads and i + 1 not in heads]


@dataclass(frozen=True)
class Command:
    """A line to be typed: what is set before it, its words, and what is said behind it."""

    set: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    remark: str

    def __str__(self) -> str:
        return shlex.join([f"{name}={value}" for name, value in self.set] + [*self.words])

    @property
    def tier(self) -> str | None:
        """The tier that is said to be in force."""
        named = re.search(r"\btier\w+", self.remark)
        return None if named is None else named[0]

    @property
    def program(self) -> tuple[str, ...]:
        """What `acestep` is given, whatever it was called by."""
        words = self.words[2:] if self.words[:2] == ("uv", "run") else self.words
        if words[:2] == ("python", "profile_inference.py"):
            return ("profile", *words[2:])
        assert words[0] == "acestep", f"what is this? {self}"
        return words[1:]


def commands(page: str) -> Iterator[Command]:
    """Every line of the blocks for a shell."""
    for kind, block in BLOCK.findall(page):
        for line in block.splitlines() if kind == "bash" else ():
            if not line or line.startswith("#"):
                continue
            words = shlex.split(line, comments=True)
            there = [i for i, word in enumerate(words) if not ASSIGNED.fullmatch(word)]
            before, rest = words[: there[0]], words[there[0] :]
            pairs = tuple((name, value) for name, value in map(_split, before))
            yield Command(pairs, tuple(rest), line.partition("  # ")[2].strip())


def _split(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def every_command() -> list[Command]:
    """Of all guides, each once with each tier that is said of it."""
    found = (c for g in GUIDES for language in LANGUAGES for c in commands(text(g, language)))
    return list({(str(command), command.tier): command for command in found}.values())
