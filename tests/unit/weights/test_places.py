"""Which folder is meant, what is in it, and what huggingface_hub's cache holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from headroom import settings
from headroom.cli.model import check_model
from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.models.acestep.catalogue import BUNDLED as NANO
from headroom.models.acestep.catalogue import CATALOGUE, with_vae
from headroom.weights.catalog import checkpoint_dirs
from unit.weights.folders import MODELS, cached, installed, model_files, put

TURBO, SFT = "acestep-v15-turbo", "acestep-v15-sft"
COMPANY = ("vae", "Qwen3-Embedding-0.6B")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """huggingface_hub's cache with the main models and one of its own repository."""
    cache = tmp_path / "hub"
    for name in (TURBO, *COMPANY, SFT):
        cached(cache, MODELS[name], model_files(name))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    return cache


def plain(tmp_path: Path, **more: str) -> settings.Settings:
    return settings.load({"HEADROOM_CACHE_DIR": str(tmp_path / "own"), **more})


def test_what_is_whole_in_the_cache_is_used_from_there(hub_cache: Path, tmp_path: Path) -> None:
    items = {item.name: item for item in installed(checkpoint_dirs(plain(tmp_path)))}
    assert set(items) == {TURBO, SFT, *COMPANY} and all(item.ready for item in items.values())
    assert items[TURBO].folder.is_relative_to(hub_cache)
    assert (items[SFT].folder / "model.safetensors").is_symlink()
    assert dict(items[SFT].beside)["vae"] == items["vae"].folder
    put(tmp_path / "checkpoints", TURBO)
    found = installed(checkpoint_dirs(plain(tmp_path)))
    assert next(i for i in found if i.name == TURBO).folder == tmp_path / "checkpoints" / TURBO


def test_what_is_not_whole_in_the_cache_is_not_there(hub_cache: Path, tmp_path: Path) -> None:
    (item,) = (i for i in installed([hub_cache]) if i.name == SFT)
    (item.folder / "model.safetensors").resolve().unlink()
    assert SFT not in {i.name for i in installed([hub_cache])}


def test_the_snapshot_that_main_names_goes_first(hub_cache: Path, tmp_path: Path) -> None:
    other = cached(hub_cache, MODELS[SFT], model_files(SFT), commit="b" * 40)
    main = hub_cache / "models--ACE-Step--acestep-v15-sft" / "refs" / "main"
    (item,) = (i for i in installed([hub_cache]) if i.name == SFT)
    assert item.folder == other
    main.write_text("c0ffee" * 6 + "c0ff")
    (item,) = (i for i in installed([hub_cache]) if i.name == SFT)
    assert item.folder != other
    main.write_text("../../../..")
    assert any(i.name == SFT for i in installed([hub_cache]))


def refused(place: Path, tmp_path: Path) -> str:
    """What is said of a folder that was named, by the check and by the command line's."""
    with pytest.raises(InvalidCheckpoint) as error:
        CATALOGUE.check_place(place)
    assert str(place) in str(error.value) and error.value.exit_code == 2
    with pytest.raises(InvalidCheckpoint) as again:
        check_model(None, place, plain(tmp_path))
    assert str(again.value) == str(error.value)
    return str(error.value)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project" / "docs").mkdir(parents=True)
    place = tmp_path / "project" / "checkpoints"
    for name in (TURBO, *COMPANY):
        put(place, name)
    return place


def test_a_folder_too_high_or_too_low_names_the_one_that_is_meant(
    tree: Path, tmp_path: Path
) -> None:
    CATALOGUE.check_place(tree)
    assert f"the folder that was meant is {tree}" in refused(tree.parent, tmp_path)
    assert f"the folder that was meant is {tree}" in refused(tree / TURBO, tmp_path)
    assert f"the folder that was meant is {tree}" in refused(tree / "vae", tmp_path)


def test_an_empty_folder_a_file_and_none(tree: Path, tmp_path: Path) -> None:
    assert "it is empty" in refused(tree.parent / "docs", tmp_path)
    (tree.parent / "docs" / "notes").mkdir()
    assert "no folder in it is a model's" in refused(tree.parent / "docs", tmp_path)
    assert "is not there" in refused(tmp_path / "nowhere", tmp_path)
    assert "is a file" in refused(tree / TURBO / "config.json", tmp_path)


