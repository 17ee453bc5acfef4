"""What a language model takes is what is planned: weights, cache and the room beside them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path

import pytest
import torch

from headroom.device.plain import Again
from headroom.lm import graphed
from headroom.lm.cache import Cache
from headroom.lm.constrained_decode import constrained_decode
from headroom.lm.decode import Writing
from headroom.lm.fused import Fused
from headroom.lm.sample import Sampling
from headroom.memory.footprint import THINK, WRITE
from headroom.memory.plan import Placement, Plan, Residency, StagePlan
from headroom.models.acestep.blueprint import language_model
from headroom.models.acestep.cost.lm_cost import (
    METADATA_TOKENS,
    PRECISIONS_OF_LM,
    TEXT_WORDS,
    Thinking,
    cache_of,
    component,
    graphs_room,
    lm_footprint,
    lm_stages,
    thinking,
)
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.networks.config import BlockSizes, TextEncoderConfig
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.networks.released import LMS, lm_size_of, released_lm
from headroom.models.acestep.text.codes_text import CODEBOOK
from headroom.nn.causal import CausalLM
from headroom.runtime.pool import Parts
from headroom.runtime.quantize import quantize
from headroom.runtime.run import Run, Step
from support.alive import Alive

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "scripts"))

from footprint.traces import ROOM, language_pool, trace_writing

BF16 = "bfloat16"


def room(work: Thinking, size: str, precision: str, pieces: int = 1) -> int:
    """Planned beside the cache."""
    config = released_lm(size)
    (stage,) = lm_stages(work, config, BF16)
    way = next(w for w in stage.ways if (w.pieces, w.precision) == (pieces, precision))
    return way.workspace - cache_of(work, config, BF16, pieces)


@pytest.mark.parametrize("precision", [BF16, *PRECISIONS_OF_LM])
@pytest.mark.parametrize("size", LMS)
def test_the_component_is_as_large_as_the_module(size: str, precision: str) -> None:
    model = language_model(size, BF16)
    if precision != BF16:
        quantize(model, precision)
    found = component(released_lm(size), BF16).form(precision)
    assert found.bytes == sum(t.nbytes for t in model.parameters())
    blocks = [sum(t.nbytes for t in b.parameters() if t.dim() == 2) for b in model.layers]
    assert list(found.blocks) == blocks


def test_the_released_models_are_as_large_as_the_specification_says() -> None:
    sizes = [component(released_lm(size), BF16).bytes for size in LMS]
    assert [round(size / 1e9, 3) for size in sizes] == [1.326, 3.708, 8.379]
    int8 = component(released_lm("4B"), BF16).form("int8").bytes
    assert int8 < 0.58 * sizes[-1]  # the embedding table stays as it is


@pytest.mark.parametrize("seed", range(6))
def test_writing_is_known_to_the_byte(seed: int) -> None:
    rng = random.Random(seed)
    size = ("0.6B", "1.7B")[seed % 2]
    songs, guided = rng.choice((1, 1, 2, 3, 8)), rng.random() < 0.6
    prompt, codes = rng.randint(40, 4000), rng.randint(3, 6)
    precision = rng.choice((BF16, "int8", "fp8"))
    seen = trace_writing(size, prompt, songs, codes, guided, precision)
    work = Thinking((prompt,) * songs, 0, codes, guided)
    assert seen.peak == room(work, size, precision)


def test_the_largest_model_is_known_to_the_byte() -> None:
    seen = trace_writing("4B", 1200, 1, 3, True, "int8")
    assert seen.peak == room(Thinking((1200,), 0, 3, True), "4B", "int8")


def test_the_planned_cache_is_the_allocated_one() -> None:
    config = TextEncoderConfig(BlockSizes(64, 128, 4, 2, 16, 1e-6, 1e6), 3, 500)
    model = CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
    work = Thinking((300, 40), 10, 700, True)
    made = Cache(model, work.rows, work.tokens(), torch.device("cpu"))
    assert made.bytes == made.memory.nbytes == cache_of(work, config, "float32")
    assert cache_of(work, config, "float32", 2) == made.bytes // 2


def test_sizes_nobody_released_are_estimated_from_above() -> None:
    config = TextEncoderConfig(BlockSizes(1024, 2048, 16, 8, 128, 1e-6, 1e6), 28, 217_204)
    assert lm_size_of(config) is None
    known, guess = released_lm("0.6B"), config
    for work in (Thinking((2000,), 0, 50, True), Thinking((50,) * 4, 0, 900, False)):
        exact, above = (lm_stages(work, c, BF16)[0].ways[0].workspace for c in (known, guess))
        # The narrower one is guessed at no less than the wider one takes for its logits.
        assert above > 0.8 * exact


TEXT_FEW = 100  # words before the codes, where few will do
FORCED = 500  # tokens of a caption that was given


class Anything:
    """A grammar that forces a run behind so many words, and allows every word otherwise."""

    def __init__(self, words: int) -> None:
        self.taken, self.run, self.done = -words, tuple(range(FORCED)), False
        self._ids, self._last = torch.arange(TEXT_WORDS), 4 - words

    def forced(self) -> tuple[int, ...]:
        run, self.run = (self.run, ()) if self.taken >= 0 else ((), self.run)
        return run

    def allowed(self) -> torch.Tensor:
        return self._ids

    def take(self, token: int) -> None:
        self.taken += 1
        self.done = self.taken == self._last


@pytest.mark.parametrize("words", [0, 1])  # none: prompt and run are read at once
@pytest.mark.parametrize("prompt", [60, 1500, 3000])
@pytest.mark.parametrize(("size", "precision"), [("0.6B", BF16), ("1.7B", "int8")])
def test_thinking_takes_no_more_than_is_planned_and_not_much_less(
    size: str, precision: str, prompt: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "headroom.lm.constrained_decode._value", lambda token: 0
    )  # tensors have no values here
    device, pool = language_pool(size)
    config = released_lm(size)
    work = Thinking((prompt,), METADATA_TOKENS, 0, False)
    (stage,) = lm_stages(work, config, BF16)
    way = next(w for w in stage.ways if w.precision == precision)
    form = component(config, BF16).form(precision)
    place = Placement(LANGUAGE_MODEL, Residency.SWAPPED, precision, form.bytes)
    planned = StagePlan(THINK, (LANGUAGE_MODEL,), 1, None, form.bytes + way.workspace, 0.0)
    run = Run(Plan((place,), (planned,), ROOM), pool, device)

    def think(step: Step, parts: Parts) -> None:
        constrained_decode(
            parts.of(LANGUAGE_MODEL, CausalLM), tuple(range(prompt)), Anything(words),
            slice(0, TEXT_WORDS), METADATA_TOKENS, Sampling(0.85, 0, 0.9, 1.0), repeat(0.5),
            step.device, lambda done, of: None,
        )  # fmt: skip

    run.stage(THINK, think)
    (done,) = run.report
    used = done.measured - form.bytes
    assert 0.4 * way.workspace < used <= way.workspace


def test_metadata_come_first_and_leave_their_cache_for_the_codes() -> None:
    work = thinking("a song", "la la", 240, 2, guided=True)
    first, then = lm_footprint(work, released_lm("0.6B"), BF16).stages
    assert (first.name, then.name) == (THINK, WRITE)
    assert first.until == WRITE and first.result > 0 and work.codes == 1200
    assert first.uses == then.uses == (LANGUAGE_MODEL,)
    given = thinking("a song", "la la", 240, 2, guided=True, metadata=False)
    assert [s.name for s in lm_footprint(given, released_lm("0.6B"), BF16).stages] == [WRITE]
    assert [w.pieces for w in then.ways if w.precision == BF16] == [1, 2]


def test_nonsense_is_refused() -> None:
    for work in ((), 0, 0, False), ((1,), -1, 0, False), ((0,), 0, 5, True):
        with pytest.raises(ValueError, match="no work for a language model"):
            Thinking(*work)


@pytest.mark.parametrize(("songs", "guided"), [(1, True), (4, True), (2, False)])
def test_what_graphs_hold_is_planned(songs: int, guided: bool) -> None:
    """A recording works in memory of its own, so a turn's logits and odds are there twice."""
    config = released_lm("1.7B")
    work = Thinking((300,) * songs, 0, 600, guided)
    plain, graphs = (lm_stages(work, config, "bfloat16", name)[-1] for name in ("pt", "vllm"))
    rows = songs * (1 + guided)
    logits, odds = rows * CODEBOOK * 2, songs * CODEBOOK * 4
    for one, other in zip(plain.ways, graphs.ways, strict=True):
        assert other.workspace >= one.workspace + (logits + odds) // max(1, one.pieces)
        assert other.workspace <= one.workspace + 12 * (logits + odds) + (8 << 20)


