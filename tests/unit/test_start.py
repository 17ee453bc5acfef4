"""`start.py` decides rightly on machines that are not this one, and says what is missing."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import socket
import subprocess
import sys
import urllib.error
from pathlib import Path, PureWindowsPath
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "start.py").read_text(encoding="utf-8")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("start_under_test", ROOT / "start.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start() -> ModuleType:
    return load()


@pytest.fixture
def said(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines start.py says, instead of printing them."""
    lines: list[str] = []
    monkeypatch.setattr(start, "say", lines.append)
    return lines


# --- an old Python can read it ---------------------------------------------------------------


def test_python_3_8_can_read_it_to_the_end() -> None:
    ast.parse(SOURCE, feature_version=(3, 8))


def test_it_imports_the_standard_library_only() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert "subprocess" in names
    assert names <= sys.stdlib_module_names


def test_an_old_python_takes_a_newer_one_from_path(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"python3.13": None, "python3.12": (3, 12, 1), "python3.11": (3, 11, 7)}
    monkeypatch.setattr(start.sys, "version_info", (3, 8, 18))
    monkeypatch.setattr(start.shutil, "which", lambda name: name if name in versions else None)
    monkeypatch.setattr(start, "version_of", lambda command: versions[command[0]])
    assert start.find_python("posix") == ["python3.12"]


def test_on_windows_the_launcher_is_asked(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start.sys, "version_info", (3, 8, 18))
    monkeypatch.setattr(start.shutil, "which", lambda name: name if name == "py" else None)
    monkeypatch.setattr(
        start, "version_of", lambda command: (3, 12, 0) if command == ["py", "-3.12"] else None
    )
    assert start.find_python("nt") == ["py", "-3.12"]
    assert start.find_python("posix") is None


