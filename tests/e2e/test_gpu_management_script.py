"""`start_with_gpu_management.sh` in a terminal, with and without Docker, and the Docker files.

Docker and `nvidia-smi` are programs of the test's own, which write down how they were called.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import yaml

from support.live import live
from support.ports import free_port

if sys.platform != "win32":
    from support.typed_session import CTRL_C, Typed, typed

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "start_with_gpu_management.sh"
CARDS = "1234, GPU-small\n40960, GPU-large\n999, GPU-third\n"  # MiB free, and the UUID
NAMES = ("ACESTEP_", "HEADROOM_", "GPU_", "CUDA_", "MAX_", "PORT", "IMAGE", "RUN_WITH",
         "CONTAINER_NAME", "PYTHON")  # fmt: skip
posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell and terminals of POSIX")


@dataclass
class Place:
    """A folder with programs that are found first, and the settings of the script."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[list[str]]:
        """How `docker` was called, without the questions."""
        file = self.folder / "docker.calls"
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
        calls = [shlex.split(line) for line in lines]
        return [call for call in calls if call[0] in ("run", "build", "rm")]

    def program(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        file.chmod(0o755)

    def docker(
        self, image: bool = True, container: bool = False, running: bool = True, ours: bool = True
    ) -> None:
        """A Docker, in which the image and a container of the name may be there already."""
        log = shlex.quote(str(self.folder / "docker.calls"))
        self.program("docker", f"""
            printf '%q ' "$@" >> {log}; echo >> {log}
            case "$1 ${{2:-}}" in
                "image inspect") exit {0 if image else 1} ;;
                "container inspect")
                    case "$*" in
                        *Labels*) echo {str(ours).lower()} ;;
                        *State*) echo {str(running).lower()} ;;
                        *) exit {0 if container else 1} ;;
                    esac ;;
                "logs "*) echo "headroom serves"; echo "key for this service: abc" ;;
            esac""")  # fmt: skip

    def start(self, *words: str, script: Path | None = None) -> AbstractContextManager[Typed]:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(NAMES)}
        environ = {
            **inherited,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "examples"))),
            "HEADROOM_DATA_DIR": str(self.folder / "data"),
            "HEADROOM_CACHE_DIR": str(self.folder / "cache"),
            "MODELS_DIR": str(self.folder / "models"),
            **self.settings,
        }
        return typed(["bash", str(script or ROOT / SCRIPT), *words], environ, self.folder)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "Área de trabalho – 음악"
    (folder / "models").mkdir(parents=True)
    made = Place(folder, {"PORT": str(free_port()), "API_PORT": str(free_port())})
    made.program("nvidia-smi", "exit 9")
    return made


