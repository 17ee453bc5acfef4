"""Traps of the published program that concern every network: devices that are named or kept.

The others have their tests beside what they concern, with `trap` in the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from headroom.models import stepaudio
from headroom.models.stepaudio.networks.flow import Flow
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.step1 import Step1
from headroom.models.stepaudio.networks.vocoder import Vocoder
from support import speech_checkpoint as made

BUILT: tuple[Callable[[], nn.Module], ...] = (
    lambda: Step1(made.LANGUAGE),
    lambda: LinguisticTokenizer(made.LINGUISTIC),
    lambda: SemanticTokenizer(made.SEMANTIC),
    lambda: SpeakerNetwork(made.VOICE),
    lambda: Flow(made.FLOW),
    lambda: Vocoder(made.VOCODER),
)


def test_trap_no_device_is_named() -> None:
    """The published program moves the encoder and its input to `cuda` on every call."""
    folder = Path(stepaudio.__file__).parent
    named = re.compile(r"\.cuda\(|[\"']cuda|\.is_cuda|current_device")
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 20
    assert [str(file) for file in files if named.search(file.read_text("utf-8"))] == []


@pytest.mark.parametrize("build", BUILT)
def test_trap_no_tensor_and_no_device_is_kept_beside_the_weights(
    build: Callable[[], nn.Module],
) -> None:
    """The published vocoder remembers its first device, and tables stay where they were made."""
    module = build()
    for part in module.modules():
        own = {n: v for n, v in vars(part).items() if not n.startswith("_")}
        kept = [n for n, v in own.items() if isinstance(v, torch.Tensor | torch.device)]
        assert kept == [], type(part).__name__
    assert all(not parameter.is_meta for parameter in module.parameters())
    assert all(tensor.is_meta for tensor in module.to("meta").state_dict().values())
