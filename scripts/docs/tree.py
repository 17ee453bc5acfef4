"""The tree of `src`, as its packages and modules describe themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.words import Words

SRC = Path(__file__).resolve().parents[2] / "src"
COLUMN = 34  # where descriptions begin
INDENT = 2


def tree(_: Words) -> str:
    """Every package and module of `src`, one a line, with the first sentence of its docstring."""
    lines: list[str] = []
    for package in (SRC / "headroom", SRC / "acestep"):
        lines += _folder(package, 0)
    return "\n".join(("```", *lines, "```", ""))


def sentence(module: Path) -> str:
    """The first sentence of a module's docstring, on one line. Raises ValueError without one."""
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
    if not docstring:
        raise ValueError(f"{module.relative_to(SRC)} has no docstring")
    words = " ".join(docstring.partition("\n\n")[0].split())
    first, stop, _ = words.partition(". ")
    return first + "." if stop else words


def _folder(folder: Path, depth: int) -> Iterator[str]:
    yield _line(f"{folder.name}/", folder / "__init__.py", depth)
    modules = (f for f in folder.glob("*.py") if f.name != "__init__.py")
    for module in sorted(modules):
        yield _line(module.name, module, depth + 1)
    for inner in sorted(f for f in folder.iterdir() if (f / "__init__.py").is_file()):
        yield from _folder(inner, depth + 1)


def _line(name: str, module: Path, depth: int) -> str:
    return f"{' ' * INDENT * depth + name:<{COLUMN}}{sentence(module)}"
