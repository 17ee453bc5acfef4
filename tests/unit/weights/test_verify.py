from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headroom.models.acestep.catalogue import DIT_KIND, VAE_KIND
from headroom.weights.manifest import NAME, read_manifest
from headroom.weights.names import is_file_name, same_file
from headroom.weights.verify import verify
from unit.weights.downloads import TURBO, assert_whole, download, hugging_face
from unit.weights.folders import MODELS, cached, model_files, put
from unit.weights.hub import Hub

SUM = "a" * 64


def manifest(folder: Path, *rows: object, **more: object) -> None:
    value = {"source": "s", "repo": "r", "revision": "v", "files": list(rows), **more}
    (folder / NAME).write_text(json.dumps(value))


@pytest.mark.parametrize(
    "row",
    [
        {"file": "../../../etc/passwd", "size": 1, "sha256": SUM},
        {"file": "/etc/passwd", "size": 1, "sha256": SUM},
        {"file": "C:\\x", "size": 1, "sha256": SUM},
        {"file": "", "size": 1, "sha256": SUM},
        {"file": ".", "size": 1, "sha256": SUM},
        {"file": "a\0b", "size": 1, "sha256": SUM},
        {"file": "config.json", "size": "1", "sha256": SUM},
        {"file": "config.json", "size": -1, "sha256": SUM},
        {"file": "config.json", "size": 10**400, "sha256": SUM},
        {"file": "config.json", "size": 1, "sha256": "x"},
        {"file": ["config.json"], "size": 1, "sha256": SUM},
        {"file": "config.json"},
        "config.json",
        None,
    ],
)
def test_a_manifest_that_names_anything_else_is_a_fault_and_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: object
) -> None:
    folder = put(tmp_path, TURBO)
    manifest(folder, row)
    opened: list[str] = []
    open_ = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: (opened.append(str(path)), open_(path, *a, **k))[1]
    )
    found = verify(folder, DIT_KIND)
    assert len(found.faults) == 1 and found.faults[0].startswith(f"{NAME}: says")
    assert found.hashed == 0 and all(os.path.dirname(path) == str(folder) for path in opened)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "{}", "[]", "\ufeff{", '{"files": 3}', "1" * 5000]
)
def test_a_manifest_that_is_none_is_a_fault(tmp_path: Path, text: str) -> None:
    folder = put(tmp_path, TURBO)
    (folder / NAME).write_text(text, encoding="utf-8")
    (fault,) = verify(folder, DIT_KIND).faults
    assert fault.startswith(f"{NAME}: is not")


def test_a_damaged_manifest_is_written_anew(hub: Hub, tmp_path: Path) -> None:
    folder = put(tmp_path, TURBO)
    manifest(folder, {"file": "../x", "size": 1, "sha256": SUM})
    (result,) = download([TURBO], tmp_path, [hugging_face(hub)])
    assert result.fetched == 0
    found = read_manifest(folder)
    assert found is not None and "../x" not in found.files
    assert verify(folder, DIT_KIND).hashed == 3


def test_what_the_cache_of_huggingface_hub_links_to_is_verified(tmp_path: Path) -> None:
    folder = cached(tmp_path, MODELS["vae"], model_files("vae")) / "vae"
    assert verify(folder, VAE_KIND).faults == ()
    (folder / "config.json").resolve().unlink()
    assert verify(folder, VAE_KIND).faults == ("config.json: missing",)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "a b.json",
        "model-00001-of-00002.safetensors",
        "音.json",
        "con-fig.json",
    ],
)
def test_names_that_a_file_may_have(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".x", "a/b", "a\\b", "a:b", "a.", "a ", "a\n", "a\x7f", "\u202ea", "a*", "a?",
     "NUL", "nul.json", "Con .json", "COM1.x", "lpt³.json", "~x", "x" * 201, "\ud800"],
)  # fmt: skip
def test_names_that_no_file_may_have(name: str) -> None:
    assert not is_file_name(name)


def test_names_that_some_system_takes_for_one() -> None:
    assert same_file(["a.json", "b.json"]) is None
    assert same_file(["a.json", "b", "A.JSON"]) == ("a.json", "A.JSON")
    assert same_file(["é", "e\u0301"]) == ("é", "e\u0301")


def test_the_folder_after_a_download_is_whole(hub: Hub, tmp_path: Path) -> None:
    download(["vae"], tmp_path, [hugging_face(hub)])
    assert_whole(tmp_path / "vae", "vae")