@pytest.fixture
def answering(place: Place) -> Iterator[None]:
    """Something that answers as the service in a container would, once the image was run."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health/live" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    ended = threading.Event()

    def serve() -> None:
        while not any(call[0] == "run" for call in place.calls):
            if ended.wait(0.05):
                return
        server = ThreadingHTTPServer(("127.0.0.1", int(place.settings["API_PORT"])), Handler)
        server.timeout = 0.1
        while not ended.is_set():
            server.handle_request()
        server.server_close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    ended.set()
    thread.join()


# --- in Python -----------------------------------------------------------------------------------


@posix
@pytest.mark.slow
def test_without_docker_it_serves_on_the_freest_card_until_ctrl_c(place: Place) -> None:
    place.settings.update(RUN_WITH="python", GPU_IDLE_TIMEOUT="120")
    place.program("nvidia-smi", f"printf '{CARDS}'")
    with place.start("--device", "cpu") as session:
        session.wait_for("back:  Ctrl-C")
        session.wait_for("GPU 管理已启用")
        assert f"page:  http://127.0.0.1:{place.settings['PORT']}" in session.shown
        assert "card:  GPU-large; idle models leave after 120 s" in session.shown
        children = session.children()
        serving = next(one for one in children if "serve" in one.cmdline())
        assert serving.environ()["CUDA_VISIBLE_DEVICES"] == "GPU-large"
        assert serving.environ()["HEADROOM_CHECKPOINTS_DIR"] == str(place.folder / "models")
        session.type(CTRL_C)
        assert session.end() == 0, session.shown
        assert psutil.wait_procs(children, timeout=60)[1] == []


@posix
@pytest.mark.slow
def test_a_service_that_ends_before_it_answers_is_reported(place: Place) -> None:
    place.settings.update(RUN_WITH="python")
    with place.start("--device", "abacus") as session:
        assert session.end() == 1
    assert "device: 'abacus' is not allowed" in session.shown
    assert "has ended before it answered" in session.shown


@posix
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "PORT: 'http' is not a whole number"),
        ("GPU_IDLE_TIMEOUT", "0", "GPU_IDLE_TIMEOUT: '0' is not"),
        ("RUN_WITH", "podman", "RUN_WITH: 'podman' is none of auto"),
        ("PROJECT_DIR", "/dev", "PROJECT_DIR: /dev is no checkout of headroom"),
    ],
)
def test_a_setting_that_is_wrong_is_named(place: Place, name: str, value: str, said: str) -> None:
    place.settings.update({"RUN_WITH": "python", name: value})
    with place.start() as session:
        assert session.end() == 1
    assert f"error: {said}" in session.shown and session.shown.count("error") == 1


@posix
@pytest.mark.parametrize("name", ["PORT", "API_PORT"])
@pytest.mark.parametrize("way", ["python", "docker"])
def test_an_occupied_port_is_named_and_nothing_starts(place: Place, name: str, way: str) -> None:
    place.docker()
    place.settings.update(RUN_WITH=way)
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(place.settings[name])))
        other.listen()
        with place.start() as session:
            assert session.end() == 1
    assert f"{name}: port {place.settings[name]} is in use; {name}=NUMBER" in session.shown
    assert place.calls == [] and not (place.folder / "data").exists()


@posix
def test_docker_that_does_not_run_is_no_reason_to_fail_unless_it_is_asked_for(place: Place) -> None:
    place.program("docker", "exit 1")
    place.settings.update(RUN_WITH="docker")
    with place.start() as session:
        assert session.end() == 1
    assert "docker does not run here; RUN_WITH=python needs none" in session.shown


# --- in a container ------------------------------------------------------------------------------


@posix
def test_with_docker_the_container_gets_the_card_the_models_and_the_timeout(
    place: Place, answering: None
) -> None:
    place.docker(container=True)
    place.program("nvidia-smi", f"printf '{CARDS}'")
    place.settings.update(HEADROOM_SERVICE_KEY="k" * 20)
    with place.start("--lm-model", "none") as session:
        assert session.end() == 0, session.shown
    removed, run = place.calls
    assert removed == ["rm", "-f", "step-audio-gpu-managed"]
    words = " ".join(run)
    assert run[run.index("--name") + 1] == "step-audio-gpu-managed"
    assert run[run.index("--gpus") + 1] == '"device=GPU-large"'
    assert f"{place.folder / 'models'}:/models:ro" in run
    assert f"-p 127.0.0.1:{place.settings['PORT']}:7860" in words
    assert f"-p 127.0.0.1:{place.settings['API_PORT']}:8001" in words
    assert "headroom:cuda serve --ui --host 0.0.0.0 --enable-gpu-management" in words
    assert words.endswith("--gpu-idle-timeout 600 --lm-model none")
    assert "-e HEADROOM_SERVICE_KEY " in words and "k" * 20 not in words
    for line in ("page:", "key for this service", "back:  docker stop step-audio-gpu-managed"):
        assert line in session.shown


@posix
def test_without_a_card_the_image_for_the_processor_is_built(place: Place, answering: None) -> None:
    place.docker(image=False)
    place.settings.update(CONTAINER_NAME="mine", MODELS_DIR=str(place.folder / "none"))
    with place.start() as session:
        assert session.end() == 0, session.shown
    build, run = place.calls
    assert build[-3:] == ["-t", "headroom:cpu", str(ROOT)]
    assert any(word.startswith("TORCH_INDEX=") and word.endswith("/cpu") for word in build)
    assert "--gpus" not in run and "headroom:cpu" in run and "headroom-models:/models" in run
    assert run[run.index("--name") + 1] == "mine"
    assert "none, the processor computes" in session.shown


@posix
def test_a_container_of_somebody_else_is_not_removed(place: Place) -> None:
    place.docker(container=True, ours=False)
    place.settings.update(CONTAINER_NAME="database")
    with place.start() as session:
        assert session.end() == 1
    assert "CONTAINER_NAME: database was not started by this script" in session.shown
    assert place.calls == []


@posix
def test_a_container_that_dies_at_once_is_reported(place: Place) -> None:
    place.docker(running=False)
    with place.start() as session:
        assert session.end() == 1
    assert "has ended before it answered" in session.shown


# --- the Docker files ----------------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def instruction(name: str) -> list[str]:
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(f"{name} ")]


def test_the_linter_finds_nothing() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed; .ci/run brings it")
    command = ["hadolint", ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_is_not_run_as_root_and_keeps_models_in_a_volume() -> None:
    assert instruction("USER") == ["10001"]
    after = DOCKERFILE[DOCKERFILE.index("\nUSER ") :]
    assert "\nRUN " not in after and "\nCOPY " not in after
    assert instruction("VOLUME") == ['["/models", "/data"]']
    assert "HEADROOM_CHECKPOINTS_DIR=/models" in instruction("ENV")[0]


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [word for line in instruction("COPY") for word in line.split()[:-1]]
    assert "src" in copied and "*" in ignored
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in copied if f"!{name}" not in ignored] == []


def test_the_services_of_compose_are_one_for_each_kind_of_machine() -> None:
    assert set(COMPOSE["services"]) == {"cuda", "cpu"}
    for name, service in COMPOSE["services"].items():
        assert service["profiles"] == [name] and service["image"] == f"headroom:{name}"
        assert {"models:/models", "data:/data"} == set(service["volumes"])
        assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in service["ports"])
        assert "--enable-gpu-management" in service["command"]
        assert service["cap_drop"] == ["ALL"] and "user" not in service


@pytest.mark.parametrize("alive", [True, False])
def test_the_health_check_says_whether_the_service_answers(tmp_path: Path, alive: bool) -> None:
    (line,) = instruction("HEALTHCHECK")
    words = yaml.safe_load(line[line.index("[") :])
    assert words[0] == "python"

    def check(port: int) -> int:
        code = words[2].replace(":8001/", f":{port}/")
        assert code != words[2]
        command = [sys.executable, words[1], code]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if not alive:
        assert check(free_port()) != 0
        return
    with live(tmp_path) as service:
        assert check(service.port) == 0


def lines_that_serve() -> list[list[str]]:
    """The flags with which the image is started, by the Dockerfile, compose and the script."""
    script = (ROOT / SCRIPT).read_text("utf-8").replace("\\\n", " ")
    found = [shlex.split(line) for line in script.splitlines() if " --ui --host" in line]
    flags = [words[words.index("--ui") : words.index("$@")] for words in found]
    compose = [service["command"][1:] for service in COMPOSE["services"].values()]
    return [yaml.safe_load(instruction("CMD")[0])[1:], *compose, *flags]


@pytest.mark.parametrize("words", lines_that_serve(), ids=" ".join)
def test_the_flags_are_those_of_the_program(words: list[str]) -> None:
    from headroom.cli.serve import parser

    values: dict[str, Callable[[], str]] = {"PORT": lambda: "1", "TIMEOUT": lambda: "600"}
    filled = [next((v() for n, v in values.items() if n in word), word) for word in words]
    assert parser().parse_args(filled).ui is True
