"""The published files become safetensors: every value where the networks want it, nothing run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.models.stepaudio import conversion
from headroom.models.stepaudio.layout import (
    CONVERTED,
    LINGUISTIC,
    PARAFORMER,
    SEMANTIC,
    SOUND,
    TOKENIZER,
    VOCODER,
    VOICE,
    Folders,
)
from headroom.models.stepaudio.networks.vocoder import Vocoder
from headroom.models.stepaudio.sizes import read_networks
from headroom.models.stepaudio.unopened import find_model
from headroom.settings import Settings
from headroom.weights.load import Checkpoint
from support import speech_checkpoint as made
from support.real_sizes import randomised


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_checkpoint(tmp_path_factory.mktemp("speech"))


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    file = Checkpoint.open(folder)
    return {name: file.tensor(name) for name in file.stored}


@pytest.mark.parametrize(
    ("part", "network", "near"),
    [
        (LINGUISTIC, made.linguistic(), 1e-6),
        (SEMANTIC, made.semantic(), 0),
        (VOICE, made.voice(), 1e-6),
        (VOCODER, randomised(Vocoder(made.VOCODER), 0, 0.1), 1e-6),
    ],
)
def test_every_tensor_arrives(
    part: str, network: torch.nn.Module, near: float, model: Path, tmp_path: Path
) -> None:
    ours = tensors_of(
        conversion.converted(part, Folders(model, model.parent / TOKENIZER), tmp_path)
    )
    state = network.state_dict()
    assert ours.keys() == state.keys()
    assert all(torch.allclose(ours[name], state[name], rtol=near, atol=near) for name in state)


def test_a_file_is_converted_once_until_it_changes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, calls = Folders(model, model.parent / TOKENIZER), list[Path]()
    convert = conversion.flow
    monkeypatch.setattr(
        conversion, "_CONVERSIONS", {"flow": lambda path: calls.append(path) or convert(path)}
    )
    for _ in range(2):
        conversion.converted("flow", folders, tmp_path)
    assert len(calls) == 1
    flow = model / SOUND / "flow.pt"
    whole = flow.read_bytes()
    flow.write_bytes(whole + b"\0")
    with pytest.raises(InvalidCheckpoint):
        flow.write_bytes(whole[:-9])
        conversion.converted("flow", folders, tmp_path)
    flow.write_bytes(whole)
    conversion.converted("flow", folders, tmp_path)
    assert len(calls) == 3


def test_the_vocoders_names_may_have_a_wrapper_and_the_older_spelling(tmp_path: Path) -> None:
    network = randomised(Vocoder(made.VOCODER), 3)
    stored = {
        name.replace(".parametrizations.weight.original0", ".weight_g").replace(
            ".parametrizations.weight.original1", ".weight_v"
        ): tensor
        for name, tensor in made.vocoder_file(network, "generator.").items()
    }
    torch.save(stored, tmp_path / "hift.pt")
    ours = conversion.vocoder(tmp_path / "hift.pt")
    assert ours.keys() == network.state_dict().keys()
    del stored["generator.conv_pre.weight_v"]
    torch.save(stored, tmp_path / "hift.pt")
    with pytest.raises(InvalidCheckpoint, match="conv_pre: half of a weight norm"):
        conversion.vocoder(tmp_path / "hift.pt")


def test_sizes_are_those_of_the_files(model: Path, tmp_path: Path) -> None:
    folders = Folders(model, model.parent / TOKENIZER)
    for part in CONVERTED:
        conversion.converted(part, folders, tmp_path)
    networks = read_networks(folders, tmp_path)
    assert networks.language == made.LANGUAGE
    assert (networks.linguistic, networks.semantic) == (made.LINGUISTIC, made.SEMANTIC)
    assert (networks.voice, networks.flow, networks.vocoder) == (
        made.VOICE,
        made.FLOW,
        made.VOCODER,
    )


def test_networks_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    model = made.write_checkpoint(tmp_path)
    np.save(model.parent / "Step-Audio-Tokenizer/linguistic_tokenizer.npy",
            np.zeros((9, 8), np.float32))  # fmt: skip
    folders = Folders(model, model.parent / TOKENIZER)
    for part in CONVERTED:
        conversion.converted(part, folders, tmp_path)
    with pytest.raises(InvalidCheckpoint, match="linguistic codes: 9, 1024 are needed"):
        read_networks(folders, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "<AddShift> [ 1 2 ]", "<AddShift> [ 1 ]\n<Rescale> [ 1 2 ]",
             "<AddShift> [ x ]\n<Rescale> [ 1 ]", "<AddShift> [ nan ]\n<Rescale> [ 1 ]"],
)  # fmt: skip
def test_statistics_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "am.mvn").write_text(text)
    with pytest.raises(InvalidCheckpoint, match=r"am\.mvn"):
        conversion.read_statistics(tmp_path / "am.mvn")


def test_trap_only_the_files_that_are_needed_are_looked_for(tmp_path: Path) -> None:
    """The published loader looks for `model.pb` where a file it does not need is missing."""
    model = made.write_checkpoint(tmp_path)
    folders = Folders(model, model.parent / TOKENIZER)
    settings = Settings(cache_dir=tmp_path)
    assert find_model(None, settings, tmp_path).ready
    assert not (folders.tokenizer / PARAFORMER / "configuration.json").exists()
    (folders.tokenizer / PARAFORMER / "model.pt").unlink()
    with pytest.raises(WeightsMissing, match="Step-Audio-Tokenizer is not beside it"):
        find_model(None, settings, tmp_path)
