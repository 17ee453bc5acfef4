"""Whole songs through the product's own plan, pool, run and render, with random weights.

Nothing but the weights is made up: they are drawn on the device, kept on the host, and from there
they go the way of any checkpoint.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from gpu_check.bench import Bench, Row, drawn
from gpu_check.sizes import NANO
from headroom.hardware.probe import probe_device
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.footprint import songs_footprint
from headroom.models.acestep.networks import component_names
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.render import render
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import variant_of
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.nn.oobleck import Decoder, Encoder
from headroom.runtime.events import StageDone
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.weights.silence import load_silence

WORDS = "[verse]\nOver the water the evening is falling\n[chorus]\nCarry me home\n" * 8
ROOM = 1.1  # a stage may take this much more than was planned, plus a fixed slack
SLACK = 64 << 20


def loaders(bench: Bench) -> Mapping[str, Callable[[], object]]:
    """Every network with random weights, in host memory."""
    config, text, vae = bench.sizes.config, bench.sizes.text, bench.sizes.vae
    builds: dict[str, Callable[[], nn.Module]] = {
        component_names.TEXT_ENCODER: lambda: text_encoder(text),
        component_names.CONDITIONER: lambda: Conditioner(config),
        component_names.CODES: lambda: CodesNetwork(config),
        component_names.TIME: lambda: TimePath(config.dit.width),
        component_names.DIT: lambda: DiT(config),
        component_names.VAE_ENCODER: lambda: Encoder(vae),
        component_names.VAE_DECODER: lambda: Decoder(vae),
    }
    return {name: partial(_on_host, bench, build) for name, build in builds.items()}


def _on_host(bench: Bench, build: Callable[[], nn.Module]) -> nn.Module:
    return drawn(build, bench.where, bench.fast).to("cpu")


def songs(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    pool = Pool(bench.device, loaders(bench))
    try:
        for seconds in bench.sizes.songs:
            for how in (Residency.RESIDENT, Residency.SWAPPED):
                if bench.where.type == "cpu" and how is Residency.SWAPPED:
                    continue
                rows += _song(bench, pool, seconds, how)
    finally:
        pool.release()
    return rows


def _song(bench: Bench, pool: Pool, seconds: int, how: Residency) -> list[Row]:
    """The same song twice under one plan: the second without loading, and with the same bytes."""
    made, plan = _planned(bench, seconds, how)
    rows: list[Row] = []
    digests = []
    for turn in ("first", "again"):
        run = Run(plan, pool, bench.device)
        began = time.perf_counter()
        (audio,) = render((made,), run, _assets(bench))
        took = time.perf_counter() - began
        digests.append(hashlib.sha256(audio.samples.contiguous().numpy().tobytes()).hexdigest())
        rows.append(
            {
                "song": seconds,
                "residency": how.name.lower(),
                "turn": turn,
                "seconds": took,
                "times_real_time": seconds / took,
                "ok": bool(torch.isfinite(audio.samples).all()),
                "stages": [
                    {
                        "stage": done.stage,
                        "seconds": done.seconds,
                        "loading": done.loading,
                        "planned_bytes": done.planned,
                        "measured_bytes": done.measured,
                    }
                    for done in run.report
                ],
            }
        )
    if bench.where.type != "cpu":  # a host's resident set is no measure of a stage
        rows += [_within(done, seconds, how) for done in run.report]
    same = digests[0] == digests[1]
    rows.append({"check": f"same bytes twice, {seconds} s, {how.name.lower()}", "ok": same})
    return rows


def _within(done: StageDone, seconds: int, how: Residency) -> Row:
    """Whether a stage stayed in the memory that was planned for it."""
    within = done.measured <= done.planned * ROOM + SLACK
    name = f"memory of {done.stage}, {seconds} s, {how.name.lower()}"
    return {"check": name, "ok": within, "planned": done.planned, "measured": done.measured}


def composed(bench: Bench, seconds: int) -> Song:
    """A song of so many seconds with lyrics of some length."""
    variant = variant_of(bench.sizes.raw, NANO)
    request = Text2Music(caption="slow bossa nova, nylon guitar", lyrics=WORDS, duration=seconds)
    return compose(request, variant, (7,)).songs[0]


def networks(bench: Bench) -> Networks:
    """The sizes as plans take them."""
    dtype = str(bench.fast).removeprefix("torch.")
    return Networks(bench.sizes.config, bench.sizes.text, bench.sizes.vae, dtype)


def _planned(bench: Bench, seconds: int, how: Residency) -> tuple[Song, Plan]:
    song = composed(bench, seconds)
    wishes = Wishes(residency=how) if bench.where.type != "cpu" else Wishes()
    return song, make_plan(
        songs_footprint((song,), networks(bench)), probe_device(bench.device), wishes
    )


def _assets(bench: Bench) -> Assets:
    silence = load_silence(NANO / "acestep-v15-nano")
    return Assets(
        bench.sizes.config, silence.float(), PromptTokenizer.open(NANO / "Qwen3-Embedding-0.6B")
    )
