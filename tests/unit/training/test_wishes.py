"""What a song is learnt from is what the product makes it from: words, timbre, source and mask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dit import drawn_times
from headroom.audio.wave import Audio
from headroom.models.acestep.networks.config import HOP
from headroom.models.acestep.rendering.conditions import encode_conditions
from headroom.models.acestep.rendering.source_latents import Sounds, assemble
from headroom.models.acestep.requests.songs import request_from
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Region
from headroom.models.acestep.text.prompts import PromptTokenizer, caption_prompt, lyric_prompt
from latents import Analysis
from music.piece import BEAT_GRID, RATE, arrange, frequency
from music.render import render
from networks import LM, NANO, TEXT, Networks, Shape
from silence import DEPTH, periods, silence
from songs import Amounts, Songs, known
from wishes import INSTRUCTIONS, Shares, Task, Wish, draw_wishes, references, source_and_mask
from words import BYTES, NUMBERS, number_embeddings, prompt_tokenizer, rows

FRAMES = 150
FRAMES_READ = 400
TURBO = VARIANTS["acestep-v15-turbo"]
WISHES = tuple(Wish(task, (30, 75), False, None) for task in INSTRUCTIONS)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    sound = torch.full((2, FRAMES * HOP), 0.1)
    return Audio(sound, 48_000).save(tmp_path / "it.wav", "wav32")


@pytest.mark.parametrize("marked", [False, True])
def test_source_and_mask_are_those_that_the_product_assembles(
    recording: Path, marked: bool
) -> None:
    quiet, clean, hints = torch.randn(200, 64), torch.randn(3, FRAMES, 64), torch.randn(FRAMES, 64)
    requests = (
        {"task": "text2music", "duration": FRAMES / 25},
        {
            "task": "repaint",
            "source_audio": recording,
            "start": 30 / 25,
            "end": 75 / 25,
            "chunk_mask_mode": "explicit" if marked else "auto",
        },
        {"task": "cover", "source_audio": recording},
    )
    songs = [compose(request_from(r), TURBO, [1]).songs[0] for r in requests]
    assert [song.instruction for song in songs] == list(INSTRUCTIONS.values())
    assert songs[1].region is not None
    assert (songs[1].region.start, songs[1].region.stop) == WISHES[1].region
    latents = [None, clean[1], clean[2]]
    theirs = assemble(songs, Sounds({}, {}), latents, {2: hints}, ((),) * 3, quiet[None])
    wishes = [replace(wish, marked=marked) for wish in WISHES]
    source, mask = source_and_mask(wishes, clean, [hints], quiet)
    assert torch.equal(source, theirs.channels) and torch.equal(mask, theirs.mask)
    assert set(mask[1].unique().tolist()) == ({0.0, 1.0} if marked else {2.0})
    moved = replace(songs[1], region=Region(31, 75, 31 * HOP, 75 * HOP))
    other = assemble([moved], Sounds({}, {}), [clean[1]], {}, ((),), quiet[None])
    assert not torch.equal(source[1], other.channels[0])


@torch.no_grad()
def test_condition_rows_are_those_that_the_product_encodes(tmp_path: Path) -> None:
    """Silence of 30 s as the product reads it, and as short as it is learnt."""
    torch.manual_seed(0)
    spelling = json.loads((NANO / TEXT / "tokenizer.json").read_text(encoding="utf-8"))
    networks = Networks(Shape(32, 2, 32, 1), rows(spelling))
    for parameter in networks.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    tokens = PromptTokenizer.open(NANO / TEXT)
    quiet = torch.randn(750, 64)
    said = ({"caption": "a slow waltz", "bpm": 90}, {"caption": "x", "lyrics": "la la"})
    songs = [
        compose(request_from({"task": "text2music", "duration": 8, **fields}), TURBO, [1]).songs[0]
        for fields in said
    ]
    like = torch.randn(750, 64)
    theirs = encode_conditions(
        songs, ((), (like,)), quiet, networks.text, networks.conditioner, tokens,
        torch.device("cpu"),
    )  # fmt: skip
    captions = [tokens.caption(caption_prompt(s.instruction, s.caption, s.metas)) for s in songs]
    lyrics = [tokens.lyrics(lyric_prompt(s.language, s.lyrics)) for s in songs]
    reach = networks.timbre_reach
    timbre = torch.stack([quiet[:reach], like[:reach]])
    ours, lengths = networks.rows(captions, lyrics, timbre, [0, 1], [False, False])
    assert lengths == theirs.first[1]
    apart = (ours - theirs.first[0]).abs().max()
    assert apart < 1e-4 * theirs.first[0].abs().max()
    shorter, _ = networks.rows(captions, lyrics, timbre[:, 1:], [0, 1], [False, False])
    assert (shorter - ours).abs().max() > 10 * apart  # the frames do count
    null, one = networks.rows(captions, lyrics, timbre, [0, 1], [True, False])
    assert one == (1, lengths[1])
    assert torch.equal(null[0], networks.conditioner.null_condition_emb.view(-1))


def test_wishes_come_as_often_as_asked_with_regions_inside_the_song() -> None:
    shares = Shares(0.3, 0.2, 0.1, 0.4)
    wishes = draw_wishes(np.random.default_rng(1), 2000, 50, 20, shares)
    again = draw_wishes(np.random.default_rng(1), 2000, 50, 20, shares)
    assert wishes == again

    def share(chosen: list[bool]) -> float:
        return sum(chosen) / len(wishes)

    seen: dict[Task, float] = {
        task: share([w.task == task for w in wishes]) for task in INSTRUCTIONS
    }
    assert seen == pytest.approx({"text2music": 0.5, "repaint": 0.3, "cover": 0.2}, abs=0.04)
    assert share([w.null for w in wishes]) == pytest.approx(0.1, abs=0.03)
    begins = [w.reference for w in wishes if w.reference is not None]
    assert len(begins) / len(wishes) == pytest.approx(0.4, abs=0.04)
    assert min(begins) == 0 and max(begins) == 30
    assert all(0 <= w.region[0] < w.region[1] <= 50 for w in wishes)
    assert 0.1 < share([w.region[0] == 0 for w in wishes]) < 0.5
    assert 0.1 < share([w.region[1] == 50 for w in wishes]) < 0.5


def test_a_reference_is_of_the_song_itself_and_silence_stands_for_none() -> None:
    clean, quiet = torch.randn(3, 50, 64), torch.randn(60, 64)
    told = Wish("text2music", (0, 1), False, 7)
    timbre, owners = references([WISHES[0], told, replace(told, reference=30)], clean, quiet, 20)
    assert owners == [0, 1, 2] and timbre.shape == (3, 20, 64)
    assert torch.equal(timbre[0], quiet[:20])
    assert torch.equal(timbre[1], clean[1, 7:27]) and torch.equal(timbre[2], clean[2, 30:])


def test_silence_has_a_clock_of_every_tempo_that_songs_have() -> None:
    analysis = Analysis.survey(1, 1.0)
    rows, clocks = silence(analysis, 2 * FRAMES_READ), periods()
    quiet = analysis.latents(np.zeros((2, HOP), dtype=np.float32))[:, 0]
    told = rows - quiet
    assert len(set(clocks)) == len(clocks) < 64
    for seed in range(200):
        facts = known(seed, 100)
        beat = facts.beat * RATE / HOP  # latent frames
        place = clocks.index(pytest.approx(beat))
        at = np.arange(0, 2 * FRAMES_READ, 2)
        wave = told[0::2, place] + 1j * told[1::2, place]
        assert np.allclose(wave, DEPTH * np.exp(2j * np.pi * at / beat), atol=1e-3)
    assert (told[:2, len(clocks) :] > 1).all() and not told[2:, len(clocks) :].any()


def test_a_tone_has_its_phase_from_the_clocks() -> None:
    """Every pitch of the songs moves on by a whole number of 32nd turns a frame."""
    for pitch in range(30, 90):
        turns = frequency(pitch) * HOP / RATE * 32
        assert turns == pytest.approx(round(turns), abs=1e-6)
    at = np.arange(0, 64, 2)[:, None]
    angles = 2 * np.pi * at / np.array([p for p in periods() if (32 / p).is_integer()])
    seen = np.concatenate((np.cos(angles), np.sin(angles)), axis=1)
    assert np.linalg.matrix_rank(seen) == 15  # of 16 places in a turn; the rest is a constant


def test_the_tokenizer_knows_the_prompts_and_takes_a_number_for_a_token(tmp_path: Path) -> None:
    made = prompt_tokenizer(NANO / TEXT, NANO / LM, 300, 40)
    assert made == prompt_tokenizer(NANO / TEXT, NANO / LM, 300, 40)
    assert BYTES + 250 < rows(made) - len(NUMBERS) <= BYTES + 300 + 8
    (tmp_path / "tokenizer.json").write_text(json.dumps(made), encoding="utf-8")
    tokens = PromptTokenizer.open(tmp_path, rows(made))
    assert all(len(tokens.caption(str(number))) == 2 for number in NUMBERS)  # and the end
    assert all(len(tokens.caption(text)) > 2 for text in ("007", "301", "1090"))


def test_a_number_begins_near_its_neighbours() -> None:
    rows = number_embeddings(torch.tensor([1.0, 0.4, 0.2, 0.07, 0.03]), 128, 1)
    assert rows.shape == (len(NUMBERS), 128) and torch.isfinite(rows).all()
    assert torch.allclose(rows.square().mean(1), torch.ones(len(NUMBERS)), atol=1e-4)
    near = [float((rows[i] @ rows[i + 1]) / 128) for i in range(60 - 10, 170)]
    far = [float((rows[i] @ rows[i + 40]) / 128) for i in range(60 - 10, 170)]
    beat = [round(60 / number / BEAT_GRID) for number in range(60, 181)]
    same = [value for value, one, two in zip(near, beat, beat[1:], strict=False) if one == two]
    apart = [value for value, one, two in zip(near, beat, beat[1:], strict=False) if one != two]
    assert min(same) > 0.9 > 0.7 > max(apart)  # half of it marks the beat
    assert min(apart) > 0.3 and np.mean(apart) > np.mean(far) + 0.1
    places = torch.unique(rows.round(decimals=3), dim=0)
    assert len(places) == len(NUMBERS)


def test_noise_is_drawn_where_sampling_goes() -> None:
    """Half of the steps of shift 3 lie above 0.75: 3 s / (1 + 2 s) at s = 1/2."""
    draw = np.random.default_rng(0)
    sampled, usual = (np.array(drawn_times(draw, 20_000, share)) for share in (1.0, 0.0))
    assert abs(float(np.median(sampled)) - 0.75) < 0.01 and sampled.max() <= 1
    assert float((usual > 0.9).mean()) < 0.05 < 0.2 < float((sampled > 0.9).mean())


@pytest.mark.parametrize("text", ["- bpm: 137\n", "ein trauriges Stück, 慢速", "🎺\ttwo\n\nends"])
def test_the_tokenizer_loses_no_character(text: str, tmp_path: Path) -> None:
    made = prompt_tokenizer(NANO / TEXT, NANO / LM, 60, 12)
    (tmp_path / "tokenizer.json").write_text(json.dumps(made), encoding="utf-8")
    tokens = PromptTokenizer.open(tmp_path, rows(made))
    ids = tokens.caption(text)
    assert tokens.text(ids) == f"{text}<|endoftext|>"


def test_the_beginning_of_a_long_song_is_a_short_one(tmp_path: Path) -> None:
    tokens, analysis = PromptTokenizer.open(NANO / TEXT), Analysis.survey(3, 3.0)
    songs = Songs(Amounts((25, 50), 4, 1), 1, analysis, tokens, tmp_path)
    latents, seeds = songs.draw(np.random.default_rng(0), 25, 99)
    assert latents.shape == (6, 25, 64) and len(set(seeds)) == 6
    for row, seed in zip(latents, seeds, strict=True):
        made = analysis.latents(render(arrange(known(seed, 25), seed)).mix).T
        assert np.abs(row.numpy() - made)[:24].max() < 0.01  # the last frame hears what follows
    assert len(songs.draw(np.random.default_rng(0), 50, 99)[1]) == 2
    assert songs.unseen.first not in seeds


def test_songs_have_any_whole_tempo_and_keep_their_other_facts() -> None:
    tempos = {known(seed, 100).bpm for seed in range(400)}
    assert min(tempos) >= 60 and max(tempos) <= 180 and len(tempos) > 100
    assert known(5, 100) == known(5, 100) and known(5, 100).seconds == 4.0
