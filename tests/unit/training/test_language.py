"""The language model's training program: it reads the product's prompts, and goes on."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import lyrics_of, read_sheet
from headroom.models.acestep.text.lm_prompts import END
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.nn.causal import CausalLM
from language import (
    MORE_FIRST,
    WAYS,
    Figures,
    Heard,
    Recipe,
    Training,
    Way,
    main,
    prompt_and_answer,
    retold,
    songs_of,
)
from networks import DIT, LM, NANO, Networks, Shape, Sizes
from songs import known
from words import language_tokenizer

TOY = Recipe.toy()
SONG = Heard(77, 375, tuple(range(10)))
training = pytest.mark.long  # the first optimizer of a process makes torch load its compiler


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of a DiT's training is read: its codes, and two songs of each of two lengths."""
    folder = tmp_path_factory.mktemp("dit")
    (folder / "songs").mkdir()
    (folder / DIT).mkdir()
    torch.manual_seed(0)
    shape = Shape(32, 2, 32, 1, levels=(5, 5))
    networks = Networks(shape, 264)
    save_file(networks.official()[DIT], folder / DIT / "model.safetensors", {"format": "pt"})
    config = json.dumps(Sizes.of(shape, 264).dit)
    (folder / DIT / "config.json").write_text(config, encoding="utf-8")
    draw = np.random.default_rng(1)
    for first, frames in ((100, 25), (200, 50), (900_000_100, 25)):
        latents = draw.standard_normal((2, frames, 64)).astype(np.float16)
        np.save(folder / "songs" / f"{first}-2.npy", latents)
    return folder


@pytest.fixture
def words(tmp_path: Path) -> LMVocabulary:
    made = language_tokenizer(NANO / LM, 700)
    (tmp_path / "tokenizer.json").write_text(json.dumps(made), encoding="utf-8")
    return LMVocabulary.open(tmp_path)


def test_the_tokenizer_has_as_many_codes_as_asked_and_is_else_the_bundled_one(
    words: LMVocabulary,
) -> None:
    bundled = LMVocabulary.open(NANO / LM)
    assert words.codes.stop - words.codes.start == 700
    assert words.codes.start == bundled.codes.start
    text = "<think>\nbpm: 90\n</think>\n\n"
    assert words.ids(text) == bundled.ids(text)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_to_be_written_is_what_the_product_reads(way: Way, words: LMVocabulary) -> None:
    prompt, thought, last = prompt_and_answer(SONG, way)
    assert prompt.endswith("<|im_start|>assistant\n") and last.endswith(END)
    written = words.written(words.ids(thought) + words.ids(last))
    facts, sheet = known(SONG.seed, SONG.frames), read_sheet(written)
    assert (sheet.bpm, sheet.keyscale) == (facts.bpm, facts.key)
    assert (sheet.timesignature, sheet.duration) == (str(facts.metre), 15)
    assert sheet.caption == SONG.sheet.caption and facts.melody in (sheet.caption or "")
    if way == "generate":
        codes = [number - words.codes.start for number in words.ids(last)[:-1]]
        assert tuple(codes) == SONG.codes
    else:
        assert lyrics_of(written) == INSTRUMENTAL
    assert (way == "understand") == ("<|audio_code_9|>" in prompt)


def test_a_song_under_the_words_of_another_keeps_its_codes() -> None:
    other = Heard(78, 375, (1,))
    prompt, thought, codes = prompt_and_answer(SONG, "generate", other)
    own = prompt_and_answer(SONG, "generate")
    assert codes == own[2] and prompt != own[0] and thought != own[1]


def test_songs_are_heard_as_codes_and_unseen_ones_are_not(dit: Path, tmp_path: Path) -> None:
    alone = replace(TOY, more=0)
    songs = songs_of(dit, alone, dit)
    assert songs_of(dit, replace(alone, least_frames=26), dit) == songs[2:]
    assert [(song.seed, len(song.codes)) for song in songs] == [
        (100, 5), (101, 5), (200, 5), (200, 10), (201, 5), (201, 10),
    ]  # fmt: skip
    more = songs_of(dit, TOY, tmp_path)
    assert more[: len(songs)] == songs and [len(song.codes) for song in more[len(songs) :]] == [
        5,
        5,
    ]
    assert songs_of(dit, TOY, tmp_path) == more  # kept, not made anew
    assert all(0 <= code < 25 for song in songs for code in song.codes)
    assert len({code for song in songs for code in song.codes}) > 5


