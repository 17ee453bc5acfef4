from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import huggingface_hub.constants
import pytest

from headroom.cli import models
from headroom.errors import DownloadFailed, InvalidRequest, WeightsMissing
from headroom.models.acestep.catalogue import CATALOGUE
from headroom.models.acestep.family import FAMILY
from headroom.models.family import ModelFolders
from headroom.weights import sources
from unit.weights.folders import MODELS, cached, model_files, published, put
from unit.weights.hub import Hub, serving

TURBO = "acestep-v15-turbo"
MAIN = ("acestep-v15-turbo", "acestep-5Hz-lm-1.7B", "vae", "Qwen3-Embedding-0.6B")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no .env, no checkpoints, no bundled model."""
    for name in ("HEADROOM_CHECKPOINTS_DIR", "ACESTEP_CHECKPOINTS_DIR", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "cache"))
    own = replace(CATALOGUE, bundled=tmp_path / "nano")
    folders = replace(cast("ModelFolders", FAMILY.folders), catalogue=own)
    monkeypatch.setattr(models, "family_named", lambda _: replace(FAMILY, folders=folders))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub(published())) as served:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", served.url)
        monkeypatch.setattr(sources, "MODELSCOPE", served.url)
        yield served


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    return models.run(parser.parse_args(["models", *argv]))


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def rows(value: dict[str, object], name: str) -> dict[str, dict[str, object]]:
    table = value[name]
    assert isinstance(table, list)
    return {str(row.get("name") or row.get("model")): row for row in table}


def test_list_says_what_is_here_and_what_is_used(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("acestep-v15-nano", "vae", "Qwen3-Embedding-0.6B"):
        put(tmp_path / "nano", TURBO if name.endswith("nano") else name, name)
    (put(place, "acestep-v15-base") / "model.safetensors").write_bytes(b"torn")
    put(place, "acestep-v15-sft")
    assert run("list", "--json") == 0
    value = printed(capsys)
    table = rows(value, "models")
    assert set(table) == {*MODELS, "acestep-v15-nano"}
    assert value["best"] == "acestep-v15-nano"
    assert table["vae"]["state"] == table[TURBO]["state"] == "no"
    assert table["acestep-v15-nano"]["state"] == "bundled"
    assert table["acestep-v15-base"]["faults"] == [
        "model.safetensors: 4 bytes, too short to be a safetensors file"
    ]
    assert table["acestep-v15-sft"]["state"] == "lacking"
    assert run("list") == 0
    text = capsys.readouterr().out
    assert "used where none is named: acestep-v15-nano" in text and "too short" in text
    assert f"{place / 'acestep-v15-sft'}: cannot be used without vae and Qwen3" in text
    assert all(name in text for name in MODELS), "no name is cut off on a narrow terminal"


def test_a_dit_brings_its_company_once(
    hub: Hub, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("download", TURBO, "--json") == 0
    table = rows(printed(capsys), "downloaded")
    assert set(table) == {TURBO, "vae", "Qwen3-Embedding-0.6B"}
    assert table["vae"]["fetched"] == table["vae"]["bytes"]
    hub.requests.clear()
    assert run("download", "acestep-v15-base", "--json") == 0
    assert set(rows(printed(capsys), "downloaded")) == {"acestep-v15-base"}
    assert not hub.asked("vae") and not hub.asked("Qwen3")
    assert run("list", "--json") == 0
    value = printed(capsys)
    assert value["best"] == TURBO and rows(value, "models")["acestep-v15-base"]["ready"] is True


def test_what_is_whole_in_another_folder_is_not_fetched_into_this_one(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "shared"
    for name in MAIN:
        put(tmp_path / "checkpoints", name)
    monkeypatch.setenv("ACESTEP_CHECKPOINTS_DIR", str(shared))
    assert run("download", TURBO, "--json") == 0
    value = printed(capsys)
    assert value["downloaded"] == [] and not hub.requests
    assert value["notes"] == [f"{TURBO}: is already in {tmp_path / 'checkpoints' / TURBO}."]
    assert run("download", TURBO, "--checkpoint-dir", str(tmp_path / "mine"), "--json") == 0
    assert set(rows(printed(capsys), "downloaded")) == {TURBO}
    assert (tmp_path / "mine" / TURBO / "model.safetensors").is_file()


def test_people_read_words(hub: Hub, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.status["/revision/"] = [404]
    assert run("download", "vae") == 0
    seen = capsys.readouterr()
    assert seen.out == f"vae: 3 KiB from ModelScope; {place / 'vae'}\n"
    assert "Hugging Face does not deliver" in seen.err and "HTTP 404" in seen.err


def test_the_source_that_is_asked_for_is_the_only_one(hub: Hub) -> None:
    hub.status["/revision/"] = [404] * 9
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        run("download", "vae", "--source", "huggingface")
    assert run("download", "vae", "--source", "modelscope") == 0


def test_offline_is_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE"):
        run("download", "vae")
    assert not hub.requests


def test_offline_what_is_in_the_cache_of_huggingface_hub_is_enough(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in MAIN:
        cached(tmp_path / "hf", MODELS[name], model_files(name))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert run("download", "main", "--json") == 0
    value = printed(capsys)
    notes = value["notes"]
    assert value["downloaded"] == [] and isinstance(notes, list) and len(notes) == 4
    assert all("is already in" in note and "snapshots" in note for note in notes)
    assert run("list", "--json") == 0
    value = printed(capsys)
    assert value["best"] == TURBO and rows(value, "models")[TURBO]["ready"] is True
    assert run("verify", TURBO) == 0 and not hub.requests


def test_how_much_there_is_to_download(
    hub: Hub, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("download", "main", "--dry-run") == 0
    seen = capsys.readouterr()
    assert f"{TURBO}: 3 KiB in 3 files, 3 KiB to come from Hugging Face." in seen.err
    assert "in all 10 KiB, 10 KiB to come." in seen.err and seen.out == ""
    assert not place.exists() and not hub.asked("resolve")
    assert run("download", "vae") == 0
    capsys.readouterr()
    assert run("download", "vae", "--dry-run") == 0
    assert "vae: 3 KiB in 2 files, 0 KiB to come" in capsys.readouterr().err
    assert run("list") == 0
    assert "to download: `main` (ACE-Step/Ace-Step1.5) 9.37 GiB, --all" in capsys.readouterr().out


def test_a_download_that_fails_says_what_a_person_can_do(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:word@proxy.invalid:3128")
    hub.status["resolve"] = [403] * 9
    hub.status["FilePath"] = [404] * 9
    with pytest.raises(DownloadFailed) as error:
        run("download", TURBO)
    text = str(error.value)
    assert "Hugging Face: http" in text and "HTTP 403" in text and "ModelScope: http" in text
    assert "network:" in text and "proxy: " in text and "proxy.invalid:3128" in text
    assert "word" not in text and "HF_ENDPOINT" in text
    assert "by hand: put config.json, silence_latent.pt and all .safetensors and .json" in text
    assert f"folder {TURBO} into {place / TURBO}" in text
    assert f"/ACE-Step/Ace-Step1.5/tree/main or {hub.url}/models/ACE-Step/Ace-Step1.5/files" in text


def test_a_model_that_is_not_published_is_refused_and_listed_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InvalidRequest, match="'acestep-v15-turbo-rl' is not allowed"):
        run("download", "acestep-v15-turbo-rl")
    assert run("list", "--json") == 0
    table = rows(printed(capsys), "models")
    assert table["acestep-v15-turbo-rl"]["state"] == "unpublished"
    assert table["scragvae"]["repo"] == "scragnog/Ace-Step-1.5-ScragVAE"


@pytest.mark.parametrize("argv", [("download",), ("download", "turbo"), ("verify", "turbo")])
def test_a_wrong_name_is_refused(hub: Hub, argv: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match="acestep-v15-turbo") as error:
        run(*argv)
    assert error.value.exit_code == 2 and not hub.requests


def test_verify_passes_and_fails(hub: Hub, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", TURBO) == 0
    capsys.readouterr()
    assert run("verify") == 0
    assert "acestep-v15-turbo: whole, 3 KiB, 3 of 3 files held against their checksums" in (
        capsys.readouterr().out
    )
    (place / "vae" / "config.json").write_text("{}")
    assert run("verify", TURBO, "--json") == 0
    assert rows(printed(capsys), "verified")[TURBO]["whole"] is True
    assert run("verify") == 1
    text = capsys.readouterr().out
    assert "vae: damaged" in text and "config.json: 2 bytes instead of" in text
    assert "repair it with `acestep models download vae`" in text
    assert run("download", "vae") == 0 and run("verify", "vae") == 0
    with pytest.raises(WeightsMissing, match="acestep models download acestep-v15-sft"):
        run("verify", "acestep-v15-sft")


def test_all_of_them(hub: Hub, place: Path) -> None:
    assert run("download", "--all") == 0
    official = {name for name, model in MODELS.items() if model.repo.startswith("ACE-Step/")}
    assert {path.name for path in place.iterdir()} == official
    assert run("verify") == 0


def test_the_old_command(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = tmp_path / "old"
    assert models.download_main(["--list"]) == 0
    assert "acestep-v15-xl-turbo" in capsys.readouterr().out
    assert models.download_main(["-d", str(here), "-m", "acestep-v15-sft", "--skip-main"]) == 0
    assert {path.name for path in here.iterdir()} == {"acestep-v15-sft"}
    assert models.download_main(["-d", str(here), "-t", "hf_t"]) == 0
    assert {path.name for path in here.iterdir()} == {*MAIN, "acestep-v15-sft"}
    assert {token for path, _, token in hub.asked("resolve")[-3:]} == {"Bearer hf_t"}
    hub.requests.clear()
    assert models.download_main(["-d", str(here), "-m", "vae", "-f", "--skip-main"]) == 0
    assert len(hub.asked("cdn")) == len(model_files("vae"))
    capsys.readouterr()
    assert models.download_main(["-m", "nothing"]) == 2
    assert "NAME: 'nothing' is not allowed" in capsys.readouterr().err
    hub.status[""] = [404] * 99
    assert models.download_main(["-d", str(tmp_path / "none")]) == 1
    with pytest.raises(SystemExit) as error:
        models.download_main(["--nonsense"])
    assert error.value.code == 2
