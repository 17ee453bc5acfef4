"""The DiT's training program: its networks are headroom's, every weight learns, it goes on."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from dit import DIT, NANO, TEXT, Figures, Networks, Recipe, Sizes, Training, main
from headroom.models.acestep.networks.config import dit_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.weights.checkpoint import Checkpoint

TOY = Recipe.toy()
training = pytest.mark.long  # the first optimizer of a process makes torch load its compiler


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy run."""
    folder = tmp_path_factory.mktemp("toy")
    assert main(["--toy", "--out", str(folder)]) == 0
    return folder


@torch.no_grad()
def test_a_trained_network_says_what_the_product_says() -> None:
    torch.manual_seed(0)
    networks = Networks(TOY)
    for parameter in networks.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    config = dit_config(Sizes.of(TOY).dit)
    product, times = DiT(config), TimePath(config.dit.width)
    product.load_state_dict(networks.dit.state_dict())
    times.load_state_dict(networks.times.state_dict())
    noisy, silence, rows = torch.randn(2, 10, 64), torch.randn(1, 1, 64), torch.randn(7, TOY.width)
    layout = product.layout([10, 10])
    source = silence.expand(2, 10, -1)
    theirs = product(
        noisy,
        product.context(source, torch.ones_like(source), layout),
        product.modulation(*times([0.3, 0.8])).at(0, 1),
        product.condition(rows, (3, 4)),
        layout,
    )
    ours = networks.velocity(noisy, [0.3, 0.8], silence, (rows, (3, 4)))
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_every_weight_learns() -> None:
    """With both a dropped and a told song in the batch, and all outputs open."""
    torch.manual_seed(0)
    networks = Networks(TOY)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    silence = torch.randn(1, 1, 64)
    rows = networks.rows([[1, 2, 3], [4, 5]], [[6, 7], [8]], silence, [False, True])
    noisy = torch.randn(2, 10, 64)
    networks.velocity(noisy, [0.3, 0.8], silence, rows).square().mean().backward()
    still = {
        name
        for name, parameter in networks.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    # The time that is left to the end is 0 here: its first matrix meets sines of 0.
    assert not {name for name in still if not name.startswith("times.time_embed_r")}, still


@training
def test_a_toy_run_writes_its_curve_and_official_names(toy: Path) -> None:
    rows = (toy / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(row) for row in rows]
    assert [point["step"] for point in points] == [0, 2, 4]
    shown = {"step", "cpu_seconds", "loss", *(field.name for field in fields(Figures))}
    assert all(set(point) == shown for point in points)
    for name in (DIT, TEXT):
        ours, bundled = (Checkpoint.open(folder / name).stored for folder in (toy, NANO))
        assert set(ours) <= set(bundled)
        left = {key for key in set(bundled) - set(ours) if ".layers." not in f".{key}"}
        # the special token is in the files of this family and read by none of their networks
        left.discard("encoder.timbre_encoder.special_token")
        assert all(key.startswith(("tokenizer.", "detokenizer.")) for key in left), left


@training
def test_a_run_that_was_interrupted_comes_to_the_same_weights(toy: Path, tmp_path: Path) -> None:
    halted = Training(TOY, tmp_path)
    halted.advance()
    halted.save()
    resumed = Training(TOY, tmp_path)
    resumed.run()
    through = torch.load(toy / "state.pt", weights_only=True)
    assert resumed.step == through["step"] == TOY.steps
    for name, tensor in resumed.averaged.state_dict().items():
        assert torch.equal(tensor, through["averaged"][name]), name
