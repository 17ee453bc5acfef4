"""The decoder by tile, and by layout of its weights, with what it allocates."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from gpu_check.bench import Bench, Row, drawn, near, normal, timing
from gpu_check.song import composed, networks
from headroom.models.acestep.cost.footprint import song_stages
from headroom.nn.oobleck import Decoder
from headroom.nn.oobleck_layout import KERNEL, OobleckConfig
from headroom.nn.oobleck_tiles import decode_tiled


def operations(vae: OobleckConfig, frames: int) -> float:
    """Floating-point operations of decoding `frames` latent frames whole; 2 a multiplication."""
    widths = vae.decoder_widths
    total, rate = vae.latent_channels * widths[0] * KERNEL, 1
    for i, stride in enumerate(vae.strides):
        rate *= stride
        total += widths[i] * widths[i + 1] * 2 * rate
        total += 3 * widths[i + 1] ** 2 * (KERNEL + 1) * rate
    total += vae.audio_channels * widths[-1] * KERNEL * rate
    return 2.0 * total * frames


def activation_bytes(vae: OobleckConfig, frames: int, size: int) -> float:
    """Bytes the convolutions must read and write, each activation once: 9 maps a block."""
    total = 0.0
    for i, _ in enumerate(vae.strides):
        rate = prod(vae.strides[: i + 1])
        total += 9 * 2 * vae.decoder_widths[i + 1] * rate * size
    return total * frames


def decodes(bench: Bench) -> list[Row]:
    vae = bench.sizes.vae
    rows: list[Row] = []
    plain = drawn(lambda: Decoder(vae), bench.where, bench.fast)
    decoders = {"as loaded": plain}
    if bench.where.type == "cuda":
        last = drawn(lambda: Decoder(vae), bench.where, bench.fast)
        for parameter in last.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        decoders["channels-last weights"] = last
    for seconds in bench.sizes.decodes:
        frames = seconds * 25
        every = song_stages((composed(bench, seconds),), networks(bench))
        ways = [way for stage in every if stage.name == "decode" for way in stage.ways]
        planned = {way.tile: way.workspace for way in ways if way.leaves}
        tiles = (1024, 512, 256, 128, frames) if bench.where.type != "cpu" else (64,)
        latents = normal(1, vae.latent_channels, frames).to(bench.where, bench.fast)
        first: Tensor | None = None
        for name, decoder in decoders.items():
            for tile in tiles:
                row: Row = {"seconds_of_audio": seconds, "layout": name, "tile": tile}
                try:
                    took, audio = _decode(bench, decoder, latents, tile)
                except torch.OutOfMemoryError as error:  # a whole song need not fit
                    rows.append({**row, "error": str(error), "ok": tile == frames})
                    continue
                first = audio if first is None else first
                same = near(f"decode, {name}, tile {tile}", audio, first, 3e-2)
                rows.append({**row, "planned_bytes": planned.get(tile), **same, **took})
    return rows


def _decode(bench: Bench, decoder: Decoder, latents: Tensor, tile: int) -> tuple[Row, Tensor]:
    frames = latents.shape[-1]
    size = latents.element_size()
    out = torch.empty(1, decoder.config.audio_channels, frames * decoder.config.hop)

    def work() -> Tensor:
        with torch.inference_mode():
            return decode_tiled(decoder, latents, tile, out=out)

    held = bench.device.memory_allocated()
    bench.device.reset_peak()
    work()
    bench.device.synchronize()
    used = max(0, bench.device.max_memory_allocated() - held)
    floor = bench.floor(
        operations(bench.sizes.vae, frames), activation_bytes(bench.sizes.vae, frames, size)
    )
    row: Row = {
        "measured_bytes": used,
        **timing(bench.seconds(work, repeats=3), floor),
    }
    return row, out.clone()
