"""The tables of reasons: every code is used, with its own values, and every note has one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from headroom.models.acestep import reasons as acestep
from headroom.models.acestep.requests.songs import TASKS
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.stepaudio import reasons as stepaudio
from headroom.params.describe import describe
from headroom.reasons import OTHER, SEVERAL, Reason, Reasons, reason

SRC = Path(__file__).resolve().parents[2] / "src" / "headroom"
TABLES: dict[str, Reasons] = {
    "": reason,
    "acestep": acestep.reason,
    "stepaudio": stepaudio.reason,
}
OF_A_VALUE = {  # codes that are written as an f-string or taken from a list
    *(f"tier_{name}_{end}" for name in ("seconds", "songs") for end in ("with_lm", "without_lm")),
    *("nothing_idle_stays", "less_weights_at_a_time", "cut_finer", "cut_much_finer"),
}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(SRC.rglob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"))


def named(node: ast.AST, name: str) -> ast.Call | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
        return node
    return None


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Place, code and names of values of every call that fills in a template."""
    for file, tree in modules():
        for node in ast.walk(tree):
            call = named(node, "reason") or named(node, "shared")
            if call is None or not isinstance(call.args[0], ast.Constant):
                continue
            yield (
                f"{file.relative_to(SRC)}:{call.lineno}",
                str(call.args[0].value),
                {str(one.arg) for one in call.keywords},
            )


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_no_code_stands_in_two_tables() -> None:
    codes = [code for table in TABLES.values() for code in table]
    assert len(codes) == len(set(codes)) and not {OTHER, SEVERAL} & set(codes)


def test_every_template_is_filled_in_with_its_own_values() -> None:
    every = {code: template for table in TABLES.values() for code, template in table.items()}
    faults = [
        f"{place}: {code} takes {places(every.get(code, ''))}, not {values}"
        for place, code, values in calls()
        if code not in every or values != places(every[code])
    ]
    assert faults == []
    used = {code for _, code, _ in calls()} | OF_A_VALUE
    assert set(every) - used == set()


def unnamed(tree: ast.Module) -> Iterator[int]:
    """Lines of notes and limits whose reason is a text of no table."""
    for call in (c for n in ast.walk(tree) if (c := named(n, "Note") or named(n, "Limit"))):
        at = 3 if named(call, "Note") else 2
        if len(call.args) > at and isinstance(call.args[at], ast.Constant | ast.JoinedStr):
            yield call.lineno
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef) and any(named(n, "Note") for n in ast.walk(scope)):
            for node in ast.walk(scope):
                text = isinstance(node, ast.Assign) and isinstance(
                    node.value, ast.Constant | ast.JoinedStr
                )
                if text and "why" in ast.unparse(node.targets[0]):  # type: ignore[attr-defined]
                    yield node.lineno  # type: ignore[attr-defined]


def test_every_note_and_limit_has_a_code() -> None:
    for fault in (
        'Note("a", 1, 2, "so")',
        'Limit(1, 2, f"{x}")',
        'def f():\n why = "x"\n Note(why)',
    ):
        assert list(unnamed(ast.parse(fault)))
    found = [
        f"{file.relative_to(SRC)}:{line}" for file, tree in modules() for line in unnamed(tree)
    ]
    assert found == []


@pytest.mark.parametrize("task", TASKS)
def test_the_limits_of_every_field_have_codes(task: str) -> None:
    limits = [param.limit for param in describe(TASKS[task]) if param.limit is not None]
    limits += [limit for variant in VARIANTS.values() for limit in variant.limits.values()]
    assert limits and all(isinstance(limit.why, Reason) for limit in limits)
