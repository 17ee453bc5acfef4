"""Requests become songs: every decision written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.errors import InvalidRequest, InvalidSource
from headroom.models.acestep.requests.songs import (
    AnyMusicRequest,
    Complete,
    Cover,
    Extract,
    Lego,
    Repaint,
    Text2Music,
    request_from,
)
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.requests.variants import VARIANTS, Variant
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Finish, Region, Repainting, Song, Source, Wavelet
from headroom.models.acestep.text.prompts import Metas
from headroom.models.base import Composed

TURBO = VARIANTS["acestep-v15-turbo"]
BASE = VARIANTS["acestep-v15-base"]
STEMS = replace(BASE, stems=True)
Recordings = Callable[..., Path]


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """`recordings(seconds, rate)`: a file that long; what it holds does not matter here."""

    def make(seconds: float, rate: int = 48_000) -> Path:
        path = tmp_path / f"{seconds}-{rate}.wav"
        soundfile.write(path, np.full(round(seconds * rate), 0.25, np.float32), rate)
        return path

    return make


def composed(request: AnyMusicRequest, variant: Variant = BASE, *seeds: int) -> Composed[Song]:
    return compose(request, variant, seeds or (1,))


def song(request: AnyMusicRequest, variant: Variant = BASE) -> Song:
    (found,) = composed(request, variant).songs
    return found


# --- length ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [
        (10, 250), (10.2, 255), (11.24, 280), (30.5, 762), (30.04, 750), (30.06, 752),
        (59.9, 1497), (600, 15_000), (None, 750),
    ],
)  # fmt: skip
def test_seconds_become_frames(seconds: float | None, frames: int) -> None:
    """A tenth of a second counts, and part of a frame does not."""
    made = song(Text2Music(duration=seconds))
    assert (made.frames, made.kept) == (frames, frames)


def test_what_the_model_is_told_of_the_length(recordings: Recordings) -> None:
    assert song(Text2Music(duration=30.5)).metas.seconds == 30.5
    assert song(Text2Music()).metas.text().endswith("- duration: 30 seconds\n")
    cover = Cover(source_audio=recordings(12.9), duration=60)
    assert song(cover).metas.text().endswith("- duration: 12 seconds\n")


@pytest.mark.parametrize(
    ("seconds", "rate", "frames", "kept"),
    [(2, 48_000, 128, 50), (5.12, 48_000, 128, 128), (5.2, 44_100, 130, 130),
     (10.039, 48_000, 250, 250), (600, 1000, 15_000, 15_000)],
)  # fmt: skip
def test_a_source_decides_the_length(
    seconds: float, rate: int, frames: int, kept: int, recordings: Recordings
) -> None:
    """At least 128 frames are computed, and what is kept is the source's length."""
    made = song(Cover(source_audio=recordings(seconds, rate)))
    assert (made.frames, made.kept) == (frames, kept)


def test_audio_codes_decide_the_length() -> None:
    many = song(Text2Music(audio_codes="<|audio_code_5|>" * 31, duration=90))
    assert (many.frames, many.kept, many.codes) == (155, 155, (5,) * 31)
    assert many.metas.seconds == 6.2
    few = song(Text2Music(audio_codes="x<|audio_code_99999|>\n<|audio_code_7|>"))
    assert (few.frames, few.kept, few.codes) == (128, 10, (63_999, 7))
    composed = compose(Text2Music(audio_codes="5, 64001, 7"), VARIANTS["acestep-v15-turbo"], (1,))
    assert composed.songs[0].codes == (5, 63_999, 7)
    assert [(n.field, n.asked, n.used) for n in composed.notes] == [("audio_codes", 64_001, 63_999)]
    few_codes = replace(VARIANTS["acestep-v15-turbo"], codebook=1000)
    composed = compose(Text2Music(audio_codes="5, 1000, 7"), few_codes, (1,))
    assert composed.songs[0].codes == (5, 999, 7)
    assert [(n.field, n.asked, n.used) for n in composed.notes] == [("audio_codes", 1000, 999)]
    assert song(Text2Music(audio_codes="<|audio_code_1|>" * 3000)).frames == 15_000
    with pytest.raises(InvalidRequest, match=r"audio_codes: .*3001 codes.*at most 3000"):
        song(Text2Music(audio_codes="<|audio_code_1|>" * 3001))


