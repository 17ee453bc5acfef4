"""The plan without an engine, held against the plan of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom import Engine, Text2Music
from headroom.device import host
from headroom.engine.forecast import answered
from headroom.engine.options import EngineOptions
from headroom.models.family import ModelChoice
from headroom.models.registry import family_named
from headroom.params.request import Request
from headroom.settings import Settings
from tone_model.requests import Tone


@pytest.mark.parametrize(
    ("family", "request_", "songs"),
    [
        ("tone", Tone(duration=5), 3),
        ("acestep", Text2Music(caption="harp", duration=20), 3),
        ("acestep", Text2Music(caption="harp"), 3),
        ("acestep", Text2Music(caption="harp", batch_size=1), 1),
        ("acestep", Text2Music(caption="harp", duration=20, thinking=True), 2),  # its tier's most
    ],
)
def test_it_is_the_plan_of_the_engine(
    family: str, request_: Request, songs: int, tmp_path: Path
) -> None:
    settings = Settings(batch_size=3, cache_dir=tmp_path, checkpoints_dir=tmp_path)
    options = EngineOptions(family=family, device="simulated")
    engine = Engine(options, settings=settings)
    name = None if family == "tone" else engine.model.name
    unopened = family_named(family).plan(ModelChoice(name, tmp_path, settings))
    forecast = answered(request_, unopened, engine.machine, options, settings)
    plan = engine.plan(request_)
    assert forecast.plan is not None and forecast.songs == songs
    assert forecast.plan.peak == plan.peak
    assert [s.stage for s in forecast.plan.stages] == [s.stage for s in plan.stages]
    assert [p.component for p in forecast.plan.placements] == [p.component for p in plan.placements]


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("thinking", [False, True])
def test_on_a_host_it_is_the_plan_of_the_engine_in_every_type(
    dtype: str, thinking: bool, tmp_path: Path
) -> None:
    settings = Settings(cache_dir=tmp_path, checkpoints_dir=tmp_path)
    options = EngineOptions(device="cpu", dtype=dtype)
    request = Text2Music(caption="harp", duration=20, thinking=thinking)
    engine = Engine(options, settings=settings)
    choice = ModelChoice(engine.model.name, tmp_path, settings)
    unopened = family_named("acestep").plan(choice)
    forecast = answered(request, unopened, engine.machine, options, settings)
    made, plan = forecast.plan, engine.plan(request)
    assert made is not None and forecast.dtype == engine.model.numerics().dtype
    of_engine = {p.component: p.precision for p in plan.placements}
    assert {p.component: p.precision for p in made.placements} == of_engine
    assert of_engine["dit"] == forecast.dtype == dtype or dtype == "auto"
    # A prompt is counted a token for each byte before its tokenizer is opened.
    assert plan.host_peak <= made.host_peak <= plan.host_peak * 1.02
    sizes = [{share.owner: share.bytes for share in s.shares} for s in (*made.stages, *plan.stages)]
    half = len(made.stages)
    for early, late in zip(sizes[:half], sizes[half:], strict=True):
        assert {n: b for n, b in early.items() if n in of_engine} == {
            n: b for n, b in late.items() if n in of_engine
        }


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_without_products_in_bfloat16_only_the_language_model_computes_in_it(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody asks for a type; and the plan without an engine says the same."""
    monkeypatch.setattr(host, "FAST_BFLOAT16", frozenset())
    monkeypatch.setattr(host, "ISA", ("avx2",))
    settings = Settings(cache_dir=tmp_path, checkpoints_dir=tmp_path)
    options = EngineOptions(device="cpu", dtype=dtype)
    request = Text2Music(caption="harp", duration=10, thinking=True, inference_steps=1)
    engine = Engine(options, settings=settings)
    if not engine.machine.features.isa:
        pytest.skip("a processor without AVX2")
    choice = ModelChoice(engine.model.name, tmp_path, settings)
    unopened = family_named("acestep").plan(choice)
    forecast = answered(request, unopened, engine.machine, options, settings)
    writes = "bfloat16" if dtype == "auto" else "float32"
    for plan in (engine.plan(request), forecast.plan):
        assert plan is not None
        kinds = {p.component: p.precision for p in plan.placements}
        assert kinds.pop(plan.stages[0].uses[0]) == writes
        assert set(kinds.values()) == {"float32"}
