"""The kernels of a decoding step, interpreted on the host, beside float64 and beside torch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from headroom.lm.fused import unfit, width_at_once
from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import LayerSizes

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "interpreted_kernels.py"
HERE = importlib.util.find_spec("triton") is not None


@pytest.mark.ci
@pytest.mark.skipif(not HERE, reason="Triton is made for Linux, and is not installed here")
def test_every_kernel_says_what_torch_says() -> None:
    """Products of every form, and steps over rows that end at and around the ends of splits."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    assert len(found) == 40
    assert {name: gap for name, gap in found.items() if not gap <= 2e-6} == {}


def test_on_a_host_they_are_left_alone() -> None:
    with torch.device("meta"):
        model = CausalLM(LayerSizes(64, 96, 4, 2, 32, 1e-6, 1e6), 1, 10)
    assert unfit(model, 2, torch.device("cpu")) == "they are CUDA's"


@pytest.mark.parametrize(("width", "most", "expected"), [(2048, 256, 256), (9728, 512, 512)])
def test_columns_at_once_divide_the_width(width: int, most: int, expected: int) -> None:
    assert width_at_once(width, most) == expected
    assert width % width_at_once(width, most) == 0
