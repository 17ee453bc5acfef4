"""The DiT's training program: its networks are headroom's, every weight learns, it goes on."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dit import Figures, Recipe, Training, main
from headroom.models.acestep.networks.codes import CodesNetwork, hints
from headroom.models.acestep.networks.config import dit_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.weights.checkpoint import Checkpoint
from headroom.weights.silence import load_silence
from loop import LEAST_RATE
from networks import DIT, NANO, TEXT, Networks, Sizes, heard
from songs import CHANGES, known
from wishes import Shares

TOY = Recipe.toy()
VOCABULARY = 304
training = pytest.mark.long  # the first optimizer of a process makes torch load its compiler


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy run."""
    folder = tmp_path_factory.mktemp("toy")
    assert main(["--toy", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def networks() -> Networks:
    """Small ones without a weight that is 0 or 1."""
    torch.manual_seed(0)
    made = Networks(TOY.shape, VOCABULARY)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


@torch.no_grad()
def test_a_trained_network_says_what_the_product_says(networks: Networks) -> None:
    config = dit_config(Sizes.of(TOY.shape, VOCABULARY).dit)
    product, times = DiT(config), TimePath(config.dit.width)
    product.load_state_dict(networks.dit.state_dict())
    times.load_state_dict(networks.times.state_dict())
    noisy, source, mask = torch.randn(3, 2, 10, 64)
    rows = torch.randn(7, TOY.shape.width)
    layout = product.layout([10, 10])
    theirs = product(
        noisy,
        product.context(source, mask, layout),
        product.modulation(*times([0.3, 0.8])).at(0, 1),
        product.condition(rows, (3, 4)),
        layout,
    )
    ours = networks.velocity(noisy, [0.3, 0.8], source, mask, (rows, (3, 4)))
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


@torch.no_grad()
def test_hints_are_those_that_the_product_makes_of_its_codes(networks: Networks) -> None:
    product = CodesNetwork(dit_config(Sizes.of(TOY.shape, VOCABULARY).dit))
    product.load_state_dict(networks.codes.state_dict())
    latents, silence = torch.randn(2, 50, 64), torch.randn(1, 10, 64)
    index = product.tokenizer(latents, silence)
    assert index.shape == (2, 10) and len(index.unique()) > 10
    theirs = hints(index, product.tokenizer.quantizer, product.detokenizer, 50, silence)
    assert (networks.hints(latents) - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_every_weight_learns(networks: Networks) -> None:
    """With a song under the null condition, one that is told and one from its own codes."""
    clean, timbre = torch.randn(3, 10, 64), torch.randn(2, 4, 64)
    captions, lyrics = [[1, 2, 3], [4, 5], [6]], [[6, 7], [8], [8]]
    rows = networks.rows(captions, lyrics, timbre, [0, 0, 1], [False, True, False])
    assert rows[1] == (2 + 1 + 3, 1, 1 + 1 + 1)
    source = torch.cat([torch.randn(2, 10, 64), networks.hints(clean[2:])])
    mask = torch.ones_like(source)
    made = networks.velocity(clean, [0.3, 0.8, 0.5], source, mask, rows)
    (
        made.square().mean()
        + networks.pulses(3).square().mean()
        + networks.periods(3).square().mean()
    ).backward()
    still = {
        name
        for name, parameter in networks.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    # The time that is left to the end is 0 here: its first matrix meets sines of 0.
    assert not {name for name in still if not name.startswith("times.time_embed_r")}, still


def test_what_hints_should_say_is_loudness_without_phase() -> None:
    wave = torch.randn(1, 10, 64)
    turned = wave.clone()
    turned[..., :48] *= -1
    said = heard(wave, 5)
    assert said.shape == wave.shape and torch.equal(said, heard(turned, 5))
    assert torch.equal(said[..., 48:], wave[..., 48:])
    assert torch.equal(said[0, 0, :48], said[0, 4, :48])
    assert torch.allclose(said[0, 5, 0].exp(), wave[0, 5:, 0].square().mean().sqrt(), rtol=0.05)


@training
def test_a_toy_run_writes_its_curve_and_official_folders(toy: Path) -> None:
    lines = (toy / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines]
    assert [point["step"] for point in points] == [0, 2, 4]
    shown = {"step", "cpu_seconds", "loss", *(field.name for field in fields(Figures))}
    assert all(set(point) == shown for point in points)
    for name in (DIT, TEXT):
        ours, bundled = (Checkpoint.open(folder / name).stored for folder in (toy, NANO))
        assert set(ours) <= set(bundled)
        left = {key for key in set(bundled) - set(ours) if ".layers." not in f".{key}"}
        # the special token is in the files of this family and read by none of their networks
        assert left <= {"encoder.timbre_encoder.special_token"}
    assert load_silence(toy / DIT).shape == (1, 15_000, 64)
    config = json.loads((toy / TEXT / "config.json").read_text(encoding="utf-8"))
    tokens = PromptTokenizer.open(toy / TEXT, config["vocab_size"])
    assert len(tokens.caption("a slow tune on piano")) < 20


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


@training
def test_training_begins_from_a_milestone(toy: Path, tmp_path: Path) -> None:
    file = tmp_path / "milestone.pt"
    assert main(["--toy", "--out", str(toy), "--milestone", str(file)]) == 0
    before = Training(TOY, toy)
    before.resume()
    again = Training(TOY, tmp_path / "again")
    again.begin_from(file)
    assert again.step == before.step == TOY.steps and again.spent == before.spent
    for name, tensor in before.averaged.state_dict().items():
        kept = tensor.bfloat16().float()
        assert torch.equal(again.trained.state_dict()[name], kept)
        assert torch.equal(again.averaged.state_dict()[name], kept)
    assert file.stat().st_size < (toy / "state.pt").stat().st_size / 4


@training
def test_a_teacher_is_heard_under_guidance_and_codes_can_be_fixed(
    toy: Path, tmp_path: Path
) -> None:
    file = tmp_path / "milestone.pt"
    assert main(["--toy", "--out", str(toy), "--milestone", str(file)]) == 0
    recipe = replace(TOY, guidance=3.0, fixed_codes=True, shares=Shares(0, 1, 0, 0))
    taught = Training(recipe, tmp_path / "taught", teacher=file)
    taught.begin_from(file)
    batch = taught.batch(np.random.default_rng(0))
    noisy, times = torch.randn_like(batch.clean), [0.7] * len(batch.clean)
    free = replace(batch, wishes=[replace(wish, null=True) for wish in batch.wishes])
    with torch.no_grad():
        told, untold = (taught.velocity(taught.trained, b, noisy, times)[0] for b in (batch, free))
    assert (told - untold).abs().max() > 1e-3
    wanted = untold + 3 * (told - untold)
    assert torch.allclose(taught.guided(batch, noisy, times), wanted, atol=1e-4)
    before = {name: tensor.clone() for name, tensor in taught.trained.state_dict().items()}
    taught.step = 0
    taught.advance()
    after = taught.trained.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("codes.tokenizer")} <= same
    for learning in ("dit.", "codes.detokenizer"):
        assert any(name.startswith(learning) for name in before if name not in same), learning


@training
def test_the_rate_is_highest_until_the_last_quarter(toy: Path, tmp_path: Path) -> None:
    it = Training(replace(TOY, steps=100), tmp_path)
    rates = []
    for it.step in (0, 50, 75, 88, 99):
        rates.append(it.rate() / TOY.rate)
    assert rates[:3] == [1, 1, 1] and 0.4 < rates[3] < 0.6 and rates[4] == LEAST_RATE


@training
def test_a_changed_word_is_seen_only_where_the_text_counts(toy: Path) -> None:
    it = Training(TOY, toy)
    it.resume()
    same = it.errors("text2music", change=lambda facts: facts)
    assert torch.equal(same, it.errors("text2music", change=lambda facts: facts))
    assert not torch.equal(same, it.errors("text2music", change=CHANGES["drums"]))
    for name, change in CHANGES.items():
        for seed in range(20):
            told = known(seed, 100)
            differing = [
                f.name
                for f in fields(told)
                if getattr(told, f.name) != getattr(change(told), f.name)
            ]
            assert differing == [{"tempo": "bpm", "key": "tonic"}.get(name, name)]
            assert 60 <= change(told).bpm <= 180
