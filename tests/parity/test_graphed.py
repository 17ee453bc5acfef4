"""The recorded loop writes what the plain one writes, also where recording disturbs or fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headroom.device.plain import Again
from headroom.lm import graphed
from headroom.lm.decode import Writing, generate
from headroom.lm.graphed import AHEAD, write_graphed
from headroom.lm.sample import Sampling
from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import LayerSizes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> CausalLM:
    torch.manual_seed(0)
    made = CausalLM(LayerSizes(64, 128, 4, 2, 16, 1e-6, 1e6), 3, 200).requires_grad_(False)
    for tensor in made.parameters():
        tensor.normal_(0, 0.2) if tensor.dim() > 1 else tensor.fill_(1)
    return made.eval()


class Warmed:
    """Records as a card does: the work is done a few times first, and once while it is recorded."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, work: Callable[[], None]) -> Again:
        self.recorded += 1
        for _ in range(3):
            work()
        return Again(work)


def work(songs: int, guided: bool, count: int, penalty: float) -> tuple[Writing, Tensor]:
    prompts = tuple(tuple(range(5 + n, 30 + 7 * n)) for n in range(songs))
    sampling = Sampling(0.9, 50, 0.95, penalty)
    against = tuple(range(40, 52)) if guided else None
    uniforms = torch.rand(songs, count, generator=torch.Generator().manual_seed(3))
    return Writing(prompts, against, count, slice(60, 200), sampling, 2.0), uniforms


@pytest.mark.parametrize("songs", [1, 3])
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("count", [1, 40, 300])
@torch.inference_mode()
def test_it_writes_what_the_plain_loop_writes(
    model: CausalLM, songs: int, guided: bool, count: int
) -> None:
    writing, uniforms = work(songs, guided, count, 1.2)
    told: list[int] = []
    record = Warmed()
    seen = write_graphed(model, writing, uniforms, CPU, lambda a, b: told.append(a), record)
    expected = generate(model, writing, uniforms, CPU, lambda a, b: None)
    assert torch.equal(seen, expected)
    assert record.recorded == (0 if count == 1 else 1 if count == 40 else 2)  # one a stretch
    assert told[-1] == count and told == sorted(told)


@torch.inference_mode()
def test_where_recording_fails_it_goes_on_plainly(model: CausalLM) -> None:
    writing, uniforms = work(2, True, 30, 1.0)

    def fails(turn: Callable[[], None]) -> Again:
        turn()
        raise RuntimeError("operation not permitted when stream is capturing")

    seen = write_graphed(model, writing, uniforms, CPU, lambda a, b: None, fails)
    assert torch.equal(seen, generate(model, writing, uniforms, CPU, lambda a, b: None))


@torch.inference_mode()
def test_nothing_is_recorded_at_the_end_of_a_cache(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphed, "AHEAD", 1000)
    writing, uniforms = work(1, True, 20, 1.0)
    record = Warmed()
    seen = write_graphed(model, writing, uniforms, CPU, lambda a, b: None, record)
    assert record.recorded == 0
    assert torch.equal(seen, generate(model, writing, uniforms, CPU, lambda a, b: None))


@pytest.mark.parametrize("count", [2, 5, 8])
@torch.inference_mode()
def test_a_recording_writes_no_more_than_was_asked_for(model: CausalLM, count: int) -> None:
    """Its turns are tried before they count, also where a new stretch begins with the last ones."""
    prompts = (tuple(5 + n % 150 for n in range(251)),)
    writing = Writing(prompts, None, count, slice(60, 200), Sampling(0.9, 0, 0.95, 1.0), 1.0)
    uniforms = torch.rand(1, count, generator=torch.Generator().manual_seed(4))
    record = Warmed()
    seen = write_graphed(model, writing, uniforms, CPU, lambda a, b: None, record)
    assert torch.equal(seen, generate(model, writing, uniforms, CPU, lambda a, b: None))
    assert record.recorded == (count > AHEAD)
