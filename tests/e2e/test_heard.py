"""What the bundled model makes, heard: text to music, a repaint and a cover of known songs.

`training/listening.py` hears; the shares over many songs stand in `docs/en/NANO.md`. Here each test
has one song, or a few where one may go wrong, and a margin beside what the model reaches.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headroom.audio.wave import Audio
from headroom.engine.engine import Engine
from headroom.models.acestep.requests.songs import request_from
from headroom.settings import load
from listening import (
    Sound,
    bands,
    harmony_likeness,
    jump_at,
    key,
    region_difference_db,
    relative,
    tempo,
)
from music.captions import caption
from music.piece import RATE, Facts, arrange
from music.render import render

SECONDS = 10.0  # the shortest song that may be asked for
KNOWN = Facts(100, 9, "minor", 4, "organ", "piano", "bass", True, SECONDS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    nowhere = tmp_path_factory.mktemp("nowhere")
    settings = load({"XDG_CACHE_HOME": str(nowhere)}, None)
    return Engine("cpu", "float32", "acestep-v15-nano", nowhere, settings=settings)


def song(facts: Facts, seed: int = 5) -> Sound:
    """The generator's own."""
    mix: Sound = render(arrange(facts, seed)).mix
    return mix


def made(engine: Engine, facts: Facts, **fields: object) -> Sound:
    """The model's song for these facts."""
    request = request_from({
        "caption": caption(facts, 3, "en"), "bpm": facts.bpm, "keyscale": facts.key,
        "timesignature": str(facts.metre), "seed": 11, **fields,
    })  # fmt: skip
    sound: Sound = engine.generate(request).audio.samples.numpy()
    return sound


def recorded(sound: Sound, file: Path) -> Path:
    return Audio(torch.from_numpy(np.ascontiguousarray(sound)), RATE).save(file, "wav32")


@pytest.mark.ci
def test_words_decide_tempo_key_and_drums(engine: Engine) -> None:
    wishes = [
        replace(KNOWN, bpm=80), replace(KNOWN, bpm=120, tonic=2, mode="major"),
        replace(KNOWN, bpm=150, tonic=5, mode="major", drums=False),
    ]  # fmt: skip
    sounds = [made(engine, one, duration=SECONDS) for one in wishes]
    assert all(sound.shape == (2, SECONDS * RATE) for sound in sounds)
    in_time = [
        any(abs(tempo(bands(sound)) * octave / one.bpm - 1) < 0.04 for octave in (0.5, 1, 2))
        for one, sound in zip(wishes, sounds, strict=True)
    ]
    in_key = [key(sound) for sound in sounds]
    assert sum(in_time) >= 2
    assert (
        sum(one.key in (heard, relative(heard)) for one, heard in zip(wishes, in_key, strict=True))
        >= 2
    )


@pytest.mark.ci
def test_a_repaint_is_heard_in_its_region_alone(engine: Engine, tmp_path: Path) -> None:
    sound, start, stop = song(KNOWN), 4.0, 7.0
    source = recorded(sound, tmp_path / "song.wav")
    other = replace(KNOWN, drums=False, melody="flute")
    again = made(engine, other, task="repaint", source_audio=source, start=start, end=stop)
    region = round(start * RATE), round(stop * RATE)
    inside, outside = region_difference_db(sound, again, region)
    assert inside > -10 and outside < -80
    assert max(jump_at(again, at) for at in region) < 1.2


@pytest.mark.ci
def test_a_cover_has_the_harmony_of_its_source(engine: Engine, tmp_path: Path) -> None:
    sound, other = song(KNOWN), song(replace(KNOWN, tonic=3, mode="major"), 6)
    source = recorded(sound, tmp_path / "song.wav")
    again = made(engine, replace(KNOWN, melody="trumpet"), task="cover", source_audio=source)
    assert harmony_likeness(again, sound) > harmony_likeness(again, other) + 0.2
    assert region_difference_db(sound, again, (0, RATE))[0] > -20  # and is another sound
