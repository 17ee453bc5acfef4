"""The parts that are trained, put together with those that are not, are a model that plays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dit
import encoder
import language
import vae
from bundle import WISH, Parts, differences, main, render, sizes, write
from headroom.errors import InvalidCheckpoint
from headroom.weights.checkpoint import Checkpoint
from headroom.weights.silence import FILE, load_silence
from networks import DIT, LM, NANO, TEXT

NAMES = {DIT, LM, TEXT, "vae"}


def same(one: Path, other: Path) -> bool:
    return all(file.read_bytes() == (other / file.name).read_bytes() for file in one.iterdir())


def test_without_anything_trained_it_is_the_bundled_model(tmp_path: Path) -> None:
    write(Parts(), tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == NAMES
    assert all(same(NANO / name, tmp_path / name) for name in NAMES)
    found = sizes(tmp_path)
    whole = sum(file.stat().st_size for file in (NANO / "vae").iterdir()) / 1e6
    assert found["vae"][0] == pytest.approx(whole) and 0 < found["vae"][1] < whole


@pytest.mark.ci
@pytest.mark.long  # the text encoder's tokenizer is learnt again
def test_the_bundled_model_is_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    said = main(["--check"])
    assert (said, capsys.readouterr().out) == (0, "nano: as it is made here\n")


def test_what_differs_from_the_bundled_model_is_named(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for place in (whole, torn):
        shutil.copytree(NANO / LM, place / LM)
        (place / DIT).mkdir()
        torch.save(torch.zeros(3), place / DIT / FILE)
    assert differences(whole, torn) == []
    file = torn / LM / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (torn / LM / "config.json").unlink()
    (torn / LM / "more.json").write_text("{}", encoding="utf-8")
    torch.save(torch.ones(3), torn / DIT / FILE)
    assert differences(torn, whole) == [
        f"{LM}/config.json: missing", f"{LM}/model.safetensors: differs",
        f"{LM}/more.json: not made here", f"{DIT}/{FILE}: differs",
    ]  # fmt: skip


def test_an_encoder_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without a decoder"):
        write(Parts(encoder=tmp_path), tmp_path / "out")


@pytest.mark.ci
@pytest.mark.long  # four trainings, and a song
def test_toys_put_together_are_opened_and_sing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in (dit, vae, encoder):
        name = program.__name__
        assert program.main(["--toy", "--out", str(tmp_path / name)]) == 0
    monkeypatch.setitem(WISH, "inference_steps", 1)
    heard = ["--dit", str(tmp_path / "dit"), "--out", str(tmp_path / "language")]
    assert language.main(["--toy", *heard]) == 0
    given = [f"--{name}={tmp_path / name}" for name in ("dit", "vae", "encoder", "language")]
    capsys.readouterr()
    assert main(["--out", str(tmp_path / "out"), *given]) == 0
    assert "10 s of song" in capsys.readouterr().out
    out = tmp_path / "out"
    assert set(Checkpoint.open(out / DIT).stored) == {
        *Checkpoint.open(tmp_path / "dit" / DIT).stored, "encoder.timbre_encoder.special_token",
    }  # fmt: skip
    trained = load_file(tmp_path / "vae" / "vae" / "diffusion_pytorch_model.safetensors")
    joined = load_file(out / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(joined[name], value) for name, value in trained.items())
    assert same(tmp_path / "language" / LM, out / LM) and not same(out / TEXT, NANO / TEXT)
    assert load_silence(out / DIT).shape[1] == 15_000


@pytest.mark.long
def test_a_folder_that_headroom_cannot_open_is_a_fault(tmp_path: Path) -> None:
    write(Parts(), tmp_path)
    config = tmp_path / DIT / "config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(told | {"num_hidden_layers": 9}), encoding="utf-8")
    with pytest.raises(InvalidCheckpoint, match="layers"):
        render(tmp_path, None)
