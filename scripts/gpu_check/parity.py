"""Every network on the device against ourselves in fp32 on the host, same weights, same inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from gpu_check.bench import Bench, Row, drawn, near, normal
from gpu_check.loops import METHODS, denoise
from headroom.diffusion.schedule import turbo
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.nn.oobleck import Decoder, Encoder
from headroom.nn.oobleck_tiles import decode_tiled
from headroom.runtime.prepare import bring

EXACT, HALF = 1e-4, 4e-2  # relative distance allowed in fp32 (TF32 off) and in bf16
HOST = torch.device("cpu")
Forward = Callable[[nn.Module, torch.device, torch.dtype], Tensor]


def parity(bench: Bench) -> list[Row]:
    rows = []
    for name, build, forward in _networks(bench):
        reference_module = drawn(build, HOST, torch.float32)
        with torch.inference_mode():
            reference = forward(reference_module, HOST, torch.float32)
        for dtype, allowed in ((torch.float32, EXACT), (torch.bfloat16, HALF)):
            module = copy.deepcopy(reference_module).to(dtype)
            bring(module, bench.where)
            with torch.inference_mode():
                ours = forward(module, bench.where, dtype)
            kind = str(dtype).removeprefix("torch.")
            rows.append(near(f"{name}, {kind}", ours.float(), reference, allowed))
    return rows


def _networks(bench: Bench) -> Iterator[tuple[str, Callable[[], nn.Module], Forward]]:
    config, text, vae = bench.sizes.shallow, bench.sizes.text, bench.sizes.vae
    yield "time path", lambda: TimePath(config.dit.width), _time
    for name, frames in zip(("equal", "ragged", "long"), bench.sizes.batches, strict=True):
        yield f"dit, {name}", lambda: DiT(config), _dit(frames, False)
        yield f"dit, {name}, guided", lambda: DiT(config), _dit(frames, True)
    yield "text encoder", lambda: text_encoder(text), _text
    yield "condition encoder", lambda: Conditioner(config), _conditions
    yield "detokenizer", lambda: CodesNetwork(config), _detokenized
    yield "vae decoder", lambda: Decoder(vae), _decoded
    yield "vae encoder", lambda: Encoder(vae), _encoded


def _time(module: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    # Times that bf16 holds exactly: the product 1000·t is rounded to the model's type by design.
    e, m = module((1.0, 0.5, 0.25))
    return torch.cat((e.unsqueeze(1), m), 1)


def _dit(frames: Sequence[int], guided: bool) -> Forward:
    def forward(dit: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
        assert isinstance(dit, DiT)
        width, latent, rows = dit.config.dit.width, dit.config.latent_channels, 300
        encoded = dit.config.encoder.width

        def given(*shape: int, seed: int) -> Tensor:
            return normal(*shape, seed=seed).to(where, dtype)

        layout = dit.layout(frames)
        null = given(1, 1, encoded, seed=2)
        table = dit.modulation(given(1, width, seed=0) * 0.3, given(1, 6, width, seed=1) * 0.3)
        cross = dit.condition(
            given(rows * len(frames), encoded, seed=3), [rows] * len(frames), null
        )
        shape = (len(frames), max(frames), latent)
        x, source, mask = (given(*shape, seed=s) for s in (4, 5, 6))
        if layout.keep is not None:
            x, source, mask = (y * layout.keep for y in (x, source, mask))
        context = dit.context(source, mask, layout)
        velocity: Tensor = dit(x.float(), context, table.at(0), cross, layout, guided)
        return velocity

    return forward


def _text(encoder: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    ids = (torch.arange(150) * 7 % 250).to(where)
    rows: Tensor = encoder(ids, [90, 60])
    return rows


def _conditions(conditioner: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    assert isinstance(conditioner, Conditioner)
    encoder = conditioner.encoder
    width, frames = encoder.text_projector.in_features, 200
    text, lyrics, timbre = (
        normal(*shape, seed=i).to(where, dtype)
        for i, shape in enumerate(((70, width), (900, width), (2, frames, 64)))
    )
    rows: Tensor = encoder(text, [40, 30], lyrics, [700, 200], timbre, [1, 1])[0]
    return rows


def _detokenized(codes: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    assert isinstance(codes, CodesNetwork)
    index = (torch.arange(60) * 997 % 64_000).view(1, -1).to(where)
    latents: Tensor = codes.detokenizer(codes.tokenizer.quantizer.decode(index))
    return latents


def _decoded(decoder: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    assert isinstance(decoder, Decoder)
    latents = normal(1, decoder.config.latent_channels, 40).to(where, dtype)
    return decode_tiled(decoder, latents, 16)


def _encoded(encoder: nn.Module, where: torch.device, dtype: torch.dtype) -> Tensor:
    mean, std = encoder(normal(1, 2, 1920 * 20).to(where, dtype) * 0.3)
    return torch.cat((mean, std), 1)


def sampler(bench: Bench) -> list[Row]:
    """A whole run in fp32 on both: what a song's latents differ by."""
    dit = drawn(lambda: DiT(bench.sizes.shallow), HOST, torch.float32)
    twin = copy.deepcopy(dit)
    bring(twin, bench.where)
    schedule, rows = turbo(8, 3.0), []
    for name, sampling in METHODS.items():
        with torch.inference_mode():
            here = denoise(dit, sampling, schedule, HOST, bench.sizes.run)
            there = denoise(twin, sampling, schedule, bench.where, bench.sizes.run)
        rows.append(near(f"8 steps, {name}", there, here, 1e-3))
    return rows
