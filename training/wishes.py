"""What each song of a training step is made from: task, region, reference, source and mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from headroom.models.acestep.requests.tasks import GENERATE, REPAINT, SEMANTIC

Task = Literal["text2music", "repaint", "cover"]
INSTRUCTIONS: dict[Task, str] = {"text2music": GENERATE, "repaint": REPAINT, "cover": SEMANTIC}
LEAST_REGION = 0.1  # of the song
FIND_IT = 2.0  # a mask that leaves it to the model to find the region


@dataclass(frozen=True, slots=True)
class Shares:
    """How often a song is learnt in which way; the rest is text to music."""

    repaint: float = 0.2
    cover: float = 0.2  # from its own audio codes
    null: float = 0.1  # under the null condition, for guidance
    reference: float = 0.1  # with a part of itself as the timbre reference


@dataclass(frozen=True, slots=True)
class Wish:
    """How one song is learnt.

    region     latent frames [start, stop) that a repaint makes anew
    marked     whether its mask tells the region; else the mask is 2 everywhere (`chunk_mask_mode`)
    null       whether nothing is told of it
    reference  the frame from which on it is its own timbre reference; None: silence is
    """

    task: Task
    region: tuple[int, int]
    null: bool
    reference: int | None
    marked: bool = False


def draw_wishes(
    draw: np.random.Generator, songs: int, frames: int, reach: int, shares: Shares
) -> list[Wish]:
    """For songs of so many frames, of which a timbre reference takes `reach`."""
    return [_wish(draw, frames, reach, shares) for _ in range(songs)]


def _wish(draw: np.random.Generator, frames: int, reach: int, shares: Shares) -> Wish:
    chance = draw.random()
    task: Task = "text2music"
    if chance < shares.repaint:
        task = "repaint"
    elif chance < shares.repaint + shares.cover:
        task = "cover"
    length = max(1, round(frames * draw.uniform(LEAST_REGION, 1)))
    start = int(draw.integers(-length // 4, frames - 3 * length // 4 + 1))  # often at an edge
    region = max(start, 0), min(start + length, frames)
    null, like = bool(draw.random() < shares.null), draw.random() < shares.reference
    begin = int(draw.integers(max(1, frames - reach + 1)))
    return Wish(task, region, null, begin if like else None, bool(draw.random() < 0.5))


def references(
    wishes: Sequence[Wish], clean: Tensor, silence: Tensor, reach: int
) -> tuple[Tensor, list[int]]:
    """Timbre latents [k, F, 64] with silence first, and which of them each song has."""
    reach = min(reach, clean.shape[1])
    timbre, owners = [silence[:reach]], []
    for latents, wish in zip(clean, wishes, strict=True):
        if wish.reference is not None:
            timbre.append(latents[wish.reference : wish.reference + reach])
        owners.append(0 if wish.reference is None else len(timbre) - 1)
    return torch.stack(timbre), owners


def source_and_mask(
    wishes: Sequence[Wish], clean: Tensor, hints: Sequence[Tensor], silence: Tensor
) -> tuple[Tensor, Tensor]:
    """Source channels and mask [B, T, 64] as `rendering/source_latents.py` assembles them.

    `hints` [T, 64], one for each cover in the order of the songs; `silence` [≥ T, 64].
    """
    quiet, left = silence[: clean.shape[1]], list(hints)
    sources, masks = [], []
    for latents, wish in zip(clean, wishes, strict=True):
        source, mask = quiet, torch.ones_like(quiet)
        if wish.task == "cover":
            source = left.pop(0)
        elif wish.task == "repaint":
            start, stop = wish.region
            source = latents.clone()
            source[start:stop] = quiet[start:stop]
            mask = torch.full_like(quiet, FIND_IT)
            if wish.marked:
                mask = torch.zeros_like(quiet)
                mask[start:stop] = 1
        sources.append(source)
        masks.append(mask)
    return torch.stack(sources), torch.stack(masks)