@pytest.mark.parametrize(("songs", "guided"), [(1, True), (3, False)])
@torch.inference_mode()
def test_what_a_recording_works_with_is_planned(
    songs: int, guided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn of the real loop at the real widths, counted; and what our own kernels hand on."""
    config = replace(released_lm("0.6B"), layers=1, vocabulary=TEXT_FEW + CODEBOOK)
    model = (
        CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
        .requires_grad_(False)
        .to(torch.bfloat16)
    )
    for tensor in model.parameters():
        tensor.fill_(0.01)
    prompts, against = ((1, 2, 3),) * songs, (4, 5) if guided else None
    words = slice(TEXT_FEW, TEXT_FEW + CODEBOOK)
    writing = Writing(prompts, against, 20, words, Sampling(0.85, 0, 0.9, 1.0), 2.0)
    held: list[int] = []

    def record(work: Callable[[], None]) -> Again:
        with Alive() as alive:
            work()
        held.append(alive.peak)
        return Again(work)

    graphed.write_graphed(
        model, writing, torch.rand(songs, 20), torch.device("cpu"), lambda done, of: None, record
    )
    rows, tokens = songs * (1 + guided), writing.tokens
    planned = graphs_room(config, songs, rows, tokens, 2)
    assert 0.4 * planned < held[0] <= planned
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    if find_spec("triton") is not None:
        cache = Cache(model, rows, tokens, torch.device("cpu"))
        with Alive() as alive:
            kernels = Fused(model, cache, model.rope(cache.capacity, torch.device("cpu")))
        assert held[0] + alive.now <= planned
        del kernels
