"""The bundled checkpoint in the reference's own modules: whole, and well behaved."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import headroom
from latents import Analysis
from listening import signal_to_distortion_db
from music.captions import prompts
from music.piece import arrange
from music.render import Stereo, render
from songs import known
from support.near import assert_near
from support.networks import build_networks, build_text, build_vae, load_official
from support.oracle import Oracle, Tree
from support.ours import load_ours
from support.tiny import DitSizes, Sizes, TextSizes, VaeSizes

NANO = Path(headroom.__file__).parent / "models" / "acestep" / "nano"
DIT, VAE, TEXT = "acestep-v15-nano", "vae", "Qwen3-Embedding-0.6B"
TURBO_SHIFT_3 = (1.0, 0.954545, 0.9, 0.833333, 0.75, 0.642857, 0.5, 0.3, 0.0)
UNSEEN, FRAMES = 940_000_001, 50  # a song of the generator that was never trained on
MOST_MEGABYTES = 40
MOST_FLAT = 0.01  # 0.001 here, 0.03 with random weights


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


def flatness(sound: torch.Tensor) -> float:
    """Of a sound [n], from 100 Hz to 8 kHz: geometric over arithmetic mean of the power, the median
    over windows of 2,048 samples; 0.56 for white noise, far less for tones."""
    window = torch.hann_window(2048)
    shown = torch.stft(sound, 2048, 512, window=window, return_complex=True).abs().square()[4:342]
    shown = shown[:, shown.sum(0) > 1e-6 * shown.sum(0).max()] + 1e-12
    return float((shown.log().mean(0).exp() / shown.mean(0)).median())


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
    assert silence.shape == (1, 64, 15_000)
    quiet = silence.float().transpose(1, 2)
    return Oracle(Sizes(dit, vae, text, 750), networks, codec, encoder, quiet)


@pytest.fixture(scope="module")
def sound() -> Stereo:
    """Two seconds of the generator."""
    mix: Stereo = render(arrange(known(UNSEEN, FRAMES), UNSEEN)).mix
    return mix


@pytest.fixture(scope="module")
def latents(nano: Oracle, sound: Stereo) -> torch.Tensor:
    """The same as the encoder hears it, [1, 64, FRAMES]."""
    mean, _ = nano.encode(torch.from_numpy(sound)[None])
    return mean


def test_it_is_small_and_turbo() -> None:
    packed = [len(zlib.compress(f.read_bytes(), 1)) for f in NANO.rglob("*") if f.is_file()]
    assert sum(packed) < MOST_MEGABYTES * 1e6
    read = config(DIT)
    assert (read["is_turbo"], read["model_version"]) == (True, "turbo")
    assert "encoder_hidden_size" not in read  # 2B rules
    vae = config(VAE)
    assert (vae["sampling_rate"], vae["decoder_input_channels"], vae["audio_channels"]) == (
        48_000, 64, 2,
    )  # fmt: skip


@pytest.mark.long
def test_a_song_is_audible_and_not_clipped(nano: Oracle) -> None:
    tokenizer = Tokenizer.from_file(str(NANO / TEXT / "tokenizer.json"))
    told = prompts(known(UNSEEN, 75), UNSEEN)
    ids = torch.tensor([tokenizer.encode(told.caption).ids])
    lyrics = torch.tensor([tokenizer.encode(told.lyrics).ids])
    rows = nano.condition([nano.text(ids)[0]], [nano.embed(lyrics)[0]], nano.silence, [0])[0]
    frames = 75
    x = torch.randn(1, frames, 64, generator=torch.Generator().manual_seed(7))
    context = torch.cat((nano.silence[:, :frames], torch.ones(1, frames, 64)), dim=-1)
    for t, after in pairwise(TURBO_SHIFT_3):
        x = x - (t - after) * nano.dit(x, [t], context, rows.unsqueeze(0))
    assert 0.7 < x.std() < 1.3  # a song's latents have a deviation of 1
    audio = nano.decode(x.transpose(1, 2))
    assert audio.shape == (1, 2, 1920 * frames)
    assert 0.05 < audio.square().mean().sqrt() < 0.2
    assert audio.abs().max() < 1.5 and audio.mean().abs() < 0.005
    assert flatness(audio[0].mean(0)) < MOST_FLAT


def test_words_and_what_is_heard_tell_the_rest_of_a_song(nano: Oracle) -> None:
    """The velocity of a song of which half is noise: an untrained network misses it by 2."""
    tokenizer = Tokenizer.from_file(str(NANO / TEXT / "tokenizer.json"))
    told, frames = prompts(known(UNSEEN, 150), UNSEEN), 150
    ids, lyrics = (torch.tensor([tokenizer.encode(t).ids]) for t in (told.caption, told.lyrics))
    rows = nano.condition([nano.text(ids)[0]], [nano.embed(lyrics)[0]], nano.silence, [0])[0]
    sound = render(arrange(known(UNSEEN, frames), UNSEEN)).mix
    clean = torch.from_numpy(Analysis.usual().latents(sound)).T[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(7))
    context = torch.cat((nano.silence[:, :frames], torch.ones(1, frames, 64)), dim=-1)
    made = nano.dit((noise + clean) / 2, [0.5], context, rows.unsqueeze(0))
    assert (made - (noise - clean)).square().mean() < 0.8


@pytest.mark.long
def test_half_precision_stays_close(nano: Oracle, latents: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(1, 60, 64, generator=generator)
    context = torch.randn(1, 60, 128, generator=generator)
    condition = torch.randn(1, 40, nano.sizes.dit.hidden_size, generator=generator)
    # Bounds of bf16 and fp16 themselves, with room for any order of sums.
    exact = nano.dit(x, [0.5], context, condition)
    rounded = nano.dit(x, [0.5], context, condition, torch.bfloat16).float()
    assert (rounded - exact).norm() / exact.norm() < 4 * torch.finfo(torch.bfloat16).eps
    half = build_vae(nano.sizes.vae)
    half.load_state_dict(nano.vae.state_dict())
    with torch.no_grad():
        audio = half.half().decoder(latents.half()).float()
    assert (audio - nano.decode(latents)).abs().max() < 0.02


@pytest.mark.long
def test_sound_comes_back(nano: Oracle, sound: Stereo, latents: torch.Tensor) -> None:
    assert latents.shape == (1, 64, FRAMES) and 0.7 < latents.std() < 1.5
    assert signal_to_distortion_db(sound, nano.decode(latents)[0].numpy()) > 6


def test_songs_have_codes_of_their_own(nano: Oracle) -> None:
    analysis = Analysis.usual()
    songs = [
        torch.from_numpy(analysis.latents(render(arrange(known(seed, 100), seed)).mix)).T
        for seed in range(UNSEEN, UNSEEN + 4)
    ]
    quantised, codes = nano.tokenize(torch.stack(songs))
    assert codes.max() < prod(nano.sizes.dit.fsq_input_levels) and codes.unique().numel() > 20
    assert all(len(set(codes[0].tolist()) & set(other.tolist())) < 10 for other in codes[1:])
    assert 0.3 < nano.detokenize(quantised).std() < 3


def test_the_product_reads_it_as_the_reference_does(nano: Oracle) -> None:
    ours = load_ours(Tree(NANO, DIT, nano.sizes, nano), torch.float32)
    assert ours.config.turbo and not ours.config.timbre_cls
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(1, 401, 64, generator=generator)
    context = torch.randn(1, 401, 128, generator=generator)
    rows = torch.randn(1, 30, nano.sizes.dit.hidden_size, generator=generator)
    velocity = ours.velocity(x, [0.4], context, list(rows))
    assert_near(velocity, lambda: nano.dit(x, [0.4], context, rows))


def test_its_tokenizer_knows_numbers_and_an_ending() -> None:
    tokenizer = Tokenizer.from_file(str(NANO / TEXT / "tokenizer.json"))
    (end,) = tokenizer.encode("").ids
    assert tokenizer.id_to_token(end) == "<|endoftext|>"
    assert tokenizer.encode("a<|endoftext|>").ids == [97, end, end]
    assert tokenizer.decode(tokenizer.encode("歌 né \n\x00").ids) == "歌 né \n\x00"
    assert tokenizer.get_vocab_size() <= config(TEXT)["vocab_size"]
    assert tokenizer.encode("- bpm: 128").tokens[-2:] == ["128", "<|endoftext|>"]
    tokenizer.enable_truncation(3)
    assert tokenizer.encode("0123456789 is long").ids[-1] == end
