"""The VAE's encoder: it starts near the computed latents; what is written is what was trained."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import oobleck_encoder
from encoder import Figures, Recipe, Training, main
from headroom.nn.oobleck import Encoder as Product
from headroom.nn.oobleck import FoldedKeys
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.weights.checkpoint import Checkpoint
from latents import HOP, LATENT, WAVE, Analysis
from music.piece import compose
from music.render import render
from oobleck import nano_config
from oobleck_encoder import Encoder, official, start_from_analysis

TOY = Recipe.toy()
training = pytest.mark.long  # the first optimizer of a process makes torch load its compiler


def loaded(config: OobleckConfig, tensors: dict[str, torch.Tensor]) -> Product:
    """The product's encoder with these tensors of a file."""
    encoder, keys = Product(config), FoldedKeys("encoder.")
    for name, parameter in encoder.named_parameters():
        parameter.data = keys.build(name, *(tensors[key] for key in keys.needs(name)))
    return encoder


@torch.no_grad()
def test_a_narrow_network_at_the_official_width_is_what_the_product_computes() -> None:
    torch.manual_seed(0)
    narrow = Encoder(3).double()
    for parameter in narrow.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    config = nano_config(16)
    wide = official(narrow.state_dict(), config.encoder_width)
    product = loaded(config, {f"encoder.{name}": value.double() for name, value in wide.items()})
    sound = torch.randn(1, 2, 2 * HOP, dtype=torch.float64)
    mean, deviation = product(sound)
    assert mean.shape == (1, LATENT, 2)
    assert (mean - narrow(sound)).abs().max() < 1e-5 * mean.abs().max()
    assert deviation.max() < 2e-4


@pytest.mark.ci
@training
@torch.no_grad()
def test_an_encoder_that_starts_from_the_analysis_hears_the_wave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oobleck_encoder, "FITTED_SONGS", 8)
    monkeypatch.setattr(oobleck_encoder, "FITTED_SECONDS", 4.0)
    analysis = Analysis.survey(3, 3.0)
    encoder = Encoder(24)
    start_from_analysis(encoder, analysis, 1)
    sound = render(compose(77, 3.0)).mix
    real, made = analysis.latents(sound), encoder(torch.from_numpy(sound)[None])[0].numpy()
    wrong = np.square(made - real)[:WAVE].mean() / np.square(real)[:WAVE].mean()
    assert wrong < 0.05


@training
def test_a_toy_run_writes_its_curve_and_a_folder_that_the_product_reads(tmp_path: Path) -> None:
    assert main(["--toy", "--out", str(tmp_path)]) == 0
    lines = (tmp_path / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines]
    assert [point["step"] for point in points] == [0, 2, 4]
    shown = {"step", "cpu_seconds", "loss", *(field.name for field in fields(Figures))}
    assert all(set(point) == shown for point in points)
    checkpoint = Checkpoint.open(tmp_path / "vae")
    tensors = {key: checkpoint.read(key).float() for key in checkpoint.stored}
    product = loaded(OobleckConfig.read(tmp_path / "vae"), tensors)
    assert product(torch.randn(1, 2, 2 * HOP))[0].isfinite().all()


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


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    encoder = Encoder(3)
    encoder(torch.randn(1, 2, 3 * HOP)).square().mean().backward()
    still = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