def test_a_folder_that_may_not_be_read_holds_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, iterdir = tree / TURBO, Path.iterdir

    def entries(path: Path) -> Iterator[Path]:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", entries)
    assert {item.name for item in installed([tree])} == set(COMPANY)


def test_the_cache_of_huggingface_hub_may_be_named_and_a_folder_in_it_names_it(
    hub_cache: Path, tmp_path: Path
) -> None:
    CATALOGUE.check_place(hub_cache)
    repo = hub_cache / "models--ACE-Step--acestep-v15-sft"
    for place in (repo, repo / "snapshots", *(repo / "snapshots").iterdir()):
        assert f"the folder that was meant is {hub_cache}" in refused(place, tmp_path)
    assert f"the folder that was meant is {hub_cache}" in refused(hub_cache.parent, tmp_path)


def test_the_bundled_model_never_stands_in_silently(tmp_path: Path) -> None:
    place = tmp_path / "models"
    put(place, "acestep-5Hz-lm-0.6B")
    bundled = CATALOGUE.best(installed([place], NANO))
    assert bundled is not None and bundled.bundled
    said = f"{place} holds no DiT that can be used: the bundled acestep-v15-nano makes the sound"
    named = plain(tmp_path, ACESTEP_CHECKPOINTS_DIR=str(place))
    assert CATALOGUE.check_named(place, plain(tmp_path), bundled) == said
    assert CATALOGUE.check_named(None, named, bundled) == said
    assert CATALOGUE.check_named(None, plain(tmp_path), bundled) is None
    shutil.rmtree(place / "acestep-5Hz-lm-0.6B")
    for folder, settings_ in ((place, plain(tmp_path)), (None, named)):
        with pytest.raises(InvalidCheckpoint, match="it is empty"):
            check_model(None, folder, settings_)
        check_model("acestep-v15-nano", folder, settings_)


def test_language_models_are_known_by_their_config(tmp_path: Path) -> None:
    big = {"model_type": "qwen3", "vocab_size": 217_204, "hidden_size": 1024}
    for name, config in (("planner", big), ("embedder", {**big, "vocab_size": 151_669})):
        folder = put(tmp_path, "acestep-5Hz-lm-0.6B", name)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8-sig")
    shutil.copytree(NANO / "acestep-5Hz-lm-nano", tmp_path / "small-planner")
    shutil.copytree(NANO / "Qwen3-Embedding-0.6B", tmp_path / "acestep-5Hz-lm-none")
    shutil.copytree(NANO / "vae", tmp_path / "my-vae")
    found = {item.name: item.kind.name for item in installed([tmp_path])}
    assert found == {"planner": "lm", "small-planner": "lm", "my-vae": "vae"}


def test_another_vae_by_name_or_by_folder(tmp_path: Path) -> None:
    for name in (TURBO, *COMPANY):
        put(tmp_path / "here", name)
    put(tmp_path / "here", "scragvae")
    other = put(tmp_path, "vae", "mine")
    items = installed([tmp_path / "here"])
    item = next(i for i in items if i.name == TURBO)

    def vae(wanted: str | None) -> Path:
        return dict(with_vae(item, items, wanted).beside)["vae"]

    assert vae(None) == vae("official") == tmp_path / "here" / "vae"
    assert vae("scragvae") == tmp_path / "here" / "scragvae"
    assert vae(str(other)) == other
    assert with_vae(replace(item, bundled=True), items, "scragvae").beside == item.beside
    with pytest.raises(WeightsMissing, match="allowed: official"):
        vae("nothing")
    (other / "config.json").unlink()
    with pytest.raises(InvalidCheckpoint, match=r"config\.json: missing"):
        vae(str(other))
    with pytest.raises(WeightsMissing, match="acestep models download scragvae"):
        with_vae(item, [i for i in items if i.name != "scragvae"], "scragvae")