def test_of_a_longer_source_600_seconds_are_used(recordings: Recordings) -> None:
    made = composed(Cover(source_audio=recordings(601, 1000)))
    (note,) = made.notes
    assert (note.field, note.asked, note.used) == ("source_audio", "601.0 s", "600 s")
    assert made.songs[0].frames == 15_000
    assert made.songs[0].source == Source(str(recordings(601, 1000)), 28_800_000)


def test_a_source_shorter_than_a_frame_is_refused(recordings: Recordings) -> None:
    assert song(Cover(source_audio=recordings(0.04))).kept == 1
    with pytest.raises(InvalidSource, match=r"0\.039 s of sound; allowed: at least 0\.04 s"):
        song(Cover(source_audio=recordings(0.039)))


# --- the region --------------------------------------------------------------------------


def repaint(path: Path, **fields: object) -> Repaint:
    return Repaint.model_validate({"source_audio": path, **fields})


@pytest.mark.parametrize(
    ("fields", "region", "padding"),
    [
        ({}, Region(0, 100, 0, 192_000), (0, 0)),
        ({"start": 1, "end": 2.1}, Region(25, 52, 48_000, 100_800), (0, 0)),
        ({"start": 1.03, "end": 1.031}, Region(25, 26, 49_440, 49_488), (0, 0)),
        ({"start": 3}, Region(75, 100, 144_000, 192_000), (0, 0)),
        ({"start": 3.99, "end": 4}, Region(99, 100, 191_520, 192_000), (0, 0)),
        ({"start": -2, "end": 1}, Region(0, 75, 0, 144_000), (96_000, 0)),
        ({"start": -2}, Region(0, 150, 0, 288_000), (96_000, 0)),
        ({"start": 4, "end": 6}, Region(100, 150, 192_000, 288_000), (0, 96_000)),
        ({"start": 3, "end": 6}, Region(75, 150, 144_000, 288_000), (0, 96_000)),
        ({"start": -1, "end": 5}, Region(0, 150, 0, 288_000), (48_000, 48_000)),
    ],
    ids=str,
)
@pytest.mark.parametrize("task", ["repaint", "lego"])
def test_seconds_become_a_region(
    task: str,
    fields: dict[str, object],
    region: Region,
    padding: tuple[int, int],
    recordings: Recordings,
) -> None:
    """Four seconds of source; a start below 0 and an end beyond it make the song longer."""
    path = recordings(4)
    asked = {"task": task, "source_audio": path, "chunk_mask_mode": "explicit", **fields}
    made = composed(request_from(asked))
    (one,) = made.songs
    before, after = padding
    assert one.region == region
    assert one.source == Source(str(path), 192_000, before, after)
    assert one.kept == (192_000 + before + after) // 1920
    assert one.metas.seconds == (192_000 + before + after) / 48_000
    assert one.mask_everywhere is None and made.notes == ()


def test_a_region_cannot_begin_in_the_last_broken_frame(recordings: Recordings) -> None:
    """A source of 100 frames and three quarters: nothing is made of the rest."""
    source = recordings(4.03)
    assert song(repaint(source, start=4.01)).region == Region(99, 100, 190_080, 193_440)
    assert song(repaint(source, start=3.99)).region == Region(99, 100, 191_520, 193_440)


def test_a_gap_between_source_and_region_is_not_left(recordings: Recordings) -> None:
    made = composed(repaint(recordings(4), start=5, end=6))
    (note,) = made.notes
    assert (note.field, note.asked, note.used) == ("start", 5, 4)
    assert made.songs[0].region == Region(100, 150, 192_000, 288_000)


def test_a_region_outside_the_song_is_refused(recordings: Recordings) -> None:
    with pytest.raises(InvalidRequest, match=r"start: 4\.0 .*length of the source \(4\.00 s\)"):
        song(repaint(recordings(4), start=4))
    with pytest.raises(InvalidRequest, match=r"end: 600\.0 .*within 600 s") as late:
        song(repaint(recordings(4), start=-1, end=600))
    assert late.value.field == "end"
    with pytest.raises(InvalidRequest, match=r"start: -597\.0 .*within 600 s"):
        song(repaint(recordings(4), start=-597, end=2))
    assert song(repaint(recordings(4), end=600)).frames == 15_000


