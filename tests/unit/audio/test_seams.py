from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv1d, pad

from headroom.audio.seams import Tile, crossfade, join, splice, split
from headroom.audio.wave import Audio

RATE = 1000


# --- tiles -------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 500), core=st.integers(1, 200), halo=st.integers(0, 50))
def test_cores_cover_the_whole_once_and_windows_reach_beyond(
    total: int, core: int, halo: int
) -> None:
    tiles = split(total, core, halo)
    assert [i for t in tiles for i in range(t.start, t.stop)] == list(range(total))
    for tile in tiles:
        assert 0 < tile.stop - tile.start <= core
        assert tile.window_start == max(0, tile.start - halo)
        assert tile.window_stop == min(total, tile.stop + halo)


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 120),
    core=st.integers(1, 50),
    reach=st.integers(0, 6),
    scale=st.integers(1, 4),
)
def test_pieces_computed_from_windows_join_to_the_whole(
    total: int, core: int, reach: int, scale: int
) -> None:
    """A filter as wide as the halo, then each value `scale` times: the tiled result is exact."""
    generator = torch.Generator().manual_seed(total)
    x = torch.randint(-9, 10, (2, 1, total), generator=generator).double()
    kernel = torch.randint(-9, 10, (1, 1, 2 * reach + 1), generator=generator).double()

    def network(window: Tensor) -> Tensor:
        return conv1d(pad(window, (reach, reach)), kernel).repeat_interleave(scale, dim=-1)

    tiles = split(total, core, reach)
    pieces = (network(x[..., t.window_start : t.window_stop]) for t in tiles)
    assert torch.equal(join(pieces, tiles, scale), network(x))


def test_a_halo_too_small_is_seen() -> None:
    x, kernel = torch.arange(20.0)[None, None], torch.ones(1, 1, 5)

    def network(window: Tensor) -> Tensor:
        return conv1d(pad(window, (2, 2)), kernel)

    tiles = split(20, 7, 1)
    pieces = (network(x[..., t.window_start : t.window_stop]) for t in tiles)
    assert not torch.equal(join(pieces, tiles), network(x))


@pytest.mark.parametrize("bad", [(-1, 1, 0), (5, 0, 0), (5, 1, -1)])
def test_sizes_that_cannot_be_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split(*bad)


def test_pieces_that_do_not_belong_are_refused() -> None:
    tiles = (Tile(0, 4, 0, 5), Tile(4, 8, 3, 8))
    with pytest.raises(ValueError, match="does not belong"):
        join([torch.zeros(4), torch.zeros(5)], tiles)
    with pytest.raises(ValueError):
        join([torch.zeros(5)], tiles)
    with pytest.raises(ValueError, match="nothing"):
        join([], ())


# --- fades -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(p=st.integers(1, 40), q=st.integers(1, 40), data=st.data())
def test_a_crossfade_of_equal_signals_is_the_signal(p: int, q: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, min(p, q)))
    x = torch.rand(2, p + q - n, generator=torch.Generator().manual_seed(p * q))
    torch.testing.assert_close(crossfade(x[:, :p], x[:, p - n :], n), x)


def test_the_gains_of_a_crossfade_are_linear() -> None:
    got = crossfade(torch.zeros(1, 5), torch.ones(1, 6), 4)
    assert got[0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])


def test_a_crossfade_longer_than_its_signals_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        crossfade(torch.zeros(1, 3), torch.zeros(1, 9), 4)


# --- splices -----------------------------------------------------------------------------


def sound(frames: int, seed: int) -> Audio:
    return Audio(torch.rand(2, frames, generator=torch.Generator().manual_seed(seed)), RATE)


