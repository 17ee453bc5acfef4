"""Compute the working memory of an Oobleck decode or encode by arithmetic, without torch.

The peak counts the live tensors of eager code, input and output of a tile included. A library's own
copies (oneDNN reorders one convolution's weights at a time) are not counted: `largest_reorder` says
how large they can be.
"""

from __future__ import annotations

from headroom.nn.minimal_filter_sizes import OUTPUTS, POINTS, TAPS
from headroom.nn.oobleck_layout import DEEP_BLOCKS, DILATIONS, KERNEL, OobleckConfig, spread


def decode_bytes(
    config: OobleckConfig,
    frames: int,
    core_frames: int,
    wide_frames: int | None,
    batch: int = 1,
    itemsize: int = 4,
    minimal_from: int | None = None,
) -> int:
    """Bytes at the peak of `decode_tiled` for a song of `frames`, without its output.

    `wide_frames`: frames per piece of the wide blocks, None for the whole tile; `minimal_from`: the
    least width that was passed to `filter_minimally`.
    """
    core = spread(frames, core_frames, config.decode_halo)
    tile = min(frames, core + 2 * config.decode_halo)
    rows = tile * config.deep_rate
    if wide_frames is None:  # what a tile at an end keeps, plus its wide halo
        core_rows = (core + config.decode_halo) * config.deep_rate + config.wide_halo
        cut = rows if tile == frames else min(rows, core_rows)
    else:
        cut = min(rows, wide_frames * config.deep_rate + 2 * config.wide_halo)
    widths, strides = config.decoder_widths, config.strides
    deep = 2 * tile * widths[0]
    deep = max(deep, _up(tile, widths, strides, 0, DEEP_BLOCKS, minimal_from))
    between = (rows + cut) * widths[DEEP_BLOCKS]  # the tile, and the piece copied from it
    wide = _up(cut, widths, strides, DEEP_BLOCKS, len(strides), minimal_from)
    samples = cut * config.hop // config.deep_rate
    wide = max(wide, samples * (2 * widths[-1] + config.audio_channels))
    return batch * itemsize * max(deep, between + wide)


def encode_bytes(
    config: OobleckConfig, frames: int, core_frames: int, batch: int = 1, itemsize: int = 4
) -> int:
    """Bytes at the peak of `encode_tiled` for `frames` latent frames, without its output."""
    core = spread(frames, core_frames, config.encode_halo)
    tile = min(frames, core + 2 * config.encode_halo) + 1  # plus an incomplete frame
    rows, peak = tile * config.hop, 0
    for width, after, stride in zip(
        config.encoder_widths, config.encoder_widths[1:], config.ratios, strict=False
    ):
        peak = max(peak, 3 * rows * width, 2 * rows * width + rows // stride * after)
        rows //= stride
    return batch * itemsize * (peak + tile * config.hop * config.audio_channels)


def decode_flops(config: OobleckConfig, frames: int) -> float:
    """Floating-point operations to decode `frames` latent frames; encoding takes about as many."""
    widths, rows = config.decoder_widths, frames
    total = 2.0 * rows * config.latent_channels * KERNEL * widths[0]
    for before, after, stride in zip(widths, widths[1:], config.strides, strict=False):
        total += 2.0 * rows * 2 * before * stride * after
        rows *= stride
        total += len(DILATIONS) * 2.0 * rows * after * after * (KERNEL + 1)
    return total + 2.0 * rows * widths[-1] * KERNEL * config.audio_channels


def largest_reorder(config: OobleckConfig, itemsize: int = 4) -> int:
    """Bytes of the largest weight that a convolution library may reorder in a call."""
    width = max(config.decoder_widths[1:])
    return KERNEL * width * width * itemsize


def _up(
    rows: int,
    widths: tuple[int, ...],
    strides: tuple[int, ...],
    first: int,
    last: int,
    minimal_from: int | None,
) -> int:
    """Elements at the peak of the decoder blocks [first, last)."""
    peak = 0
    for index in range(first, last):
        before, after, stride = widths[index], widths[index + 1], strides[index]
        # x, its Snake, and the upsampled rows: one input row too many; the first unit has a view.
        held = (rows + 1) * stride * after
        peak = max(peak, 2 * rows * before + held)
        rows *= stride
        for dilation in DILATIONS:
            unit = after * unit_rows(rows, after, dilation, minimal_from)
            peak = max(peak, unit - after * rows + held)
            held = after * rows
    return peak


def unit_rows(rows: int, width: int, dilation: int, minimal_from: int | None) -> int:
    """Rows alive at the peak of a residual unit, those of its input included."""
    if minimal_from is None or width < minimal_from:
        return 3 * rows
    groups = -(-rows // (OUTPUTS * dilation)) * dilation
    padded = OUTPUTS * groups + (TAPS - 1) * dilation
    return 2 * rows + padded + 2 * POINTS * groups