@pytest.mark.parametrize("task", ["repaint", "lego"])
def test_the_model_may_look_for_the_region_itself(task: str, recordings: Recordings) -> None:
    """Where nobody says otherwise."""
    made = song(request_from({"task": task, "source_audio": recordings(4), "start": 1}))
    assert made.mask_everywhere == 2.0 and made.region == Region(25, 100, 48_000, 192_000)


# --- what each task asks -----------------------------------------------------------------


def test_instruction_channels_and_mask_of_every_task(recordings: Recordings) -> None:
    path = recordings(6)
    cases: list[tuple[AnyMusicRequest, str, SourceChannels, float | None]] = [
        (
            Text2Music(),
            "Fill the audio semantic mask based on the given conditions:",
            SourceChannels.SILENCE, 1.0,
        ),
        (
            Text2Music(audio_codes="<|audio_code_1|>"),
            "Generate audio semantic tokens based on the given conditions:",
            SourceChannels.HINTS, 1.0,
        ),
        (
            Cover(source_audio=path),
            "Generate audio semantic tokens based on the given conditions:",
            SourceChannels.HINTS, 1.0,
        ),
        (
            Cover(source_audio=path, quantize_source=False),
            "Generate audio semantic tokens based on the given conditions:",
            SourceChannels.LATENTS, 1.0,
        ),
        (
            Repaint(source_audio=path),
            "Repaint the mask area based on the given conditions:",
            SourceChannels.OUTSIDE, 2.0,
        ),
        (
            Lego(source_audio=path, track="backing_vocals"),
            "Generate the BACKING_VOCALS track based on the audio context:",
            SourceChannels.LATENTS, 2.0,
        ),
        (
            Lego(source_audio=path),
            "Generate the track based on the audio context:",
            SourceChannels.LATENTS, 2.0,
        ),
        (
            Extract(source_audio=path, track="drums"),
            "Extract the DRUMS track from the audio:",
            SourceChannels.LATENTS, 1.0,
        ),
        (
            Extract(source_audio=path),
            "Extract the track from the audio:",
            SourceChannels.LATENTS, 1.0,
        ),
        (
            Complete(source_audio=path, tracks=("drums", "bass")),
            "Complete the input track with DRUMS | BASS:",
            SourceChannels.LATENTS, 1.0,
        ),
        (
            Complete(source_audio=path),
            "Complete the input track:",
            SourceChannels.LATENTS, 1.0,
        ),
        (
            Complete(source_audio=path, tracks=("drums",), instruction="Do as I say"),
            "Do as I say",
            SourceChannels.LATENTS, 1.0,
        ),
    ]  # fmt: skip
    for request, instruction, channels, mask in cases:
        made = song(request)
        assert (made.instruction, made.channels, made.mask_everywhere) == (
            instruction, channels, mask,
        )  # fmt: skip
        assert (made.task, made.model) == (request.task, "acestep-v15-base")
        assert (made.source is None) == isinstance(request, Text2Music)
        assert (made.region is None) == (not isinstance(request, Repaint | Lego))
        assert made.instruction_after is None


@pytest.mark.parametrize("lyrics", ["", "  \n", "[inst]", "[Instrumental]", " [INSTRUMENTAL] "])
def test_no_words_mean_no_voice(lyrics: str) -> None:
    assert song(Text2Music(lyrics=lyrics)).lyrics == "[Instrumental]"


def test_words_are_sung_as_they_are() -> None:
    lyrics = " [Verse]\nla \n"
    assert song(Text2Music(lyrics=lyrics)).lyrics == lyrics
    assert song(Text2Music(lyrics=lyrics, instrumental=True)).lyrics == "[Instrumental]"
    assert song(Text2Music()).language == "unknown"
    made = song(Text2Music(vocal_language="yue", bpm=96, keyscale="B♭ major", timesignature="6"))
    assert made.language == "yue"
    assert made.metas == Metas(96, "6", "B♭ major", None)


@pytest.mark.parametrize(
    ("fields", "caption"),
    [
        ({}, "Global: a rock song\nLocal: loud\nMask Control: false"),
        ({"chunk_mask_mode": "explicit"}, "Global: a rock song\nLocal: loud\nMask Control: true"),
        ({"instruction": "Make a segment of it"}, "Local: loud\nMask Control: false"),
    ],
)
def test_the_caption_of_a_model_for_stems(
    fields: dict[str, object], caption: str, recordings: Recordings
) -> None:
    path = recordings(6)
    request = Lego.model_validate(
        {"source_audio": path, "caption": "loud", "global_caption": "a rock song", **fields}
    )
    assert song(request, STEMS).caption == caption
    assert song(request, BASE).caption == "loud"


