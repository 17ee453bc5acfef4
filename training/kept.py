"""The official folders of what `training/checkpoints` keeps: milestones and states, untrained on.

CHECKPOINTS has a folder for each part (`Part`), each with a milestone (`Loop.milestone`) or a
state (`Loop.save`). What is written is what the training programs would have written then.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Literal

import torch

import dit
import encoder
import language
import vae
from latents import Analysis
from loop import kept
from networks import LM, TEXT, Networks, Shape, Sizes, write
from oobleck import Decoder, nano_config
from silence import silence

Part = Literal["dit", "vae", "encoder", "language"]
PARTS: tuple[Part, ...] = ("dit", "vae", "encoder", "language")
CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
MILESTONE, STATE = "milestone.pt", "state.pt"


def find(part: Part, checkpoints: Path = CHECKPOINTS) -> Path | None:
    """The file that is kept of a part; None where nothing is."""
    found = (checkpoints / part / name for name in (MILESTONE, STATE))
    return next((file for file in found if file.is_file()), None)


def write_part(part: Part, file: Path, out: Path) -> None:
    """Write a part's official folders into `out`."""
    if part == "dit":
        recipe = dit.Recipe()
        vocabulary = dit.tokenizer(recipe, out / TEXT)
        networks = Networks(recipe.shape, vocabulary)
        networks.load_state_dict(kept(file))
        quiet = torch.from_numpy(silence(Analysis.usual()))
        write(networks, Sizes.of(recipe.shape, vocabulary), quiet, out)
    elif part == "vae":
        settings = vae.Recipe()
        decoder = Decoder(nano_config(settings.width))
        decoder.load_state_dict(kept(file))
        vae.write(decoder, settings, out / "vae")
    elif part == "encoder":
        encoder.write(kept(file), out / "vae")
    else:
        language.prepare(language.Recipe(), out / LM, prod(Shape().levels))
        language.write(kept(file), out / LM)
