"""Encode or decode a song in tiles of time that join exactly, without a seam.

Oobleck is convolutional, so a frame depends only on a few neighbours: a window with that many
frames beyond its core (the halo) gives the core exactly, and no cross-fade is needed. At the true
ends there is no halo: the zero padding there is the network's own.

All windows of a song have the same length; the last is moved left instead of being shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.host_compiler import host_compiler
from headroom.log import log
from headroom.nn.oobleck import Decoder, Encoder, filter_minimally, memory_format
from headroom.nn.oobleck_layout import OobleckConfig, spread

TileProgress = Callable[[int, int], None]  # latent frames done, and total; raise to cancel
Wide = Callable[[Tensor], Tensor]

# From partial measurements on two loaded AVX-512 cores; `vae_decode.py --tiles` is still to run.
CORE_FRAMES = 256
ENCODE_FRAMES = 64
EAGER_PIECE = 8  # frames whose rows fit a CPU's cache in fp32; see `piece_frames`
COMPILED_PIECE = 4
MINIMAL_EAGER = 256  # the least width at which a minimal filter is faster than oneDNN's own
MINIMAL_COMPILED = 1


@dataclass(frozen=True, slots=True)
class Pieces:
    """How the wide blocks of a decoder run: by which function, and how many frames at a time.

    On a CPU few frames, so that their rows fit its cache; elsewhere None: the whole tile at once.
    `minimal_from` is the least width of the minimal filters, None without any, as
    `oobleck_cost.decode_bytes` takes it.
    """

    run: Wide
    frames: int | None
    minimal_from: int | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """Compute [start, stop), keep [first, last) of it."""

    start: int
    stop: int
    first: int
    last: int


def windows(
    length: int, core: int, halo: int, first: int = 0, last: int | None = None
) -> Iterator[Tile]:
    """Cover [first, last) of [0, length) by windows of core + 2 · halo (or of `length`).

    Every kept position lies `halo` from its window's ends, except at the ends of [0, length).
    """
    if core < 1:
        raise ValueError(f"core: {core} is not allowed; allowed: 1 and more")
    last = length if last is None else last
    size = min(length, core + 2 * halo)
    while first < last:
        start = max(0, min(first - halo, length - size))
        stop = start + size
        until = last if stop == length else min(last, stop - halo)
        yield Tile(start, stop, first, until)
        first = until


def prepare(decoder: Decoder, *, compiled: bool) -> Pieces:
    """Make a loaded decoder fast on its device; returns `pieces` for `decode_tiled`.

    On a CPU in fp32 the seven-tap convolutions become minimal filters: the wide ones, or, when
    compiled, all of them. `compiled` compiles the wide blocks for one piece size, at first use;
    without a C++ compiler it is ignored. Both belong to a song's recorded numerics.
    """
    weight = decoder.conv1.weight
    on_cpu, minimal_from = weight.device.type == "cpu", None
    if compiled and on_cpu and host_compiler() is None:
        log.warning("VAE decode runs uncompiled: no C++ compiler was found")
        compiled = False
    if on_cpu and weight.dtype == torch.float32:
        minimal_from = MINIMAL_COMPILED if compiled else MINIMAL_EAGER
        filter_minimally(decoder, minimal_from)
    if not compiled:
        return Pieces(decoder.wide, piece_frames(weight), minimal_from)
    wide: Wide = torch.compile(decoder.wide, fullgraph=True, dynamic=False)
    return Pieces(wide, COMPILED_PIECE if on_cpu else None, minimal_from)


def piece_frames(like: Tensor) -> int | None:
    """Frames per piece of the wide blocks on the device of `like`, uncompiled; None: a whole tile.

    On a CPU a piece has the same number of bytes in every dtype: 8 frames in fp32, 16 in bf16.
    """
    if like.device.type != "cpu":
        return None
    return max(1, EAGER_PIECE * torch.float32.itemsize // like.dtype.itemsize)


def decode_tiled(
    decoder: Decoder,
    latents: Tensor,
    core_frames: int = CORE_FRAMES,
    *,
    halo: int | None = None,
    pieces: Pieces | None = None,
    out: Tensor | None = None,
    progress: TileProgress | None = None,
) -> Tensor:
    """Latents [B, 64, T] → audio [B, 2, 1920 · T], equal to `decoder(latents)`.

    core_frames   most latent frames a tile of the deep blocks yields; all tiles have one size
    halo          for tests; by default the smallest exact one (9)
    pieces        what `prepare` returned: how the wide blocks run inside a tile
    out           written into, on any device; by default fp32 (fp64 for fp64) on the latents'
    progress      called after each piece with the latent frames done and in total
    """
    config = decoder.config
    batch, _, frames = latents.shape
    halo = config.decode_halo if halo is None else halo
    if pieces is None:
        pieces = Pieces(decoder.wide, piece_frames(latents))
    rate, hop = config.deep_rate, config.hop // config.deep_rate
    if out is None:
        out = _samples(latents, (batch, config.audio_channels, frames * config.hop))
    for tile in windows(frames, spread(frames, core_frames, halo), halo):
        rows = decoder.deep(latents[:, :, tile.start : tile.stop])
        offset = tile.start * rate
        first, last = tile.first * rate - offset, tile.last * rate - offset
        for cut, is_whole in _cuts(rows.shape[-1], pieces.frames, config, first, last):
            target = out[..., (offset + cut.first) * hop : (offset + cut.last) * hop]
            # A song shorter than one piece is not worth compiling for its size.
            _write(target, pieces.run if is_whole else decoder.wide, rows, cut, hop)
            if progress is not None:
                progress((offset + cut.last) // rate, frames)
        del rows  # freed before the next tile's rows are made
    return out


def _cuts(
    length: int, frames: int | None, config: OobleckConfig, first: int, last: int
) -> Iterator[tuple[Tile, bool]]:
    """The windows of a tile's rows that the wide blocks process, and whether each is a full piece:
    pieces of `frames`, all of one size, or the kept part of the tile at once."""
    halo = config.wide_halo
    if frames is None:
        yield Tile(max(0, first - halo), min(length, last + halo), first, last), True
        return
    core = frames * config.deep_rate
    for cut in windows(length, core, halo, first, last):
        yield cut, cut.stop - cut.start == core + 2 * halo


def _write(target: Tensor, wide: Wide, rows: Tensor, cut: Tile, hop: int) -> None:
    """Run the wide blocks on one piece and write its result into `target`."""
    # A copy: compiled code assumes one set of strides, and a slice keeps its parent's.
    piece = rows[..., cut.start : cut.stop].clone(memory_format=memory_format(rows.device))
    audio = wide(piece)
    target.copy_(audio[..., (cut.first - cut.start) * hop : (cut.last - cut.start) * hop])


def encode_tiled(
    encoder: Encoder,
    audio: Tensor,
    core_frames: int = ENCODE_FRAMES,
    *,
    halo: int | None = None,
    out: tuple[Tensor, Tensor] | None = None,
    progress: TileProgress | None = None,
) -> tuple[Tensor, Tensor]:
    """Audio [B, 2, n] → mean and std [B, 64, floor(n / 1920)], equal to `encoder(audio)`.

    The arguments are those of `decode_tiled`; `out` is the pair of mean and std. Audio and `out`
    may be on a different device from the encoder: one tile at a time is moved.
    """
    config = encoder.config
    frames = audio.shape[-1] // config.hop
    halo = config.encode_halo if halo is None else halo
    where, dtype = encoder.conv1.weight.device, encoder.conv1.weight.dtype
    if out is None:
        shape = (audio.shape[0], config.latent_channels, frames)
        out = _samples(audio, shape), _samples(audio, shape)
    for tile in windows(frames, spread(frames, core_frames, halo), halo):
        # The last window includes the samples of the incomplete frame: they matter too.
        stop = None if tile.stop == frames else tile.stop * config.hop
        piece = audio[..., tile.start * config.hop : stop].to(where, dtype)
        for target, result in zip(out, encoder(piece), strict=True):
            core = result[..., tile.first - tile.start : tile.last - tile.start]
            target[..., tile.first : tile.last].copy_(core)
        if progress is not None:
            progress(tile.last, frames)
    return out


def _samples(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.empty(shape, dtype=dtype, device=like.device)
