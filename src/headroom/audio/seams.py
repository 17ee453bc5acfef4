"""Overlapping tiles for long tensors, and splices of one sound into another without a click.

`split` and `join` are for networks that run piece by piece: a halo as wide as the receptive field
makes each core exact, so no blending is needed. `crossfade` and `splice` are for two recordings of
the same music that differ slightly. Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headroom.audio.wave import Audio

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tile:
    """A core [start, stop) and the window [window_start, window_stop) that it is computed from."""

    start: int
    stop: int
    window_start: int
    window_stop: int


def split(total: int, core: int, halo: int) -> tuple[Tile, ...]:
    """Tiles whose cores cover [0, total) in order, each at most `core` long.

    A window extends `halo` beyond its core on both sides, but never outside [0, total).
    """
    if total < 0 or core < 1 or halo < 0:
        raise ValueError(f"cannot split {total} into cores of {core} with halos of {halo}")
    ends = ((start, min(start + core, total)) for start in range(0, total, core))
    return tuple(Tile(a, b, max(0, a - halo), min(total, b + halo)) for a, b in ends)


def join(pieces: Iterable[Tensor], tiles: Sequence[Tile], scale: int = 1) -> Tensor:
    """The cores of `pieces`, one after the other along the last dimension.

    A piece is what was computed from a tile's window: [..., scale · window length]. Only one piece
    at a time is held beside the result, which is on the device of the first piece. Raises
    ValueError if pieces and tiles do not match.
    """
    out: Tensor | None = None
    for piece, tile in zip(pieces, tiles, strict=True):
        if piece.shape[-1] != scale * (tile.window_stop - tile.window_start):
            raise ValueError(f"a piece of {piece.shape[-1]} does not belong to {tile} x {scale}")
        if out is None:
            out = piece.new_empty(*piece.shape[:-1], scale * tiles[-1].stop)
        lead = scale * (tile.start - tile.window_start)
        span = scale * (tile.stop - tile.start)
        out[..., scale * tile.start : scale * tile.stop] = piece[..., lead : lead + span]
    if out is None:
        raise ValueError("nothing to join")
    return out


def crossfade(a: Tensor, b: Tensor, n: int) -> Tensor:
    """`a`, then `b`; the last `n` samples of `a` turn into the first `n` of `b`.

    [..., p] and [..., q] → [..., p + q − n]. Both gains are linear and sum to 1 (equal gain), which
    suits similar signals; neither reaches 0 or 1 within the fade.
    """
    if not 0 <= n <= min(a.shape[-1], b.shape[-1]):
        raise ValueError(f"a fade of {n} does not fit into {a.shape[-1]} and {b.shape[-1]}")
    whole = a.new_empty(*a.shape[:-1], a.shape[-1] + b.shape[-1] - n)
    edge = a.shape[-1] - n
    whole[..., :edge] = a[..., :edge]
    whole[..., a.shape[-1] :] = b[..., n:]
    gain = a.new_ones(n).cumsum(-1) / (n + 1)
    whole[..., edge : a.shape[-1]] = a[..., edge:] * (1 - gain) + b[..., :n] * gain
    return whole


def splice(
    generated: Audio,
    source: Audio,
    start_sample: int,
    stop_sample: int,
    fade_seconds: float,
    recorded: tuple[int, int] | None = None,
) -> Audio:
    """`generated` inside [start_sample, stop_sample), and `source`, bit for bit, outside of it.

    The cross-fades lie inside the region, at its edges, so that the source is unchanged outside.
    A fade lasts `fade_seconds`, but at most half the region (the whole region if it has only one
    inner edge). There is no fade where the region touches an end of the song; with 0 s the cut is
    hard.

    recorded: the samples [first, last) of `source` that belong to the recording; the rest is
    padding for outpainting. None: all of them. If the recording stops at the edge of the region,
    there is nothing to fade from: `generated` then starts from the recording's last value, and the
    step between the two decays over the fade instead of dipping into silence.

    Raises ValueError if rates, channels, lengths and the region do not match.
    Source: ACE-Step 1.5, waveform splice; the shape of the fade is our own.
    """
    total = generated.frames
    first, last = recorded or (0, source.frames)
    if (source.rate, source.channels, source.frames) != (generated.rate, generated.channels, total):
        raise ValueError("generated and source differ in rate, channels or length")
    if not 0 <= start_sample < stop_sample <= total or not fade_seconds >= 0:
        raise ValueError(f"no region [{start_sample}, {stop_sample}) of {total} samples")
    head, tail = start_sample > 0, stop_sample < total
    covered = (first == 0 and last >= start_sample) or not head
    if not covered or (tail and not (first <= stop_sample and last == total)):
        raise ValueError(f"the recording [{first}, {last}) leaves gaps outside the region")
    samples = generated.samples
    original = _continued(samples, source.samples, first, last)
    room = (stop_sample - start_sample) // (2 if head and tail else 1)
    n = min(round(fade_seconds * generated.rate), room)
    whole = samples[:, start_sample:stop_sample]
    if head:
        whole = crossfade(original[:, : start_sample + n], whole, n)
    if tail:
        whole = crossfade(whole, original[:, stop_sample - n :], n)
    return Audio(whole, generated.rate)


def _continued(samples: Tensor, original: Tensor, first: int, last: int) -> Tensor:
    """`original` with `samples` before and after the recording, shifted to join without a step."""
    if (first, last) == (0, original.shape[1]) or first >= last:
        return original
    out = original.clone()
    out[:, last:] = samples[:, last:] + (original[:, last - 1 : last] - samples[:, last - 1 : last])
    out[:, :first] = samples[:, :first] + (
        original[:, first : first + 1] - samples[:, first : first + 1]
    )
    return out
