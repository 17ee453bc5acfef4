"""No default of a request field is written anywhere but on the field (and in the variants).

The walk looks for the ways a second default creeps in: a parameter or a dataclass field of that
name with a value, `request.name or value`, `value if request.name is None else …`, `.get("name",
value)` and `getattr(x, "name", value)`. None is no value: it means "not decided".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import headroom
from headroom.models.acestep.requests.songs import TASKS
from headroom.params.describe import union

SRC = Path(headroom.__file__).parents[1]
DECLARED = (
    "songs.py", "common_fields.py", "song_fields.py", "source_fields.py",
    "language_fields.py", "variants.py", "speech.py",
)  # fmt: skip
# Interfaces with fields of their own that are named alike: those of ACE-Step, and texts of songs
# that were made or of a message that was sent, where no text is an empty one.
OTHERS = (
    "acestep/inference_types.py", "acestep/inference.py", "acestep/handler.py",
    "acestep/request_conversion.py", "acestep/music_call.py", "acestep/llm_inference.py",
    "acestep/llm_prompts.py", "acestep/sheet_results.py", "headroom/service/old/results.py",
    "headroom/jobs/values.py", "headroom/service/export.py", "headroom/service/chat/wish.py",
)  # fmt: skip
FIELDS = {param.name for param in union(TASKS.values())}
# Words that mean other things outside the model's own folder: the start of a byte range.
COMMON = {"start", "end"}


def second_defaults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, field) of every default of a request field in a syntax tree."""
    for node in ast.walk(tree):
        for name, value in _defaults(node):
            if name in FIELDS and _is_value(value):
                yield value.lineno, name


def _defaults(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            arguments = node.args
            plain = [*arguments.posonlyargs, *arguments.args]
            late = plain[len(plain) - len(arguments.defaults) :]
            for one, value in zip(late, arguments.defaults, strict=True):
                yield one.arg, value
            for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
                if default is not None:
                    yield one.arg, default
        case ast.ClassDef():
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    if line.value is not None:
                        yield line.target.id, line.value
        case ast.BoolOp(op=ast.Or(), values=[*asked, value]):
            for part in asked:
                yield _field(part), value
        case ast.IfExp(test=ast.Compare(left=left, comparators=[ast.Constant(None)])):
            yield _field(left), node.body
            yield _field(left), node.orelse
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(str(name)), value]):
            yield name, value
        case ast.Call(func=ast.Name("getattr"), args=[_, ast.Constant(str(name)), value]):
            yield name, value


def _field(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ""


def _is_value(node: ast.expr) -> bool:
    """A literal other than None: a number, a word, a display of literals."""
    try:
        return ast.literal_eval(node) is not None
    except ValueError:
        return False


def test_no_default_of_a_request_field_is_written_a_second_time() -> None:
    found = [
        f"{path.relative_to(SRC)}:{line} {name}"
        for path in sorted(SRC.rglob("*.py"))
        if path.name not in DECLARED and path.relative_to(SRC).as_posix() not in OTHERS
        for line, name in second_defaults(ast.parse(path.read_text(encoding="utf-8")))
        if name not in COMMON or path.parent.name == "acestep"
    ]
    assert not found, "written outside the request:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "planted",
    [
        "def f(shift=3.0): ...",
        "def f(*, duration: float = 30): ...",
        "g = lambda bpm=120: bpm",
        "class Song:\n    fade_in: float = 0.0",
        "class Song:\n    seeds: tuple[int, ...] = ()",
        "x = request.guidance_scale or 7.0",
        "x = 8 if request.inference_steps is None else request.inference_steps",
        "x = request.shift if request.shift is not None else -1.0",
        "x = body.get('audio_format', 'mp3')",
        "x = getattr(request, 'noise', 'official')",
    ],
)
def test_the_walk_sees_each_way_of_writing_one(planted: str) -> None:
    assert len(list(second_defaults(ast.parse(planted)))) == 1


@pytest.mark.parametrize(
    "innocent",
    [
        "def f(shift: float): ...",
        "def f(seed: int | None = None): ...",
        "class Song:\n    duration: float",
        "x = request.shift if request.shift is not None else variant.shift",
        "x = request.duration or source.duration",
        "x = column.get('other', 3)",
    ],
)
def test_the_walk_lets_through_what_decides_nothing(innocent: str) -> None:
    assert not list(second_defaults(ast.parse(innocent)))
