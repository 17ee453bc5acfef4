"""The files of the player, as they are served and as a wheel carries them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from headroom.ui.player import files
from support.web import Service

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "src/headroom/ui/player"
VENDORED = sorted(one.name for one in FOLDER.glob("wavesurfer-*"))
OWN = sorted(one for one in FOLDER.glob("*.js") if one.name not in VENDORED)


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Mount("/any/where", files())])
    return TestClient(app, base_url="http://127.0.0.1")


def test_each_file_has_its_type_and_nothing_else_is_served(client: TestClient) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
    for file in FOLDER.iterdir():
        answer = client.get(f"/any/where/{file.name}")
        if file.suffix not in kinds:
            assert answer.status_code == 404
            continue
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == f"{kinds[file.suffix]}; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("", "__init__.py", "../__init__.py", "%2e%2e/__init__.py", "x.js", "player.js/"):
        assert client.get(f"/any/where/{name}").status_code == 404
    assert client.post("/any/where/player.js").status_code == 405
    assert client.head("/any/where/player.js").status_code == 200


def test_the_page_has_it_for_those_who_may_use_the_service(service: Service) -> None:
    answer = service.client.get("/ui/player/player.js")
    assert answer.content == (FOLDER / "player.js").read_bytes()
    assert service.client_at("10.0.0.9").get("/ui/player/player.js").status_code == 401


def test_what_is_not_ours_has_its_version_and_licence_beside_it() -> None:
    assert VENDORED == [
        "wavesurfer-8.0.1-regions.esm.js", "wavesurfer-8.0.1.LICENSE.txt",
        "wavesurfer-8.0.1.esm.js",
    ]  # fmt: skip
    assert "BSD 3-Clause" in (FOLDER / "wavesurfer-8.0.1.LICENSE.txt").read_text("utf-8")
    notice = (ROOT / "LICENSE-THIRD-PARTY.md").read_text("utf-8")
    assert "wavesurfer.js 8.0.1" in notice and "BSD-3-Clause" in notice


def test_modules_name_only_files_that_are_there() -> None:
    for file in OWN:
        for name in re.findall(r'from "\./([^"]+)"', file.read_text("utf-8")):
            assert (FOLDER / name).is_file(), f"{file.name}: {name}"


def test_no_text_becomes_markup_or_code() -> None:
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", r"document\.write", r"\beval\(",
            "new Function", "setHTML", "DOMParser")  # fmt: skip
    bad = re.compile("|".join(ways))
    for file in OWN:
        assert not bad.search(file.read_text("utf-8")), file.name


def test_the_labels_in_use_are_those_that_are_asked_for() -> None:
    text = "".join(file.read_text("utf-8") for file in OWN)
    needed = re.search(r"NEEDED = \[(.*?)\]", text, re.DOTALL)
    assert needed
    asked = set(re.findall(r'"(\w+)"', needed[1]))
    used = set(re.findall(r'label\("(\w+)"', text)) | {
        "play", "pause", "zoomIn", "zoomOut", "regionStart", "regionEnd"
    }  # fmt: skip
    assert used == asked


@pytest.mark.long
def test_a_wheel_carries_all_of_it(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {f"headroom/ui/player/{one.name}" for one in FOLDER.iterdir() if one.is_file()}
    assert inside <= names
    assert any(name.endswith("licenses/LICENSE-THIRD-PARTY.md") for name in names)
