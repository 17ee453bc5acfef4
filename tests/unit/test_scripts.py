"""The programs in `scripts/`: what they find, list and refuse."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from support import needed

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


def load(file: Path) -> ModuleType:
    """A program as a module, whatever its name ends with."""
    loader = SourceFileLoader("program_under_test", str(file))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """`scripts/check`, looking at an empty folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = load(SCRIPTS / "check")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize("folder", ["home", "root", "work", "Users"])
def test_a_path_of_a_machine_is_found_with_its_line(
    check: ModuleType, tmp_path: Path, folder: str
) -> None:
    file = tmp_path / "notes.md"
    file.write_text(f"fine\nsee /{folder}/somebody/model\n", encoding="utf-8")
    assert check.machine_paths([file]) == [f"notes.md:2: see /{folder}/somebody/model"]


@pytest.mark.parametrize("text", ["https://example.org/{}/page", "src/{}/file", "~/{}/x", "/{}"])
def test_what_only_looks_like_one_is_let_pass(check: ModuleType, tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.md"
    file.write_text(text.format("home"), encoding="utf-8")
    assert check.machine_paths([file]) == []


def test_a_file_that_is_not_text_is_no_fault(check: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"\xff\xfe" + "/".join(["", "root", "x"]).encode())
    assert check.machine_paths([file]) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("if folder.is_dir():", "is_dir"),
        ("found = map(Path.exists, many)", "exists"),
        ("place = Path(text).expanduser()", "expanduser"),
        ("if paths.is_dir(folder):", ""),
    ],
)
def test_a_question_about_a_path_that_raises_is_found(
    check: ModuleType, tmp_path: Path, line: str, found: str
) -> None:
    file = tmp_path / "src" / "x.py"
    file.parent.mkdir()
    file.write_text(f"{line}\n    pass\n" if line.startswith("if") else f"{line}\n")
    where = Path("src") / "x.py"
    assert check.path_questions([file]) == ([f"{where}:1: {found}"] if found else [])


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("engine/engine.py", "import os\nos.environ['X']\n", ["2: environ"]),
        ("engine/engine.py", "import os as o\nx = o.getenv('X')\n", ["2: getenv"]),
        ("nn/conv.py", "from os import environ as e, path\n", ["1: environ"]),
        ("nn/conv.py", "import os\nos.path.join('a')\n", []),
        ("settings/loading.py", "import os\nos.environ\n", []),
        ("device/open.py", "import os\nos.environ\n", []),
        ("device/open.py", "import os\n", ["1: does not use it any more"]),
    ],
)
def test_the_environment_is_read_by_settings_alone(
    check: ModuleType, tmp_path: Path, name: str, code: str, found: list[str]
) -> None:
    file = tmp_path / "src" / "headroom" / name
    file.parent.mkdir(parents=True)
    file.write_text(code, encoding="utf-8")
    expected = [f"src/headroom/{name}:{one}" for one in found]
    assert check.uses_of_environment([file]) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "import p.b", "b.py": "import p.c", "c.py": "import json"}, ""),
        ({"a.py": "import p.b", "b.py": "from p import a"}, "src/p: a → b → a"),
        ({"a.py": "from p.b import x", "b.py": "def f():\n  import p.a"}, "src/p: a → b → a"),
        ({"a.py": "import p.b", "b.py": "import p.c", "c.py": "import p.b"}, "src/p: b → c → b"),
        ({"a.py": "import p.b", "b.py": "if TYPE_CHECKING:\n    import p.a"}, ""),
        ({"a.py": "import p.q.x", "q/x.py": "import p.a"}, "src/p: a → q → a"),
        ({"q/x.py": "import p.q.y", "q/y.py": "import p.q.x"}, "src/p/q: x → y → x"),
        ({"q/x.py": "import p.q.y", "q/y.py": "import p.r.x", "r/x.py": "import json"}, ""),
    ],
)
def test_a_circle_of_imports_inside_a_folder_is_found(
    check: ModuleType, tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, text in files.items():
        file = tmp_path / "src" / "p" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    there = [tmp_path / "src" / "p" / name for name in files]
    assert check.circles(there) == ([expected] if expected else [])


def test_programs_without_an_ending_are_linted_too(check: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "mine").write_text("#!/usr/bin/env python3\n")
    (folder / "shell").write_text("#!/bin/sh\n")
    (folder / "other.py").write_text("")
    files = [folder / name for name in ("mine", "shell", "other.py")]
    assert check.programs(files) == [str(Path("scripts") / "mine")]


def test_one_failed_check_fails_them_all_and_is_named(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "committed", list)
    monkeypatch.setattr(check, "run", lambda name, *arguments: True)
    assert check.main([]) == 0
    monkeypatch.setattr(check, "run", lambda name, *arguments: name != "lint-imports")
    assert check.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "check: failed: lint-imports"


def test_a_tool_that_is_not_installed_is_a_failure_and_no_crash(check: ModuleType) -> None:
    assert check.run("no-such-tool") is False


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--all"], []),
        (["--all", "-x"], ["-x"]),
        (["tests/e2e", "-x"], ["tests/e2e", "-x"]),
        (["tests/unit/test_scripts.py::test_x"], ["tests/unit/test_scripts.py::test_x"]),
        (["-m", "gpu"], ["-m", "gpu"]),
        ([], None),
        (["-x", "-n", "0"], None),
        (["-k", "docs"], None),  # a folder, but not one of tests
    ],
)
def test_unit_tests_are_run_where_nothing_else_is_named(
    words: list[str], expected: list[str] | None
) -> None:
    program = load(SCRIPTS / "test")
    found = program.chosen(words)
    if expected is not None:
        assert found == expected
        return
    assert found[:2] == ["tests/unit", "-m"] and found[len(found) - len(words) :] == words
    assert found[2] == f"{program.usual()} and not long"


