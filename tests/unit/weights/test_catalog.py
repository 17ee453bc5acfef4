from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from headroom import settings
from headroom.models.acestep.catalogue import CATALOGUE, DIT_KIND
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.weights.catalog import checkpoint_dirs
from unit.weights.folders import MODELS, installed, put

COMPANY = ("vae", "Qwen3-Embedding-0.6B")


def test_every_variant_can_be_fetched_and_every_model_is_listed_once() -> None:
    dits = {name for name, model in MODELS.items() if model.kind == DIT_KIND}
    assert dits == set(VARIANTS) - {"acestep-v15-nano"}
    assert len([m for m in MODELS.values() if m.repo == "ACE-Step/Ace-Step1.5"]) == 4
    for name, model in MODELS.items():
        assert model.inside == (name if model.repo.endswith("Ace-Step1.5") else "")
        assert all(other in MODELS for other in model.kind.beside)


def test_folders_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    plain = settings.load({"HEADROOM_CACHE_DIR": str(cache)})
    hub = Path(constants.HF_HUB_CACHE)
    assert checkpoint_dirs(plain) == (cache / "checkpoints", tmp_path / "checkpoints", hub)
    said = settings.load(
        {"HEADROOM_CACHE_DIR": str(cache), "ACESTEP_CHECKPOINTS_DIR": str(tmp_path / "shared")}
    )
    folders = ("here", "shared", "checkpoints", "cache/checkpoints")
    assert checkpoint_dirs(said, Path("here")) == (*(tmp_path / name for name in folders), hub)


def test_whole_models_are_found_in_every_layout(tmp_path: Path) -> None:
    for name in ("acestep-v15-turbo", "acestep-v15-xl-base", "acestep-5Hz-lm-0.6B", *COMPANY):
        put(tmp_path, name)
    put(tmp_path, "acestep-v15-base", "my-tuned-model")
    (tmp_path / "notes").mkdir()
    (tmp_path / "acestep-v15-sft").mkdir()
    items = {item.name: item for item in installed([tmp_path, tmp_path / "absent"])}
    assert len(items) == 6 and all(item.ready for item in items.values())
    assert items["my-tuned-model"].kind == DIT_KIND
    assert dict(items["my-tuned-model"].beside) == {name: tmp_path / name for name in COMPANY}
    assert items["acestep-v15-xl-base"].nbytes > 2 * 640 * 4


@pytest.mark.parametrize(
    ("name", "file", "keep", "fault"),
    [
        ("acestep-v15-turbo", "model.safetensors", 900, "cut off, 900 of 2634 bytes"),
        ("acestep-v15-turbo", "model.safetensors", None, "no weights"),
        ("acestep-v15-turbo", "config.json", None, "config.json: missing"),
        ("acestep-v15-turbo", "silence_latent.pt", None, "silence_latent.pt: missing"),
        ("acestep-5Hz-lm-1.7B", "tokenizer.json", None, "tokenizer.json: missing"),
        ("acestep-v15-xl-sft", "model-00002-of-00002.safetensors", None, "00002.safetensors: miss"),
        ("acestep-v15-xl-sft", "model-00001-of-00002.safetensors", 5, "5 bytes, too short"),
        ("acestep-v15-xl-sft", "model.safetensors.index.json", 9, "not JSON"),
    ],
)
def test_what_is_torn_is_incomplete(
    tmp_path: Path, name: str, file: str, keep: int | None, fault: str
) -> None:
    path = put(tmp_path, name) / file
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    (item,) = installed([tmp_path])
    assert not item.whole and not item.ready
    assert len(item.faults) == 1 and fault in item.faults[0]


def test_a_model_is_ready_with_its_company_beside_it_or_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, "acestep-v15-turbo")
    (alone,) = installed([here])
    assert alone.whole and not alone.ready and alone.lacks == COMPANY
    assert CATALOGUE.best([alone]) is None
    for name in COMPANY:
        put(there, name)
    turbo = next(item for item in installed([here, there]) if item.kind == DIT_KIND)
    assert turbo.ready and dict(turbo.beside)["vae"] == there / "vae"
    put(here, "vae")
    turbo = next(item for item in installed([there, here]) if item.kind == DIT_KIND)
    assert dict(turbo.beside)["vae"] == here / "vae", "its neighbour goes before others"


def test_the_bundled_model_serves_nobody_else_and_is_the_last_choice(tmp_path: Path) -> None:
    bundle, mine = tmp_path / "nano", tmp_path / "mine"
    put(bundle, "acestep-v15-turbo", "acestep-v15-nano")
    for name in COMPANY:
        put(bundle, name)
    put(mine, "acestep-v15-base")
    items = installed([mine], bundle)
    assert [item.name for item in items if item.kind == DIT_KIND and item.ready] == [
        "acestep-v15-nano"
    ]
    chosen = CATALOGUE.best(items)
    assert chosen is not None and chosen.bundled
    for name in COMPANY:
        put(mine, name)
    chosen = CATALOGUE.best(installed([mine], bundle))
    assert chosen is not None and chosen.name == "acestep-v15-base"


def test_the_best_is_turbo_then_the_order_of_the_catalog(tmp_path: Path) -> None:
    for name in COMPANY:
        put(tmp_path, name)
    order = ["acestep-v15-turbo", "acestep-v15-xl-turbo", "acestep-v15-sft", "acestep-v15-base"]
    for name in [*order, "zz-unknown"]:
        put(tmp_path, name if name in MODELS else "acestep-v15-base", name)
    items = installed([tmp_path])
    for name in [*order, "zz-unknown"]:
        chosen = CATALOGUE.best(items)
        assert chosen is not None and chosen.name == name
        items = [replace(i, faults=("torn",)) if i.name == name else i for i in items]
    assert CATALOGUE.best(items) is None


def test_of_two_the_whole_one_counts(tmp_path: Path) -> None:
    torn, whole = put(tmp_path / "a", "vae"), put(tmp_path / "b", "vae")
    (torn / "config.json").unlink()
    (item,) = installed([tmp_path / "a", tmp_path / "b"])
    assert item.folder == whole and item.whole


def test_no_torch_is_needed() -> None:
    names = "headroom.weights.catalog, headroom.weights.fetch, headroom.cli.models"
    code = f"import sys, {names}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_folder_with_a_name_that_none_can_have_holds_nothing() -> None:
    names = ("a\0b", "x" * 5000, "\udcff")
    assert installed([Path(name) for name in names]) == []
