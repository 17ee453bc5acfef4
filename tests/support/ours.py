"""The product's networks filled from a tree on disk, asked as the oracle is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from headroom.audio.wave import Audio
from headroom.engine.engine import Engine
from headroom.engine.result import Result
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.config import (
    AceStepConfig,
    dit_config,
    text_encoder_config,
)
from headroom.models.acestep.networks.dit import CrossCache, DiT, Layout, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.requests.songs import AnyMusicRequest
from headroom.nn.config_fields import read_config
from headroom.nn.qwen3 import Qwen3
from headroom.weights.load import Checkpoint, load_weights
from support.near import exactly
from support.oracle import Tree


@dataclass(frozen=True, slots=True)
class Ours:
    """All parts of a DiT folder, and the text encoder."""

    config: AceStepConfig
    dit: DiT
    time: TimePath
    conditioner: Conditioner
    codes: CodesNetwork
    text: Qwen3

    @property
    def null(self) -> Tensor:
        return self.conditioner.null_condition_emb

    def cross(self, rows: Sequence[Tensor], null: bool = False) -> CrossCache:
        """Keys and values of each item's condition rows [L_i, E]."""
        lengths = [len(row) for row in rows]
        return self.dit.condition(torch.cat(list(rows)), lengths, self.null if null else None)

    def context(self, context: Tensor, layout: Layout) -> Tensor:
        """[B, T, 2C] as the files order it: source, then mask."""
        source, mask = context.chunk(2, dim=-1)
        return self.dit.context(source, mask, layout)

    @torch.no_grad()
    def velocity(
        self,
        x: Tensor,
        times: Sequence[float],
        context: Tensor,
        rows: Sequence[Tensor],
        *,
        frames: Sequence[int] | None = None,
        shared: Sequence[int] | None = None,
        guided: bool = False,
    ) -> Tensor:
        """x [B, T, C], one time for all items or one each, context [B, T, 2C], rows[c] [L, E]."""
        layout = self.dit.layout(frames or [x.shape[1]] * len(x), shared)
        modulation = self.dit.modulation(*self.time(times)).at(*range(len(times)))
        cross, fixed = self.cross(rows, guided), self.context(context, layout)
        out: Tensor = self.dit(x, fixed, modulation, cross, layout, guided)
        return out


def parts(config: AceStepConfig) -> dict[str, tuple[str, nn.Module]]:
    """Name → prefix in the file and module, on `meta`."""
    with torch.device("meta"):
        return {
            "dit": ("decoder.", DiT(config)),
            "time": ("decoder.", TimePath(config.dit.width)),
            "conditioner": ("", Conditioner(config)),
            "codes": ("", CodesNetwork(config)),
        }


def load_ours(tree: Tree, dtype: torch.dtype | None = None) -> Ours:
    """Every network of the tree; `dtype` None keeps what the files store."""
    config = dit_config(read_config(tree.dit), tree.dit)
    file = Checkpoint.open(tree.dit)
    modules = parts(config)
    for prefix, module in modules.values():
        own = {prefix + name for name in module.state_dict()}
        load_weights(module, file, prefix=prefix, unused=set(file.stored) - own, dtype=dtype)
    sizes = text_encoder_config(read_config(tree.text), tree.text)
    with torch.device("meta"):
        text = text_encoder(sizes)
    load_weights(text, Checkpoint.open(tree.text), dtype=dtype)
    return Ours(config, text=text, **{name: module for name, (_, module) in modules.items()})  # type: ignore[arg-type]


def made_exactly(engine: Engine, request: AnyMusicRequest) -> Result:
    """A song whose every number is computed in float64, by the same code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Audio, "__post_init__", lambda self: None)  # which takes float32 only
        return exactly(lambda: engine.generate(request))