@settings(max_examples=150, deadline=None)
@given(total=st.integers(1, 400), fade=st.floats(0, 1), data=st.data())
def test_outside_the_region_every_sample_is_the_sources(
    total: int, fade: float, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, total - 1))
    stop = data.draw(st.integers(start + 1, total))
    made, source = sound(total, 1), sound(total, 2)
    got = splice(made, source, start, stop, fade).samples
    assert got.shape == made.samples.shape
    assert torch.equal(got[:, :start], source.samples[:, :start])
    assert torch.equal(got[:, stop:], source.samples[:, stop:])
    edges = (start > 0) + (stop < total)
    n = min(round(fade * RATE), (stop - start) // max(edges, 1))
    inner = slice(start + n if start else 0, stop - n if stop < total else total)
    assert torch.equal(got[:, inner], made.samples[:, inner])
    low = torch.minimum(made.samples, source.samples) - 1e-6
    high = torch.maximum(made.samples, source.samples) + 1e-6
    assert bool(((low <= got) & (got <= high)).all())


def test_a_splice_leaves_its_inputs_alone() -> None:
    made, source = sound(100, 1), sound(100, 2)
    before = made.samples.clone(), source.samples.clone()
    splice(made, source, 20, 60, 0.01)
    assert torch.equal(made.samples, before[0]) and torch.equal(source.samples, before[1])


def tone(frames: int, level: float) -> Audio:
    wave = torch.sin(torch.arange(frames) * 0.05)
    return Audio((level * wave)[None], RATE)


def largest_step(audio: Audio, around: int, reach: int = 5) -> float:
    return float(audio.samples[0, around - reach : around + reach].diff().abs().max())


def test_a_fade_leaves_no_click_where_a_hard_cut_leaves_one() -> None:
    made, source = tone(1000, 0.9), tone(1000, 0.4)
    at = 535  # near a crest
    assert largest_step(splice(made, source, at, 800, 0.0), at) > 0.4
    assert largest_step(splice(made, source, at, 800, 0.05), at) < 0.06


@pytest.mark.parametrize("known", [(0, 600), (283, 1000)])
def test_beyond_a_recording_that_ends_the_song_goes_on_without_a_dip(
    known: tuple[int, int],
) -> None:
    """Outpainting: the source is silence in the region, and must not be faded in from there."""
    made, source = tone(1000, 0.9), tone(1000, 0.8)
    first, last = known
    source.samples[:, :first] = 0
    source.samples[:, last:] = 0
    start, stop = (last, 1000) if last < 1000 else (0, first)
    edge = start or stop
    got = splice(made, source, start, stop, 0.05, known)
    assert torch.equal(got.samples[:, first:last], source.samples[:, first:last])
    assert largest_step(got, edge, 60) < 0.07
    inside = got.samples[:, start + 50 :] if start else got.samples[:, : stop - 50]
    theirs = made.samples[:, start + 50 :] if start else made.samples[:, : stop - 50]
    assert torch.equal(inside, theirs)
    dip = splice(made, source, start, stop, 0.05)
    assert largest_step(dip, edge) > 0.2, "without saying what is padding there is a click"


@pytest.mark.parametrize(
    ("made", "source", "region", "known"),
    [
        (sound(10, 1), sound(11, 2), (2, 5), None),
        (sound(10, 1), Audio(sound(10, 2).samples, 44), (2, 5), None),
        (sound(10, 1), Audio(torch.zeros(1, 10), RATE), (2, 5), None),
        (sound(10, 1), sound(10, 2), (5, 5), None),
        (sound(10, 1), sound(10, 2), (-1, 5), None),
        (sound(10, 1), sound(10, 2), (2, 11), None),
        (sound(10, 1), sound(10, 2), (4, 10), (0, 3)),
        (sound(10, 1), sound(10, 2), (0, 4), (5, 10)),
        (sound(10, 1), sound(10, 2), (3, 6), (0, 8)),
    ],
)
def test_what_does_not_belong_together_is_refused(
    made: Audio, source: Audio, region: tuple[int, int], known: tuple[int, int] | None
) -> None:
    with pytest.raises(ValueError):
        splice(made, source, *region, 0.01, known)


def test_a_fade_is_no_negative_number() -> None:
    with pytest.raises(ValueError):
        splice(sound(10, 1), sound(10, 2), 2, 5, float("nan"))
