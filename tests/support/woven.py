"""A family small enough to be interrupted thousands of times: four parts whose blocks may pass
through, two stages, and a tensor that stays on the device between them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.device import AUTO
from headroom.engine.engine import Engine
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.memory.plan import Residency, Wishes
from headroom.models.base import Loader
from headroom.runtime.card import Card
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step
from headroom.settings import load
from headroom.units import MIB
from support.pool_model import BLOCKS, RELEASED, WIDTHS, Part, part_of
from tone_model.model import ToneModel, ToneSong
from tone_model.requests import Tone

RATE, FRAME = 48_000, 1920
ASKED = Tone(duration=0.1, seed=3, steps=1)
NAMES = ("a", "b", "c")
ROOM = {"MAX_CUDA_VRAM": "24"}


class Woven(ToneModel):
    """Sounds like nothing; each sample tells what the parts computed."""

    name = "woven"
    workspace = MIB  # bytes that each stage is planned to need
    apart = False  # whether its stages may be on two cards, with what passes between in host memory

    def footprint(self, songs: tuple[ToneSong, ...]) -> Footprint:
        def component(name: str) -> Component:
            width, item = WIDTHS[name], RELEASED[name].itemsize
            matrix = width * width * item
            precision = str(RELEASED[name]).removeprefix("torch.")
            return Component(name, (matrix,) * BLOCKS, width * item, precision)

        ways = (Way(self.workspace),)
        return Footprint(
            tuple(component(name) for name in NAMES),
            (Stage("denoise", ("a", "c"), ways, result=MIB), Stage("decode", ("b",), ways)),
            (1,) if self.apart else (),
        )

    def loaders(self) -> Mapping[str, Loader]:
        return {name: partial(part_of, name) for name in NAMES}

    def render(self, songs: tuple[ToneSong, ...], run: Run) -> tuple[Audio, ...]:
        def first(step: Step, parts: Parts) -> Tensor:
            made = [parts.of(name, Part)().to(step.device) for name in ("a", "c")]
            step.progress(1, 1)
            made = [torch.cat([one.flatten() for one in made])]
            return made[0].cpu() if self.apart else made[0]  # else it stays on the device

        def second(step: Step, parts: Parts) -> Tensor:
            made = parts.of("b", Part)().to(step.device).float().flatten()
            step.progress(1, 1)
            return torch.cat((latents.to(step.device), made)).cpu()

        latents = run.stage("denoise", first)
        run.keep("latents", latents[None])
        sound = run.stage("decode", second)
        frames = songs[0].frames * FRAME
        return tuple(
            Audio(sound.repeat(2, frames // len(sound) + 1)[:, :frames], RATE) for _ in songs
        )


def woven(
    residency: Residency,
    env: Mapping[str, str] = ROOM,
    threads: int | None = None,
    card: Card | tuple[Card, ...] | None = None,
    model: Woven | None = None,
) -> Engine:
    """An engine of it on a simulated card, all parts in one residency."""
    made = Engine(
        AUTO if card else "simulated", "float32", family="tone", threads=threads, card=card,
        wishes=Wishes(residency, ()), quantization="none", settings=load(env),
    )  # fmt: skip
    vars(made)["model"] = model or Woven()
    return made
