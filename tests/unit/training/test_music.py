"""The generator of training songs: what it says of a song is what sounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from headroom.models.acestep.text.vocabulary import KEYS
from music.captions import INSTRUMENTS, LANGUAGES, caption, prompts
from music.piece import RATE, SCALES, STEMS, Facts, arrange, compose, facts, frequency, locked
from music.render import render
from music.timbres import MELODIC, TIMBRES, tone

PLAIN = Facts(120, 9, "minor", 4, "flute", "piano", "bass", True, 4.0)


def test_equal_seeds_make_equal_songs_and_others_make_others() -> None:
    one, again, other = (render(compose(seed, 2.0)).mix for seed in (5, 5, 6))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(4))
def test_stems_add_up_have_the_asked_length_and_do_not_clip(seed: int) -> None:
    piece = compose(seed, 3.0)
    made = render(piece)
    assert made.mix.shape == (2, 3 * RATE)
    assert np.allclose(made.mix, sum(made.stem(name) for name in STEMS))
    assert 0.05 < np.abs(made.mix).max() < 1
    assert made.drums.any() == piece.facts.drums


def test_every_note_is_of_the_key() -> None:
    assert SCALES["major"] == (0, 2, 4, 5, 7, 9, 11) and SCALES["minor"] == (0, 2, 3, 5, 7, 8, 10)
    for seed in range(40):
        piece = compose(seed, 8.0)
        scale = {(piece.facts.tonic + step) % 12 for step in SCALES[piece.facts.mode]}
        pitches = {note.pitch % 12 for note in piece.notes if note.stem != "drums"}
        assert pitches <= scale, piece.facts


def test_the_drums_tell_the_tempo() -> None:
    strength = np.abs(render(arrange(replace(PLAIN, bpm=100, seconds=6.0), 3)).drums).sum(axis=0)
    levels = strength.reshape(-1, 480).sum(axis=1)  # 100 a second
    rises = np.maximum(np.diff(levels), 0)
    alike = [float(rises[:-lag] @ rises[lag:]) for lag in range(40, 90)]
    assert 40 + int(np.argmax(alike)) == 60  # hundredths of a second a beat


def test_the_melody_sounds_at_its_pitch() -> None:
    piece = arrange(PLAIN, 1)
    first = next(note for note in piece.notes if note.stem == "melody")
    start = round(first.start * RATE)
    heard = _strongest(render(piece).melody[0, start : start + round(first.seconds * RATE)])
    assert heard == pytest.approx(frequency(first.pitch), abs=1 / first.seconds)


def _strongest(sound: npt.NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * RATE / len(sound)


def test_tones_keep_one_phase_and_stay_in_tune() -> None:
    for pitch in range(36, 90):
        hertz, exact = frequency(pitch), 440 * 2 ** ((pitch - 69) / 12)
        assert abs(1200 * np.log2(hertz / exact)) < 16, pitch
        turns = locked(1.234, hertz) * hertz / RATE
        assert abs(turns - round(turns)) < hertz / RATE, pitch


def test_at_least_eight_timbres_differ() -> None:
    shapes = {}
    for name in MELODIC:
        sound = tone(TIMBRES[name], 500.0, 0.25, RATE)[:12_000]
        shapes[name] = sound / np.linalg.norm(sound)
    assert len(shapes) >= 8
    for one in shapes:
        for other in shapes:
            assert one == other or abs(float(shapes[one] @ shapes[other])) < 0.995, (one, other)


def test_a_caption_names_what_sounds_in_every_language() -> None:
    for language, words in LANGUAGES.items():
        seen = {caption(PLAIN, seed, language) for seed in range(30)}
        assert len(seen) == len(words.patterns)
        flute, piano = (words.instruments[INSTRUMENTS.index(n)] for n in ("flute", "piano"))
        for text in seen:
            assert flute in text and piano in text and words.drums[0] in text
            assert words.moods[1] in text and words.speeds[1] in text
            assert words.drums[1] in caption(replace(PLAIN, drums=False), 0, language)


def test_prompts_are_the_texts_the_model_reads() -> None:
    texts = prompts(PLAIN, 4, share_told=1.0)
    assert "# Metas\n- bpm: 120\n- timesignature: 4\n- keyscale: A minor\n" in texts.caption
    assert texts.caption.endswith("- duration: 4 seconds\n<|endoftext|>\n")
    assert texts.lyrics == "# Languages\nunknown\n\n# Lyric\n[Instrumental]<|endoftext|>"
    assert "keyscale: N/A" in prompts(PLAIN, 4, share_told=0.0).caption


def test_keys_are_those_of_the_vocabulary() -> None:
    assert {facts(seed, 1.0).key for seed in range(300)} <= set(KEYS)


def test_a_short_note_is_the_beginning_of_a_long_one() -> None:
    for timbre in TIMBRES.values():
        short, long = (tone(timbre, 500.0, seconds, RATE) for seconds in (0.4, 1.7))
        held = round(0.4 * RATE)
        assert np.array_equal(short[:held], long[:held])


def test_beats_fall_on_half_frames_near_their_tempo() -> None:
    for bpm in range(60, 181):
        beat = replace(PLAIN, bpm=bpm).beat
        assert abs(beat * 50 - round(beat * 50)) < 1e-9
        assert abs(60 / beat / bpm - 1) < 0.03
