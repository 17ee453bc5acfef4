"""Measures of a song: right where the facts are known, exact where they are arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from listening import (
    Heard,
    Listener,
    accuracy,
    agreement,
    bands,
    harmony_likeness,
    jump_at,
    key,
    loudness_db,
    region_difference_db,
    relative,
    shares,
    signal_to_distortion_db,
    spectral_distance_db,
    step_at,
    tempo,
    tones,
)
from music.piece import NAMES, RATE, Facts, arrange
from music.render import Stereo, render

PLAIN = Facts(120, 0, "major", 4, "flute", "piano", "bass", True, 8.0)


def song(**changes: object) -> Stereo:
    return render(arrange(replace(PLAIN, **changes), 3)).mix  # type: ignore[arg-type]


@pytest.mark.parametrize("bpm", [75, 100, 120, 160])
def test_the_tempo_of_a_song_with_drums_is_heard(bpm: int) -> None:
    heard = tempo(bands(song(bpm=bpm)))
    assert min(abs(heard * octave / bpm - 1) for octave in (0.5, 1, 2)) < 0.04


@pytest.mark.parametrize("tonic", [0, 5, 9])
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_the_key_is_heard_or_its_relative(tonic: int, mode: str) -> None:
    wanted = f"{NAMES[tonic]} {mode}"
    assert key(song(tonic=tonic, mode=mode, drums=False)) in (wanted, relative(wanted))


def test_relatives_are_mutual() -> None:
    assert relative("C major") == "A minor" and relative("A minor") == "C major"
    assert all(relative(relative(f"{name} minor")) == f"{name} minor" for name in NAMES)


def test_loudness_and_differences_are_exact() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.stack([np.sin(2 * np.pi * 440 * time)] * 2)
    assert loudness_db(tone) == pytest.approx(-3.01, abs=0.01)
    assert loudness_db(tone / 10) == pytest.approx(-23.01, abs=0.01)
    changed = tone.copy()
    changed[:, RATE // 2 : RATE] *= 1.1
    inside, outside = region_difference_db(tone, changed, (RATE // 2, RATE))
    assert inside == pytest.approx(-20, abs=0.1) and outside < -100
    assert spectral_distance_db(tone, tone) == 0
    louder = spectral_distance_db(tone, 2 * tone)
    assert 0 < louder <= 6.03


def test_tones_are_those_of_the_sound_and_harmony_is_followed_in_time() -> None:
    time = np.arange(4 * RATE) / RATE
    first, second = (np.stack([np.sin(2 * np.pi * f * time)] * 2) for f in (440.0, 523.25))
    assert tones(first).sum(0).argmax() == 9 and tones(second).sum(0).argmax() == 0
    up, down = np.concatenate((first, second), 1), np.concatenate((second, first), 1)
    assert harmony_likeness(up, up) == pytest.approx(1) and harmony_likeness(up, down) < 0.3
    assert harmony_likeness(up, 0.5 * up + 0.01 * down) > 0.95


def test_distortion_and_clicks_are_exact() -> None:
    time = np.arange(RATE) / RATE
    tone = np.stack([np.sin(2 * np.pi * 440 * time)] * 2)
    assert signal_to_distortion_db(tone, 1.1 * tone) == pytest.approx(20, abs=0.01)
    clicking = tone.copy()
    clicking[:, RATE // 2 :] += 0.5
    assert step_at(tone, RATE // 2) < 1.05 < 5 < step_at(clicking, RATE // 2)


def test_a_seam_stands_out_and_the_rest_of_a_song_does_not() -> None:
    one, place = song(drums=False, chords="strings", melody="violin"), 3 * RATE + 1234
    other = np.concatenate((one[:, :place], song(tonic=6, mode="minor", drums=False)[:, place:]), 1)
    assert jump_at(one, place) < 1 < jump_at(other, place)


def test_an_unlike_song_is_further_away_than_a_like_one() -> None:
    one, like, unlike = song(), song(melody="clarinet"), song(bpm=90, tonic=6, drums=False)
    assert spectral_distance_db(one, like) < spectral_distance_db(one, unlike)


def test_agreement_allows_what_it_says_and_nothing_else() -> None:
    heard = Heard(61, "A minor", "flute", "organ", True, -20.0)
    assert agreement(PLAIN, heard) == {
        "tempo": False, "tempo or its octave": True, "key": False, "key or its relative": True,
        "melody": True, "chords": False, "drums": True,
    }  # fmt: skip
    found = shares([PLAIN, PLAIN], [heard, replace(heard, bpm=120, drums=False)])
    assert (found["tempo"], found["tempo or its octave"], found["drums"]) == (0.5, 1.0, 0.5)


@pytest.mark.ci
def test_a_listener_hears_drums_and_instruments_far_more_often_than_chance() -> None:
    found = accuracy(Listener(100, 160), range(910_000_000, 910_000_025), 160)
    assert found["drums"] >= 0.9
    assert found["chords"] >= 0.5  # of five
    assert found["melody"] >= 0.3  # of ten
    assert found["tempo or its octave"] >= 0.8 and found["key or its relative"] >= 0.7
