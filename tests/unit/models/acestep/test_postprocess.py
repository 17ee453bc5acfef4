"""After the decoder: level, splice and fades, on samples that can be told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.errors import RenderFailed
from headroom.models.acestep.rendering.postprocess import check_latents, finished
from headroom.models.acestep.rendering.source_latents import Sounds
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Finish, Region, Repainting, Song, Source

HOP = 1920
MADE, KEPT = 0.5, -0.25
NOTHING = Finish(0.0, 1.0, None, 0.0, 0.0, tiled=True)
NO_SOUNDS = Sounds({}, {})


def plain(frames: int = 10, finish: Finish = NOTHING) -> Song:
    (song,) = compose(Text2Music(), VARIANTS["acestep-v15-turbo"], (1,)).songs
    return replace(song, frames=128, kept=frames, finish=finish)


def spliced(
    region: Region, samples: int, before: int = 0, after: int = 0, fade: float | None = 0.0
) -> tuple[Song, Sounds]:
    """A repaint of a recording of -0.25s; the made song is all 0.5s."""
    source = Source("x.wav", samples, before, after)
    sampling = replace(plain().sampling, repainting=Repainting(1.0, 0, fade))
    song = replace(
        plain(source.total // HOP), sampling=sampling, source=source, region=region, task="repaint"
    )
    recording = torch.zeros(2, source.total)
    recording[:, before : before + samples] = KEPT
    return song, Sounds({source: Audio(recording, 48_000)}, {})


def made(song: Song) -> Tensor:
    return torch.full((2, song.frames * HOP), MADE)


def test_what_was_computed_beyond_the_song_is_cut() -> None:
    audio = finished(plain(10), torch.full((2, 128 * HOP), 0.5), NO_SOUNDS)
    assert (audio.samples.shape, audio.rate) == ((2, 10 * HOP), 48_000)


def test_only_what_would_clip_is_made_smaller() -> None:
    loud = torch.full((2, 128 * HOP), 0.5)
    loud[0, 5], loud[1, -1] = -2.0, 8.0  # the second lies beyond the song
    audio = finished(plain(10), loud, NO_SOUNDS).samples
    assert audio[0, 5] == -1.0 and audio[1, 0] == 0.25
    quiet = loud / 10
    assert torch.equal(finished(plain(10), quiet, NO_SOUNDS).samples, quiet[:, : 10 * HOP])


def test_level_and_fades() -> None:
    finish = Finish(0.0, 1.0, -6.0, 0.1, 0.2, tiled=True)
    audio = finished(plain(10, finish), torch.full((2, 128 * HOP), 0.5), NO_SOUNDS).samples
    assert float(audio.abs().max()) == pytest.approx(10 ** (-6 / 20), abs=1e-6)
    assert audio[0, 0] == 0 and audio[0, -1] == 0
    assert float(audio[0, 2400]) == pytest.approx(10 ** (-6 / 20) / 2, abs=1e-4)  # half of 0.1 s
    assert float(audio[0, -4800]) == pytest.approx(10 ** (-6 / 20) / 2, abs=1e-4)


def test_outside_the_region_stands_the_recording() -> None:
    song, sounds = spliced(Region(3, 6, 3 * HOP, 6 * HOP), 10 * HOP)
    audio = finished(song, made(song), sounds).samples
    assert (audio[:, : 3 * HOP] == KEPT).all() and (audio[:, 6 * HOP :] == KEPT).all()
    assert (audio[:, 3 * HOP : 6 * HOP] == MADE).all()


def test_a_fade_lies_inside_the_region() -> None:
    song, sounds = spliced(Region(3, 6, 3 * HOP, 6 * HOP), 10 * HOP, fade=0.01)
    audio = finished(song, made(song), sounds).samples
    assert (audio[:, : 3 * HOP] == KEPT).all() and (audio[:, 6 * HOP :] == KEPT).all()
    inside = audio[0, 3 * HOP : 6 * HOP]
    assert (inside[480:-480] == MADE).all()
    assert (inside[:480].diff() > 0).all() and (inside[-480:].diff() < 0).all()


def test_without_a_splice_all_is_made() -> None:
    song, sounds = spliced(Region(3, 6, 3 * HOP, 6 * HOP), 10 * HOP + 7, fade=None)
    audio = finished(song, made(song), sounds).samples
    assert (audio == MADE).all() and audio.shape[1] == 10 * HOP


def test_a_loud_take_does_not_change_the_recording() -> None:
    song, sounds = spliced(Region(3, 6, 3 * HOP, 6 * HOP), 10 * HOP)
    audio = finished(song, made(song) * 8, sounds).samples
    assert (audio[:, : 3 * HOP] == KEPT).all() and (audio[:, 3 * HOP : 6 * HOP] == 1).all()


def test_the_broken_last_frame_is_the_recordings() -> None:
    song, sounds = spliced(Region(0, 6, 0, 6 * HOP), 10 * HOP + 7)
    audio = finished(song, made(song), sounds).samples
    assert audio.shape[1] == 10 * HOP + 7
    assert (audio[:, : 6 * HOP] == MADE).all() and (audio[:, 6 * HOP :] == KEPT).all()
    # unless the region reaches it, because nothing is made of it
    song, sounds = spliced(Region(6, 10, 6 * HOP, 10 * HOP + 7), 10 * HOP + 7)
    audio = finished(song, made(song), sounds).samples
    assert audio.shape[1] == 10 * HOP
    assert (audio[:, : 6 * HOP] == KEPT).all() and (audio[:, 6 * HOP :] == MADE).all()


@pytest.mark.parametrize("fade", [0.0, 0.05])
@pytest.mark.parametrize("broken", [0, 7])
def test_what_grew_begins_and_ends_without_a_dip_into_silence(fade: float, broken: int) -> None:
    after = 4 * HOP + broken
    song, sounds = spliced(Region(10, 14, 10 * HOP, 14 * HOP + broken), 10 * HOP, 0, after, fade)
    audio = finished(song, made(song), sounds).samples
    assert audio.shape[1] == 14 * HOP
    assert (audio[:, : 10 * HOP] == KEPT).all()
    assert (audio[:, 10 * HOP + 2400 :] == MADE).all()
    assert (audio[0].diff() >= 0).all()  # from the recording straight to what was made
    song, sounds = spliced(Region(0, 5, 0, 5 * HOP), 10 * HOP + broken, 4 * HOP, 0, fade)
    audio = finished(song, made(song), sounds).samples
    assert audio.shape[1] == 14 * HOP + broken
    assert (audio[:, 5 * HOP :] == KEPT).all() and (audio[:, : 5 * HOP - 2400] == MADE).all()


def test_latents_that_hold_no_sound_are_an_error() -> None:
    latents = torch.ones(4, 8)
    check_latents(latents, plain())
    with pytest.raises(RenderFailed, match="seed 1: all 32 latent values are zero"):
        check_latents(torch.zeros(4, 8), plain())
    latents[1, 2], latents[0, 0] = float("nan"), float("inf")
    with pytest.raises(RenderFailed, match="seed 1: 2 of 32 latent values are not numbers"):
        check_latents(latents, plain())
