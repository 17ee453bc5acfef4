"""The language model at work in a run: from prompts to audio codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headroom.lm.decode import Writing, write
from headroom.lm.sample import Sampling
from headroom.models.acestep.footprint import groups
from headroom.models.acestep.parts import LANGUAGE_MODEL
from headroom.models.acestep.thinking_cost import WRITE
from headroom.nn.causal import CausalLM
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step


def write_codes(
    prompts: Sequence[Sequence[int]],
    against: Sequence[int] | None,
    uniforms: Tensor,
    words: slice,
    scale: float,
    sampling: Sampling,
    run: Run,
) -> Tensor:
    """Codes [songs, count] of songs with these prompts, as numbers from 0 on, on the host.

    uniforms  [songs, count] in [0, 1), drawn on the host
    words     where the codes are in the vocabulary
    """
    songs, count = uniforms.shape

    def work(step: Step, parts: Parts) -> Tensor:
        model = parts.of(LANGUAGE_MODEL, CausalLM)
        found, pieces = [], groups(songs, step.pieces)
        for number, group in enumerate(pieces):
            writing = Writing(
                tuple(tuple(prompts[i]) for i in group),
                None if against is None else tuple(against),
                count,
                words,
                sampling,
                scale,
            )

            def told(done: int, _: int, before: int = number * count) -> None:
                step.progress(before + done, len(pieces) * count)

            chances = uniforms[group.start : group.stop]
            found.append(write(model, writing, chances, step.device, told))
        codes: Tensor = torch.cat(found).sub_(words.start)
        return codes

    return run.stage(WRITE, work)