def test_what_takes_longest_and_what_not_every_machine_has_is_left_out(
    pytestconfig: pytest.Config,
) -> None:
    usual = load(SCRIPTS / "test").usual()
    marks = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    others = ("slow", "gpu", "weights", "browser", "cluster", "database", "ci")
    assert usual == " and ".join(f"not {mark}" for mark in others)
    assert {*others, "long"} <= marks


def test_what_is_missing_is_a_reason_to_skip_here_and_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(needed.NOTHING_MISSING, raising=False)
    needed.require("")
    with pytest.raises(pytest.skip.Exception, match="no server is installed"):
        needed.require("no server is installed")
    with pytest.raises(pytest.skip.Exception, match="no_such_package"):
        needed.require_packages("pytest", "no_such_package")
    monkeypatch.setenv(needed.NOTHING_MISSING, "1")
    needed.require("")
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as raised:
        needed.require("no server is installed")
    assert raised.type is pytest.fail.Exception
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    marks = '-m "(database or cluster or browser or ci) and not slow"'
    assert f"{needed.NOTHING_MISSING}=1 .venv/bin/python scripts/test {marks}" in script


def prove(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "prove"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_long_proof_says_in_a_line_what_it_proves() -> None:
    listed = prove()
    assert listed.returncode == 0
    names = {line.split()[0] for line in listed.stdout.splitlines()}
    assert names == {file.stem for file in (SCRIPTS / "prove").glob("*.py")} - {"__main__"}
    assert "slow_tests" in names
    assert "says nothing of itself" not in listed.stdout


def test_an_unknown_proof_is_refused_by_name() -> None:
    asked = prove("no-such-proof")
    assert asked.returncode == 2
    assert "no-such-proof" in asked.stderr and "slow_tests" in asked.stderr


@pytest.mark.parametrize(
    ("here", "absent"), [("default", ["avx2", "avx512"]), ("avx2", ["avx512"]), ("avx512", [])]
)
def test_wider_vectors_than_are_there_are_left_out(here: str, absent: list[str]) -> None:
    """PyTorch does as it is told, and would die of an illegal instruction."""
    program = load(SCRIPTS / "prove" / "processors.py")
    assert [name for name in program.SETTINGS if program.lacks(name, here)] == absent
    assert not program.lacks("sse", "no capability")  # another kind of processor
