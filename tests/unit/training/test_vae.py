"""The VAE's training program: its decoder is headroom's, it starts near, it can be interrupted."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headroom.nn.oobleck import Decoder as Product
from headroom.nn.oobleck import FoldedKeys
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.weights.checkpoint import Checkpoint
from latents import HOP, LATENT, Analysis, middle
from listening import signal_to_distortion_db
from music.piece import compose
from music.render import render
from oobleck import Decoder, nano_config, start_from_inverse
from vae import UNSEEN_FIRST, Figures, Recipe, Training, main

TOY = Recipe.toy()
training = pytest.mark.long  # the first optimizer of a process makes torch load its compiler


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Analysis.survey(3, 3.0)


def loaded(config: OobleckConfig, tensors: dict[str, torch.Tensor]) -> Product:
    """The product's decoder with these tensors of a file."""
    decoder, keys = Product(config), FoldedKeys("decoder.")
    for name, parameter in decoder.named_parameters():
        parameter.data = keys.build(name, *(tensors[key] for key in keys.needs(name)))
    return decoder


@torch.no_grad()
def test_the_trained_network_is_the_one_that_the_product_computes() -> None:
    torch.manual_seed(0)
    config = nano_config(2)
    trained = Decoder(config).double()
    for parameter in trained.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    product = loaded(config, {f"decoder.{k}": v for k, v in trained.state_dict().items()})
    latents = torch.randn(1, LATENT, 5, dtype=torch.float64)
    ours, theirs = trained(latents), product(latents)
    assert ours.shape == (1, 2, 5 * HOP)
    assert (ours - theirs).abs().max() < 1e-9 * theirs.abs().max()


@torch.no_grad()
def test_a_decoder_that_starts_from_the_inverse_computes_it(analysis: Analysis) -> None:
    latents = analysis.latents(render(compose(77, 1.0)).mix)
    linear = analysis.linear(latents)[HOP:-HOP]
    decoder = Decoder(nano_config(16))
    start_from_inverse(decoder, analysis, 1)
    made = middle(decoder(torch.from_numpy(latents)[None])[0].numpy())[HOP:-HOP]
    assert np.square(made - linear).sum() < 0.01 * np.square(linear).sum()


def test_latents_are_of_even_size_and_their_inverse_keeps_most(analysis: Analysis) -> None:
    sound = render(compose(500_000_001, 3.0)).mix  # of the survey
    latents = analysis.latents(sound)
    assert latents.shape == (LATENT, 75)
    assert 0.2 < latents.std() < 3
    real = middle(sound)[HOP:-HOP]
    error = analysis.linear(latents)[HOP:-HOP] - real
    assert 10 * np.log10(np.square(real).sum() / np.square(error).sum()) > 5


@training
def test_a_toy_run_writes_its_curve_and_a_folder_that_the_product_reads(tmp_path: Path) -> None:
    assert main(["--toy", "--out", str(tmp_path)]) == 0
    rows = (tmp_path / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(row) for row in rows]
    assert [point["step"] for point in points] == [0, 2, 4]
    shown = {"step", "cpu_seconds", "loss", *(field.name for field in fields(Figures))}
    assert all(set(point) == shown for point in points)
    assert points[0]["loss"] is None and points[-1]["loss"] is not None
    config = OobleckConfig.read(tmp_path / "vae")
    checkpoint = Checkpoint.open(tmp_path / "vae")
    decoder = loaded(config, {key: checkpoint.read(key).float() for key in checkpoint.stored})
    assert decoder(torch.zeros(1, LATENT, 2)).isfinite().all()


@training
def test_a_run_that_was_interrupted_comes_to_the_same_weights(tmp_path: Path) -> None:
    through = Training(TOY, tmp_path / "through")
    through.run()
    halted = Training(TOY, tmp_path / "halted")
    halted.out.mkdir()
    halted.advance()
    halted.save()
    resumed = Training(TOY, tmp_path / "halted")
    resumed.run()
    assert resumed.step == through.step == TOY.steps
    for name, tensor in through.averaged.state_dict().items():
        assert torch.equal(tensor, resumed.averaged.state_dict()[name]), name
    assert not torch.equal(
        through.decoder.conv2.weight_v, Training(TOY, tmp_path / "new").decoder.conv2.weight_v
    )


@training
def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    one = Training(TOY, tmp_path)
    one.save()
    with pytest.raises(ValueError, match="another recipe"):
        Training(replace(TOY, seed=2), tmp_path).resume()


@torch.no_grad()
def test_the_decoder_that_is_kept_understands_the_latents_that_are_made_now() -> None:
    """Another survey of the songs turns the latents: then it is 0.5 dB."""
    root = Path(__file__).resolve().parents[3]
    state = torch.load(root / "training" / "checkpoints" / "vae" / "state.pt", weights_only=True)
    decoder = Decoder(nano_config(Recipe().width))
    decoder.load_state_dict(state["averaged"])
    assert state["recipe"] == asdict(Recipe())
    sound = render(compose(UNSEEN_FIRST, 2.0)).mix
    latents = Analysis.usual().latents(sound)
    made = decoder(torch.from_numpy(latents)[None])[0].numpy()
    assert signal_to_distortion_db(sound, made) > 5