def test_an_old_python_alone_gets_a_sentence(
    start: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(start, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(start.sys, "version_info", (3, 8, 18))
    monkeypatch.setattr(start.shutil, "which", lambda name: None)
    assert start.main(["song", "a tune"]) == 1
    words = capsys.readouterr().err
    assert "This is Python 3.8" in words and "3.11 or newer" in words
    assert not (tmp_path / ".venv").exists()


# --- the virtual environment -----------------------------------------------------------------


def test_windows_keeps_its_programs_in_scripts(start: ModuleType) -> None:
    venv = Path("project") / ".venv"
    assert start.venv_python(venv, "nt") == venv / "Scripts" / "python.exe"
    assert start.venv_python(venv, "posix") == venv / "bin" / "python"
    windows = start.venv_python(PureWindowsPath(r"C:\project\.venv"), "nt")
    assert str(windows) == r"C:\project\.venv\Scripts\python.exe"


def test_without_ensurepip_other_makers_are_tried_then_named(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, str] = {"uv": "/bin/uv"}
    monkeypatch.setattr(start.shutil, "which", found.get)
    monkeypatch.setattr(start, "answers", lambda python, code: False)
    python = ["/usr/bin/python3"]
    ((name, (command,)),) = start.ways_to_make(Path(".venv"), python)
    assert name == "uv"
    assert command[:2] == ["/bin/uv", "venv"] and "--seed" in command

    found.clear()
    assert start.ways_to_make(Path(".venv"), python) == []
    sentence = start.no_way(python)
    assert "ensurepip" in sentence and "python3-venv" in sentence and "uv" in sentence


def test_without_ensurepip_the_systems_pip_fills_a_bare_environment(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start.shutil, "which", lambda name: None)
    monkeypatch.setattr(start, "answers", lambda python, code: "ensurepip" not in code)
    ((_, (bare, fill)),) = start.ways_to_make(Path(".venv"), ["python3"])
    assert "--without-pip" in bare
    assert fill[:4] == ["python3", "-m", "pip", "--python"] and fill[-1] == "pip"


def test_a_way_that_fails_leaves_nothing_and_the_next_is_taken(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    venv = tmp_path / ".venv"
    half, whole = ["half", str(venv)], ["whole", str(venv)]
    monkeypatch.setattr(
        start, "ways_to_make", lambda venv, python: [("one", [half]), ("two", [whole])]
    )

    def make(command: list[str]) -> tuple[int, str]:
        assert not venv.exists(), "what the first way left is still there"
        venv.mkdir()
        return (1, "no room") if command == half else (0, "")

    monkeypatch.setattr(start, "run_quietly", make)
    start.make_venv(venv)
    assert venv.exists()
    assert [line.rsplit("(", 1)[1] for line in said] == ["with one)", "with two)"]


def test_a_folder_of_yours_is_not_taken_for_an_environment(
    start: ModuleType, tmp_path: Path
) -> None:
    venv = tmp_path / ".venv"
    venv.mkdir()
    (venv / "thesis.txt").write_text("mine")
    with pytest.raises(start.Stop, match="in the way"):
        start.make_venv(venv)
    assert (venv / "thesis.txt").exists()


def test_an_environment_without_pip_is_filled_and_not_thrown_away(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []
    monkeypatch.setattr(start.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    monkeypatch.setattr(start, "answers", lambda python, code: len(tried) == 2)
    monkeypatch.setattr(start, "run_quietly", tried.append)
    start.add_pip(["python"])
    assert tried == [
        ["python", "-m", "ensurepip"],
        ["/bin/uv", "pip", "install", "--python", "python", "pip"],
    ]
    monkeypatch.setattr(start, "answers", lambda python, code: False)
    with pytest.raises(start.Stop, match="no pip"):
        start.add_pip(["python"])


# --- which torch -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "nvidia", "rocm", "driver", "builds"),
    [
        ("linux", False, False, "", ["cpu"]),
        ("linux", True, False, "CUDA Version: 13.0", []),
        ("linux", False, True, "", []),
        ("darwin", False, False, "", []),
        ("win32", False, False, "", []),
        ("win32", True, False, "| CUDA Version: 12.8  |", ["cu128", "cu126"]),
        ("win32", True, False, "no driver", []),
    ],
)
def test_a_build_is_asked_for_only_where_the_plain_one_is_wrong(
    start: ModuleType, system: str, nvidia: bool, rocm: bool, driver: str, builds: list[str]
) -> None:
    assert start.wanted_builds(system, nvidia, rocm, driver) == builds


@pytest.mark.parametrize(
    ("environment", "config", "named"),
    [
        ([], "", False),
        (["PATH", "PIP_DEFAULT_TIMEOUT", "UV_INDEX_URL"], "", False),
        (["PIP_INDEX_URL"], "", True),
        (["PIP_EXTRA_INDEX_URL"], "", True),
        (["PIP_FIND_LINKS"], "", True),
        ([], "global.timeout='60'\nglobal.index-url='https://mirror.example/simple'", True),
        ([], "install.find-links='/wheels'", True),
        ([], ":env:.no-index='1'", True),
        ([], "global.cert='/index-url.pem'", False),
    ],
)
def test_pip_that_was_told_where_to_look_is_left_alone(
    start: ModuleType, environment: list[str], config: str, named: bool
) -> None:
    assert start.names_an_index(environment, config) is named


def without_pip_settings(start: ModuleType, monkeypatch: pytest.MonkeyPatch, nvidia: bool) -> None:
    """A Linux machine without any configuration of pip, with or without an NVIDIA card."""
    monkeypatch.setattr(start.os, "environ", {})
    monkeypatch.setattr(start.sys, "platform", "linux")
    monkeypatch.setattr(start, "run_quietly", lambda command: (0, ""))
    monkeypatch.setattr(start, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(start, "has_rocm", lambda: False)


def answer_with(start: ModuleType, monkeypatch: pytest.MonkeyPatch, page: str) -> list[str]:
    """Let every address answer with `page`; the addresses asked are returned."""
    asked: list[str] = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        assert timeout <= 5
        asked.append(address)
        return io.BytesIO(page.encode())

    monkeypatch.setattr(start.urllib.request, "urlopen", urlopen)
    return asked


def test_linux_without_a_card_takes_the_cpu_build_when_its_index_has_it(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    without_pip_settings(start, monkeypatch, nvidia=False)
    version = start.pinned("torch")
    page = f'<a href="torch-{version}%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl">'
    asked = answer_with(start, monkeypatch, page)
    options = start.torch_options(Path("python"))
    assert options == ["--extra-index-url", start.TORCH_WHEELS + "cpu"]
    assert asked == [start.TORCH_WHEELS + "cpu/torch/"]
    assert len(said) == 1


def test_an_index_without_the_tested_version_is_not_used(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    without_pip_settings(start, monkeypatch, nvidia=False)
    answer_with(start, monkeypatch, '<a href="torch-1.0.0%2Bcpu-cp312-cp312-linux_x86_64.whl">')
    assert start.torch_options(Path("python")) == []
    assert "out of reach" in said[0]


def test_with_a_card_no_address_is_asked(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    without_pip_settings(start, monkeypatch, nvidia=True)
    asked = answer_with(start, monkeypatch, "")
    assert start.torch_options(Path("python")) == [] and asked == []


def test_an_index_out_of_reach_costs_nothing_but_a_sentence(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    without_pip_settings(start, monkeypatch, nvidia=False)

    def refused(address: str, timeout: float) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(start.urllib.request, "urlopen", refused)
    assert start.torch_options(Path("python")) == []
    assert len(said) == 1


def test_a_server_that_never_answers_does_not_hold_us_up(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, waits = start.urllib.request.urlopen, []

    def impatient(address: str, timeout: float) -> object:
        waits.append(timeout)
        return real(address, timeout=0.2)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(start, "TORCH_WHEELS", f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(start.urllib.request, "urlopen", impatient)
        assert start.offers("cpu", "2.13.0") is None
    assert waits == [5]  # asked once, for so many seconds


# --- the installation ------------------------------------------------------------------------


@pytest.fixture
def project(start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start, "version_of", lambda command: (3, 11, 7))
    monkeypatch.setattr(start, "torch_options", lambda python: [])
    return tmp_path


@pytest.fixture
def installs(start: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> list[str]:
    """What pip was asked to install, in order; nothing is installed."""
    asked: list[str] = []

    def pip(command: list[str], live: bool = False) -> tuple[int, str]:
        asked.append(command[-1])
        return 0, ""

    monkeypatch.setattr(start, "run_quietly", pip)
    return asked


def test_nothing_is_installed_twice(start: ModuleType, project: Path, installs: list[str]) -> None:
    venv = project / ".venv"
    start.install(venv, set())
    start.install(venv, set())
    assert installs == [str(project)]
    start.install(venv, {"test"})  # an extra more
    start.install(venv, set())  # an extra fewer is there already
    assert installs == [str(project), f"{project}[test]"]
    assert not list(venv.glob("*.new"))


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_is_a_reason_to_install_and_keeps_the_extras(
    start: ModuleType, project: Path, installs: list[str], name: str
) -> None:
    start.install(project / ".venv", {"test"})
    (project / name).write_text((project / name).read_text(encoding="utf-8") + "\n# changed\n")
    start.install(project / ".venv", set())
    assert installs == [f"{project}[test]"] * 2


def test_another_python_or_another_place_is_a_reason_to_install(
    start: ModuleType, project: Path, tmp_path: Path
) -> None:
    here = start.fingerprint(project, "3.11.7")
    assert here == start.fingerprint(project, "3.11.7")
    assert here != start.fingerprint(project, "3.12.1")
    other = tmp_path / "moved"
    other.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (other / name).write_bytes((project / name).read_bytes().replace(b"\n", b"\r\n"))
    assert here != start.fingerprint(other, "3.11.7")


def test_line_endings_alone_are_no_reason(start: ModuleType, project: Path) -> None:
    before = start.fingerprint(project, "3.11.7")
    text = (project / "pyproject.toml").read_bytes()
    (project / "pyproject.toml").write_bytes(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert start.fingerprint(project, "3.11.7") == before


def test_a_failed_installation_shows_pips_last_lines_and_is_tried_again(
    start: ModuleType,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    installs: list[str],
) -> None:
    venv = project / ".venv"
    start.install(venv, set())
    stamp = next(venv.glob("*.json"))
    assert json.loads(stamp.read_text())["extras"] == []
    monkeypatch.setattr(start, "run_quietly", lambda command, live=False: (1, "ERROR: no torch"))
    with pytest.raises(start.Stop, match="ERROR: no torch"):
        start.install(venv, {"test"})
    assert not stamp.exists(), "a half-done installation must not pass for a whole one"


@pytest.mark.parametrize(
    ("system", "machine", "version", "expected"),
    [
        ("linux", "x86_64", "2.36", True),
        ("linux", "aarch64", "2.35", True),
        ("linux", "x86_64", "2.34", False),
        ("linux", "riscv64", "2.39", False),
        ("linux", "x86_64", "", False),  # another C library
        ("darwin", "arm64", "14.2.1", True),
        ("darwin", "arm64", "13.6", False),
        ("darwin", "x86_64", "15.0", False),
        ("win32", "AMD64", "", False),
    ],
)
def test_mlx_is_asked_for_where_it_is_built(
    start: ModuleType, system: str, machine: str, version: str, expected: bool
) -> None:
    assert start.has_mlx(system, machine, version) is expected
    assert start.of_tests() in ({"test"}, {"test", "mlx"})


# --- what is run -----------------------------------------------------------------------------


@pytest.fixture
def became(start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Commands handed over to; nothing is made, installed or run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(start, "VENV", tmp_path)
    monkeypatch.setattr(start, "make_venv", lambda venv: None)
    monkeypatch.setattr(start, "install", lambda venv, extras: commands.append(sorted(extras)))

    def become(command: list[str]) -> None:
        commands.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(start, "become", become)
    return commands


def test_song_hands_its_words_on_to_generate(
    start: ModuleType, became: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        start.main(["song", "a tune", "--duration", "12"])
    python = str(start.venv_python(tmp_path))
    assert became == [[], [python, "-m", "headroom", "generate", "a tune", "--duration", "12"]]


def test_test_hands_its_words_on_to_pytest(
    start: ModuleType, became: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        start.main(["test", "-x"])
    python = str(start.venv_python(tmp_path))
    tests = [python, str(ROOT / "scripts" / "test"), "--all", "-x"]
    assert became == [sorted(start.of_tests()), tests]


@pytest.mark.parametrize("verb", ["ui", "4gb", "serve"])
def test_what_serves_has_the_page_installed_and_gets_its_words(
    start: ModuleType, became: list[list[str]], tmp_path: Path, verb: str
) -> None:
    with pytest.raises(SystemExit):
        start.main([verb, "--port", "9000"])
    python = str(start.venv_python(tmp_path))
    assert became == [["ui"], [python, "-m", "headroom", verb, "--port", "9000"]]


@pytest.mark.parametrize("words", [[], ["song"], ["sing", "x"]])
def test_other_words_are_wrong_usage(
    start: ModuleType,
    became: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    assert start.main(words) == 2
    assert "song" in capsys.readouterr().err
    assert became == []


def test_a_command_that_talks_much_is_drained_and_its_end_kept(start: ModuleType) -> None:
    code = "import sys; [print(n) for n in range(50000)]; sys.exit(3)"
    rc, tail = start.run_quietly([sys.executable, "-c", code])
    assert rc == 3
    assert tail.splitlines()[-1] == "49999" and len(tail.splitlines()) == 12


def test_a_command_that_is_not_there_is_a_failure_and_no_crash(start: ModuleType) -> None:
    code, words = start.run_quietly([str(ROOT / "no-such-program")])
    assert code == 1 and "no-such-program" in words
    assert start.version_of([str(ROOT / "no-such-program")]) is None
    assert start.answers([str(ROOT / "no-such-program")], "pass") is False


def test_the_exit_code_of_what_was_run_is_ours() -> None:
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('start', {str(ROOT / 'start.py')!r})\n"
        "start = importlib.util.module_from_spec(spec); spec.loader.exec_module(start)\n"
        "start.become([sys.executable, '-c', 'raise SystemExit(7)'])"
    )
    assert subprocess.call([sys.executable, "-c", code]) == 7