def test_a_song_is_told_in_other_words_and_only_its_own_codes_are_heard() -> None:
    draw = np.random.default_rng(3)
    for way in ("generate", "understand"):
        told = [retold(SONG, way, draw) for _ in range(9)]
        assert all((one.seed, one.codes) == (SONG.seed, SONG.codes) for one in told)
        assert len({one.caption for one in told}) > 4 and len({one.sheet for one in told}) == 1
    told = [retold(SONG, "inspire", draw) for _ in range(9)]
    assert len({one.sheet for one in told}) == 9 and all(not one.codes for one in told)
    for one in told:
        assert known(one.seed, one.frames).melody in (one.sheet.caption or "")


@torch.no_grad()
def test_the_surprise_is_of_the_sheet_and_of_what_follows_alone(dit: Path, tmp_path: Path) -> None:
    language = Training(TOY, tmp_path, dit)
    model, words = language.trained, language.words
    one = prompt_and_answer(Heard(77, 50, (1, 2, 3)), "generate")
    other = prompt_and_answer(Heard(78, 50, (4,)), "understand")
    sheets, codes = language.surprise(model, [one, other])
    assert len(sheets) == len(words.ids(one[1])) + len(words.ids(other[1]))
    assert len(codes) == 3 + 1 + len(words.ids(other[2]))
    ids = torch.tensor(words.ids("".join(one)))
    logits = model.logits(model(ids, [len(ids)]), slice(0, language.words.codes.stop))
    likely = logits.log_softmax(-1)[-5:-1].gather(1, ids[-4:, None])[:, 0]
    assert torch.allclose(codes[:4], -likely, atol=1e-4)


@training
def test_a_toy_run_writes_its_curve_and_a_folder_that_the_product_opens(
    dit: Path, tmp_path: Path
) -> None:
    assert main(["--toy", "--out", str(tmp_path), "--dit", str(dit)]) == 0
    lines = (tmp_path / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines]
    assert [point["step"] for point in points] == [0, 2, 4]
    shown = {"step", "cpu_seconds", "loss", *(field.name for field in fields(Figures))}
    assert all(set(point) == shown for point in points)
    language = Language(LM, tmp_path / LM, "float32")
    assert language.words.codes.stop == language.config.vocabulary
    model = language.load(torch.float32)
    assert isinstance(model, CausalLM)
    ids = torch.tensor(language.words.ids("".join(prompt_and_answer(SONG, "generate"))))
    trained = Training(TOY, tmp_path, dit)
    trained.resume()
    with torch.no_grad():
        ours, theirs = trained.averaged(ids, [len(ids)]), model(ids, [len(ids)])
    assert (ours - theirs).abs().max() < 0.05 * ours.abs().max()


@training
def test_a_run_that_was_interrupted_comes_to_the_same_weights(dit: Path, tmp_path: Path) -> None:
    through = Training(TOY, tmp_path / "through", dit)
    through.run()
    halted = Training(TOY, tmp_path / "halted", dit)
    halted.advance()
    halted.save()
    resumed = Training(TOY, tmp_path / "halted", dit)
    resumed.run()
    assert resumed.step == through.step == TOY.steps
    for name, tensor in through.averaged.state_dict().items():
        assert torch.equal(tensor, resumed.averaged.state_dict()[name]), name


def test_songs_kept_apart_are_not_learnt_and_every_weight_learns(dit: Path, tmp_path: Path) -> None:
    language = Training(TOY, tmp_path, dit)
    assert [song.seed for song in language.apart] == [100, 200]
    assert {song.seed for song in language.songs} == {101, 201, MORE_FIRST, MORE_FIRST + 1}
    language.loss().backward()
    assert all(p.grad is not None and p.grad.any() for p in language.trained.parameters())