# --- the sampler -------------------------------------------------------------------------


def test_a_variant_decides_what_is_left_open() -> None:
    turbo, base = song(Text2Music(), TURBO).sampling, song(Text2Music(), BASE).sampling
    assert turbo.times == (1, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3, 0)
    assert (turbo.guidance, turbo.turbo, turbo.switch) == (1.0, True, 8)
    assert turbo.guided == (False,) * 9
    assert base.times == (*(pytest.approx(1 - k / 50) for k in range(50)), 0)
    assert (base.guidance, base.turbo, base.switch) == (7.0, False, 50)
    assert base.guided == (True,) * 51 and base.guidance_variant == "apg"


def test_turbo_takes_the_steps_and_the_shift_it_is_given() -> None:
    made = song(Text2Music(inference_steps=4, shift=2), TURBO).sampling
    assert made.times == pytest.approx((1, 6 / 7, 2 / 3, 0.4, 0))


def test_times_that_somebody_wrote() -> None:
    times = Text2Music(timesteps=(1, 0.94, 0.52, 0.1, 0))
    assert song(times, TURBO).sampling.times == (1, 14 / 15, 0.5, 0.125, 0)
    free = VARIANTS["acestep-v15-turbo-continuous"]
    assert song(times, free).sampling.times == (1, 0.94, 0.52, 0.1, 0)
    assert song(times, BASE).sampling.times == (1, 0.94, 0.52, 0.1, 0)
    open_end = Text2Music(timesteps=(0.9, 0.5, 0.1))
    assert song(open_end, BASE).sampling.times == (0.9, 0.5, 0.1)
    assert song(open_end, TURBO).sampling.times == (0.9, 0.5, 0.125, 0)


def test_guidance_and_its_interval() -> None:
    fields = Text2Music(
        inference_steps=4, guidance_scale=3, cfg_interval_start=0.25, cfg_interval_end=0.5
    )
    made = song(fields, BASE).sampling
    assert (made.guidance, made.guided) == (3, (False, False, True, True, False))
    assert song(fields, TURBO).sampling.guided == (False,) * 5
    unguided = song(Text2Music(inference_steps=2, guidance_scale=1)).sampling
    assert unguided.guided == (False,) * 3


def test_cover_strength_is_a_step(recordings: Recordings) -> None:
    path, after = recordings(6), "Fill the audio semantic mask based on the given conditions:"
    for strength, switch in ((0.0, 0), (0.4, 3), (0.5, 4), (0.99, 7)):
        made = song(Cover(source_audio=path, audio_cover_strength=strength), TURBO)
        assert (made.sampling.switch, made.instruction_after) == (switch, after)
    coded = Text2Music(audio_codes="<|audio_code_1|>", audio_cover_strength=0.5)
    assert song(coded, TURBO).sampling.switch == 4
    # without a source there is nothing to leave
    assert song(Text2Music(audio_cover_strength=0.5), TURBO).sampling.switch == 8


def test_a_cover_may_begin_from_its_source(recordings: Recordings) -> None:
    request = Cover(source_audio=recordings(6), cover_noise_strength=0.4, audio_cover_strength=0.5)
    made = song(request, TURBO).sampling
    assert made.times == (9 / 14, 0.5, 0.3, 0)
    assert (made.start_from_source, made.switch, len(made.guided)) == (True, 1, 4)
    assert not song(Cover(source_audio=recordings(6)), TURBO).sampling.start_from_source


