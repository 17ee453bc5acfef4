from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from headroom.weights.meta_modules import shapes_only

BUILDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weight norm": lambda g, v: v * (g / torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True)),
    "negative dims": lambda g, v: v / torch.linalg.vector_norm(v, dim=(-1,), keepdim=True),
    "norm over all": lambda g, v: torch.linalg.vector_norm(v),
    "norm that drops a dim": lambda g, v: torch.linalg.vector_norm(v, dim=1),
    "numbers": lambda g, v: (1 - (v.exp() + 1e-9).reciprocal()) / 2,
    "fewer dims": lambda g, v: v + g.reshape(-1)[:2],
    "in place": lambda g, v: v.mul_(g),
    "rounding": lambda g, v: v.to(torch.bfloat16) * g,
    "named": lambda g, v: torch.add(v, g, alpha=2),
    "turned": lambda g, v: v.view(4, 3, 2).flip(2).flip(0, 1),
    "views": lambda g, v: (v * g).permute(2, 0, 1).reshape(2, -1),
}


@pytest.mark.parametrize("name", BUILDS)
def test_shapes_and_types_are_those_of_the_real_arithmetic(name: str) -> None:
    real = BUILDS[name](torch.rand(4, 1, 1), torch.rand(4, 3, 2))
    with shapes_only():
        blank = BUILDS[name](torch.empty(4, 1, 1), torch.empty(4, 3, 2))
    assert blank.is_meta and (blank.shape, blank.dtype) == (real.shape, real.dtype)


@pytest.mark.parametrize("g", [(3, 1, 1), (4, 2, 1), (2, 4, 1, 3)])
def test_shapes_that_do_not_go_together_raise_as_in_torch(g: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError):
        torch.rand(g) * torch.rand(4, 3, 2)
    with shapes_only(), pytest.raises(RuntimeError, match="do not go together"):
        torch.empty(g) * torch.empty(4, 3, 2)


def test_modules_are_built_with_their_names_and_shapes() -> None:
    def build() -> nn.Module:
        norm = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 3))
        return nn.ModuleList([nn.Embedding(9, 4, padding_idx=0), nn.Linear(3, 4), norm])

    with shapes_only():
        blank = build()
    wanted = {name: value.shape for name, value in build().state_dict().items()}
    assert {name: value.shape for name, value in blank.state_dict().items()} == wanted
    assert all(value.is_meta for value in blank.state_dict().values())


def test_outside_everything_is_as_it_was() -> None:
    with shapes_only():
        pass
    assert torch.rand(3).exp().sum() > 3 and nn.Linear(2, 2).weight.abs().sum() > 0


@pytest.mark.ci
def test_opening_a_model_loads_neither_compiler_nor_algebra() -> None:
    code = """
import sys
from headroom.device import open_device
from headroom.hardware.probe import probe_device
from headroom.models.acestep.model import NANO, open_model
from headroom.models.base import Setup
device = open_device("cpu")
model = open_model(Setup(device, probe_device(device), NANO))
for load in model.loaders().values():
    load()
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
