"""`start_4gb_mode.sh` in a terminal: each choice, Ctrl-C, an occupied port, a `.env`, odd paths."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("start_4gb_mode.sh", "start_with_gpu_management.sh")
FOLDER = "Área de trabalho/ACE 1.5 – 음악"  # spaces and letters beyond ASCII
posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell and terminals of POSIX")

if sys.platform != "win32":
    from support.typed_session import CTRL_C, Typed, typed


@dataclass
class Project:
    """A folder with the script in it, and two ports that are free."""

    folder: Path
    page: int
    api: int

    def start(self, *words: str) -> AbstractContextManager[Typed]:
        environ = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "HF_HUB_CACHE", "TMPDIR")
               if name in os.environ},
            "HOME": str(self.folder.parent),
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "examples"))),
            "HEADROOM_DATA_DIR": str(self.folder / "data"),
            "HEADROOM_CACHE_DIR": str(self.folder / "cache"),
            "HEADROOM_UI_PORT": str(self.page),
            "HEADROOM_SERVICE_PORT": str(self.api),
        }  # fmt: skip
        script = str(self.folder / "start_4gb_mode.sh")
        return typed(["bash", script, *words], environ, self.folder.parent)

    def answers(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=60) as one:
                return bool(one.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "start_4gb_mode.sh", folder)
    yield Project(folder, free_port(), free_port())


@posix
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_shell_can_read_it(script: str) -> None:
    assert subprocess.run(["bash", "-n", ROOT / script], check=False).returncode == 0
    assert os.access(ROOT / script, os.X_OK)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; .ci/run brings it")
    done = subprocess.run(
        ["shellcheck", ROOT / script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@posix
@pytest.mark.parametrize("python", ["", "python3"])
def test_without_a_named_interpreter_start_py_brings_one(project: Project, python: str) -> None:
    program = project.folder / "bin" / "python3"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\npwd\necho "$@"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHON": python}
    command = ["bash", str(project.folder / "start_4gb_mode.sh"), "both", "--host", "a b"]
    done = subprocess.run(command, capture_output=True, env=environ, cwd="/", check=True)
    folder, words = done.stdout.decode("utf-8").splitlines()
    assert Path(folder) == project.folder
    assert words == f"{'-m headroom' if python else 'start.py'} 4gb both --host a b"


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "page", "api"), [("1", True, False), ("2", False, True), ("3", True, True)]
)
def test_a_choice_serves_until_ctrl_c_and_leaves_nothing(
    project: Project, choice: str, page: bool, api: bool
) -> None:
    with project.start() as session:
        session.wait_for("1 to 4")
        session.type(choice)
        session.wait_for(r"headroom serves (\S+)")
        while not project.answers(project.page if page else project.api):
            assert session.process.poll() is None, session.shown
        assert (project.answers(project.page), project.answers(project.api)) == (page, api)
        children = session.children()
        assert children
        session.type(CTRL_C)
        assert session.end() == 0, session.shown
        assert psutil.wait_procs(children, timeout=30)[1] == []
    assert not project.answers(project.page) and not project.answers(project.api)
    assert (project.folder / ".env").is_file()
    assert "key" not in session.shown.lower() and "password" not in session.shown.lower()


@posix
@pytest.mark.slow
def test_the_fourth_choice_tests_the_settings(project: Project) -> None:
    with project.start() as session:
        session.wait_for("1 to 4")
        session.type("4")
        session.wait_for("several models")
        assert session.end() == 0
    assert "180 s take" in session.shown and ".env (ACESTEP_MAX_DURATION)" in session.shown


@posix
@pytest.mark.slow
def test_ctrl_c_in_the_menu_ends_it(project: Project) -> None:
    with project.start() as session:
        session.wait_for("1 to 4")
        session.type(CTRL_C)
        assert session.end() == 130
    assert "Traceback" not in session.shown


@posix
@pytest.mark.slow
@pytest.mark.parametrize("choice", ["page", "api", "both"])
def test_an_occupied_port_is_named_and_nothing_starts(project: Project, choice: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", project.api if choice == "api" else project.page))
        other.listen()
        with project.start(choice) as session:
            assert session.end() == 2
        assert f"port: {other.getsockname()[1]}" in session.shown
    assert "Traceback" not in session.shown and not (project.folder / "data").exists()


@posix
@pytest.mark.slow
def test_an_env_that_is_there_stays_and_holds(project: Project) -> None:
    text = "# mine\nACESTEP_MAX_DURATION=120\n"
    (project.folder / ".env").write_text(text)
    with project.start("4") as session:
        assert session.end() == 0
    assert (project.folder / ".env").read_text() == text
    assert "1 song of 120 s" in session.shown and "was written" not in session.shown
    assert "4 GB mode (MAX_CUDA_VRAM)" in session.shown