@pytest.mark.parametrize(
    ("fields", "repainting"),
    [
        ({"repaint_mode": "conservative"}, Repainting(1.0, 25, 0.05)),
        ({}, Repainting(0.5, 12, 0.025)),
        ({"repaint_strength": 0.0}, Repainting(1.0, 25, 0.05)),
        ({"repaint_mode": "aggressive"}, Repainting(0.0, 0, None)),
        (
            {"repaint_mode": "aggressive", "repaint_latent_crossfade_frames": 5},
            Repainting(0.0, 5, None),
        ),
        (
            {"repaint_mode": "aggressive", "repaint_wav_crossfade_sec": 0},
            Repainting(0.0, 0, 0.0),
        ),
        (
            {"repaint_latent_crossfade_frames": 0, "repaint_wav_crossfade_sec": 1.5},
            Repainting(0.5, 0, 1.5),
        ),
    ],
)
def test_how_a_repaint_meets_its_surroundings(
    fields: dict[str, object], repainting: Repainting, recordings: Recordings
) -> None:
    assert song(repaint(recordings(6), start=1, **fields)).sampling.repainting == repainting
    lego = Lego.model_validate({"source_audio": recordings(6), **fields})
    made = song(lego)
    assert made.sampling.repainting is None and made.finish.normalise_db == -1
    made = song(lego.model_copy(update={"end": 3}))
    assert made.sampling.repainting == repainting and made.finish.normalise_db is None


def test_the_other_numbers_of_the_sampler() -> None:
    made = song(
        Text2Music(
            infer_method="ode", sampler_mode="heun", velocity_norm_threshold=2,
            velocity_ema_factor=0.1, dcw_enabled=True, dcw_mode="high", dcw_scaler=0.3,
            dcw_high_scaler=0.4, noise="official",
        )
    ).sampling  # fmt: skip
    assert (made.method, made.solver, made.noise) == ("ode", "heun", "official")
    assert (made.norm_clamp, made.ema) == (2, 0.1)
    assert made.wavelet == Wavelet("high", 0.3, 0.4, "haar")
    turbo = song(Text2Music(dcw_wavelet="sym8"), TURBO).sampling
    assert turbo.wavelet == Wavelet("double", 0.05, 0.02, "sym8")
    assert song(Text2Music(dcw_enabled=False), TURBO).sampling.wavelet is None
    plain = song(Text2Music(infer_method="sde", sampler_mode="heun")).sampling
    assert (plain.method, plain.solver, plain.wavelet) == ("sde", "euler", None)


def test_a_negative_prompt_is_for_songs_that_are_guided() -> None:
    asked = Text2Music(negative_prompt=" drums ")
    assert song(asked).negative == "drums" and song(Text2Music()).negative == ""
    assert song(asked, TURBO).negative == ""
    interval = {"cfg_interval_start": 0.7, "cfg_interval_end": 0.9, "timesteps": (1, 0.6)}
    beside = Text2Music.model_validate({"negative_prompt": "drums", **interval})
    made = composed(beside)
    assert made.songs[0].negative == ""
    assert [note.field for note in made.notes] == ["negative_prompt"]


# --- seeds and the end -------------------------------------------------------------------


def test_a_song_for_each_seed() -> None:
    made = composed(Text2Music(caption="x"), TURBO, 4, 5, 2**64 - 1)
    assert [s.seed for s in made.songs] == [4, 5, 2**64 - 1]
    assert {replace(s, seed=0) for s in made.songs} == {replace(made.songs[0], seed=0)}
    assert all(s.retake_seed is None for s in made.songs)


def test_the_seed_of_a_retake() -> None:
    asked = Text2Music(retake_variance=0.3)
    made = composed(asked, TURBO, 4, 2**64 - 1).songs
    assert [(s.retake_seed, s.retake_variance) for s in made] == [(5, 0.3), (0, 0.3)]
    named = Text2Music(retake_variance=0.3, retake_seed=77)
    assert [s.retake_seed for s in composed(named, TURBO, 4, 5).songs] == [77, 77]


def test_what_happens_around_the_decoder(recordings: Recordings) -> None:
    assert song(Text2Music()).finish == Finish(0.0, 1.0, -1.0, 0.0, 0.0, tiled=True)
    asked = Text2Music(
        latent_shift=0.1, latent_rescale=0.9, normalization_db=-3, fade_in=1, fade_out=2
    )
    assert song(asked).finish == Finish(0.1, 0.9, -3, 1, 2, tiled=True)
    assert song(Text2Music(enable_normalization=False)).finish.normalise_db is None
    # a repaint keeps samples of its source, so its level is left alone unless somebody asks
    assert song(repaint(recordings(6))).finish.normalise_db is None
    assert song(repaint(recordings(6), enable_normalization=True)).finish.normalise_db == -1.0
