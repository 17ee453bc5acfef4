"""The bundled checkpoint in the reference's own modules: whole, as scripted, well behaved."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import headroom
from support.near import ULP, ULPS, assert_near, distance
from support.networks import build_networks, build_text, build_vae, load_official
from support.oracle import Oracle, Tree
from support.ours import load_ours
from support.tiny import DitSizes, Sizes, TextSizes, VaeSizes

NANO = Path(headroom.__file__).parent / "models" / "acestep" / "nano"
DIT, VAE, TEXT = "acestep-v15-nano", "vae", "Qwen3-Embedding-0.6B"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make-nano"
TURBO_SHIFT_3 = (1.0, 0.954545, 0.9, 0.833333, 0.75, 0.642857, 0.5, 0.3, 0.0)


def config(folder: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((NANO / folder / "config.json").read_text("utf-8"))
    return read


S = TypeVar("S", DitSizes, VaeSizes, TextSizes)


def sizes(kind: type[S], folder: str) -> S:
    read = config(folder)
    names = [field.name for field in fields(kind) if field.name in read]
    return kind(**{n: tuple(read[n]) if isinstance(read[n], list) else read[n] for n in names})


def weights(folder: str) -> dict[str, torch.Tensor]:
    (file,) = (NANO / folder).glob("*.safetensors")
    return {name: value.float() for name, value in load_file(file).items()}


@pytest.fixture(scope="module")
def nano() -> Oracle:
    dit, vae, text = sizes(DitSizes, DIT), sizes(VaeSizes, VAE), sizes(TextSizes, TEXT)
    networks = build_networks(dit)
    parts = (networks.dit, networks.condition, networks.tokenizer, networks.detokenizer)
    codec, encoder = build_vae(vae), build_text(text)
    for part in (*parts, codec, encoder):
        part.eval().requires_grad_(False)
    load_official(networks, weights(DIT))
    codec.load_state_dict(weights(VAE))
    encoder.load_state_dict(weights(TEXT))
    silence = torch.load(NANO / DIT / "silence_latent.pt", weights_only=True)
    assert (silence.shape, silence.dtype) == ((1, 64, 750), torch.float32)
    return Oracle(Sizes(dit, vae, text, 750), networks, codec, encoder, silence.transpose(1, 2))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.ci
def test_the_script_makes_what_is_bundled(tmp_path: Path) -> None:
    whole = run("--check")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    # and it would say so if it did not
    copy = tmp_path / "nano"
    shutil.copytree(NANO, copy)
    file = copy / TEXT / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (copy / DIT / "config.json").unlink()
    torn = run("--check", "--into", str(copy))
    assert torn.returncode == 1
    assert torn.stdout.splitlines() == [
        f"{DIT}/config.json: missing",
        f"{TEXT}/model.safetensors: differs",
    ]


def test_it_is_small_and_turbo() -> None:
    assert sum(file.stat().st_size for file in NANO.rglob("*")) < 9e6
    read = config(DIT)
    assert (read["is_turbo"], read["model_version"]) == (True, "turbo")
    assert "encoder_hidden_size" not in read  # 2B rules
    vae = config(VAE)
    assert (vae["sampling_rate"], vae["decoder_input_channels"], vae["audio_channels"]) == (
        48_000, 64, 2,
    )  # fmt: skip


def test_a_song_is_audible_and_not_clipped(nano: Oracle) -> None:
    tokenizer = Tokenizer.from_file(str(NANO / TEXT / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode("# Caption\nslow bossa nova, nylon guitar").ids])
    lyrics = torch.tensor([tokenizer.encode("[Verse]\na line to sing").ids])
    rows = nano.condition([nano.text(ids)[0]], [nano.embed(lyrics)[0]], nano.silence, [0])[0]
    assert 0.5 < rows.std() < 2
    frames = 125
    x = torch.randn(1, frames, 64, generator=torch.Generator().manual_seed(7))
    context = torch.cat((nano.silence[:, :frames], torch.ones(1, frames, 64)), dim=-1)
    other = nano.dit(x, [0.5], context, rows.flip(1).unsqueeze(0))
    assert (nano.dit(x, [0.5], context, rows.unsqueeze(0)) - other).std() > 0.1  # it listens
    for t, after in pairwise(TURBO_SHIFT_3):
        x = x - (t - after) * nano.dit(x, [t], context, rows.unsqueeze(0))
    assert 0.7 < x.std() < 3
    audio = nano.decode(x.transpose(1, 2))
    assert audio.shape == (1, 2, 1920 * frames)
    assert 0.05 < audio.square().mean().sqrt() < 0.2
    assert audio.abs().max() < 1.5 and audio.mean().abs() < 0.005


def test_half_precision_stays_close(nano: Oracle) -> None:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(1, 60, 64, generator=generator)
    context = torch.randn(1, 60, 128, generator=generator)
    condition = torch.randn(1, 40, 64, generator=generator)
    # Bounds of bf16 and fp16 themselves, with room for any order of sums.
    exact = nano.dit(x, [0.5], context, condition)
    rounded = nano.dit(x, [0.5], context, condition, torch.bfloat16).float()
    assert (rounded - exact).norm() / exact.norm() < 4 * torch.finfo(torch.bfloat16).eps
    half = build_vae(nano.sizes.vae)
    half.load_state_dict(nano.vae.state_dict())
    with torch.no_grad():
        audio = half.half().decoder(x.transpose(1, 2).half()).float()
    assert (audio - nano.decode(x.transpose(1, 2))).abs().max() < 0.02


def test_sound_is_encoded_and_silence_is_the_silence_latent(nano: Oracle) -> None:
    audio = 0.1 * torch.randn(1, 2, 1920 * 12 + 7, generator=torch.Generator().manual_seed(9))
    mean, std = nano.encode(audio)
    assert mean.shape == (1, 64, 12) and 0.3 < mean.std() < 3 and 0.005 < std.mean() < 0.1
    silent, silence = nano.encode(torch.zeros(1, 2, 1920 * 12))[0], nano.silence[:, :12]
    assert distance(silent.transpose(1, 2), silence) <= ULPS * ULP * float(silence.abs().max())


def test_codes_use_every_level(nano: Oracle) -> None:
    latents = torch.randn(1, 2500, 64, generator=torch.Generator().manual_seed(10))
    quantised, codes = nano.tokenize(latents)
    for level in (8, 8, 8, 5, 5, 5):
        assert codes.remainder(level).unique().numel() == level
        codes = codes // level
    assert 0.3 < nano.detokenize(quantised).std() < 3


def test_the_product_reads_it_as_the_reference_does(nano: Oracle) -> None:
    ours = load_ours(Tree(NANO, DIT, nano.sizes, nano), torch.float32)
    assert ours.config.turbo and not ours.config.timbre_cls
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(1, 401, 64, generator=generator)
    context = torch.randn(1, 401, 128, generator=generator)
    rows = torch.randn(1, 30, 64, generator=generator)
    velocity = ours.velocity(x, [0.4], context, list(rows))
    assert_near(velocity, lambda: nano.dit(x, [0.4], context, rows))


def test_its_tokenizer_is_bytes_and_an_ending() -> None:
    tokenizer = Tokenizer.from_file(str(NANO / TEXT / "tokenizer.json"))
    assert tokenizer.encode("né").ids == [*"né".encode(), 256]
    assert tokenizer.encode("a<|endoftext|>").ids == [97, 256, 256]
    assert tokenizer.decode(tokenizer.encode("歌 \n\x00").ids) == "歌 \n\x00"
    assert tokenizer.get_vocab_size() <= config(TEXT)["vocab_size"]
    tokenizer.enable_truncation(5)
    assert tokenizer.encode("a long line").ids == [*b"a lo", 256]
