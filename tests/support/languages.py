"""Folders of language models for tests: the bundled one under other names, changed or grown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.networks.config import text_encoder_config
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.nn.causal import CausalLM

NANO = BUNDLED / "acestep-5Hz-lm-nano"
WEIGHTS = "model.safetensors"
SMALL, MIDDLE, LARGE = (f"acestep-5Hz-lm-{size}" for size in ("0.6B", "1.7B", "4B"))
Change = Callable[[dict[str, Tensor]], None]


def copied(place: Path, name: str, change: Change | None = None) -> Path:
    """The bundled one under a released name, its tensors changed in place."""
    folder = place / name
    shutil.copytree(NANO, folder)
    if change is not None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)
    return folder


def grown(place: Path, name: str, **sizes: int) -> Path:
    """One with other sizes (as config.json names them) and random weights."""
    folder = copied(place, name)
    config = {**json.loads((folder / "config.json").read_text("utf-8")), **sizes}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    known = text_encoder_config(config, folder)
    torch.manual_seed(0)
    model = CausalLM(layer_sizes(known.sizes), known.layers, known.vocabulary)
    tensors = {
        name: torch.ones(t.shape) if t.dim() == 1 else torch.randn(t.shape) / t.shape[1] ** 0.5
        for name, t in model.state_dict().items()
    }
    save_file({name: t.bfloat16() for name, t in tensors.items()}, folder / WEIGHTS)
    return folder


def broken_numbers(tensors: dict[str, Tensor]) -> None:
    """A weight that is no number: so is all that is computed with it."""
    tensors["norm.weight"][0] = torch.nan


def huge_activations(tensors: dict[str, Tensor]) -> None:
    """An MLP that writes millions, as the released 1.7B does where a turn begins."""
    for name, tensor in tensors.items():
        if "layers.0.mlp.up_proj" in name or "layers.0.mlp.down_proj" in name:
            tensor.mul_(2000)
