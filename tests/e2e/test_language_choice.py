"""Which language model is taken, and what a tier does with what is above it: through the engine,
on simulated cards, with language models of three sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headroom import Engine, Text2Music
from headroom.audio.wave import Audio
from headroom.engine import policy as policy_file
from headroom.engine.policy import choose_language_model
from headroom.engine.result import Result
from headroom.errors import DoesNotFit
from headroom.hardware.machine import card
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.memory.plan import NO_WISHES
from headroom.memory.policy import resolve_policy
from headroom.models.acestep import model
from headroom.models.acestep.language import language_acts
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.language.sheet_writing import Written
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.requests.language_requests import CreateSample
from headroom.models.acestep.tiers import LM_SIZES, TIERS
from headroom.models.base import Song
from headroom.settings import Options, PolicyName, Settings
from support.languages import LARGE, MIDDLE, SMALL, WEIGHTS, copied, grown
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
# GiB of a card that is next to nothing. On `TIGHT` the largest finds room for a sheet, and none for
# codes; on `ROOMY` for the codes of 10 s, and none for those of 600.
TIGHT, ROOMY = 0.84, 0.95


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs without sound: what is asked here is known before they are rendered."""

    def render(songs: tuple[Song, ...], run: object, assets: object) -> tuple[Audio, ...]:
        return tuple(Audio(torch.full((2, 48_000), 0.1), 48_000) for _ in songs)

    monkeypatch.setattr(model, "render", render)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three language models, the larger ones with caches of more bytes a token."""
    folder = tmp_path_factory.mktemp("checkpoints")
    copied(folder, SMALL)
    grown(folder, MIDDLE, num_key_value_heads=4, head_dim=128)
    grown(folder, LARGE, num_key_value_heads=16, num_attention_heads=16, head_dim=256)
    return folder


def simulated(
    place: Path | None, size: float, policy: PolicyName = "adaptive", **chosen: object
) -> Engine:
    settings = Settings(max_vram=size, policy=policy)
    return Engine(
        "simulated", checkpoint_dir=place, settings=settings, **chosen
    )  # fmt: skip


def asked(**said: object) -> Text2Music:
    plain = {"caption": "x", "thinking": True, "duration": 10, "inference_steps": 1, "seed": 1}
    return Text2Music.model_validate({**plain, "use_cot_caption": False, **said})


METADATA = {"thinking": False, "plan_metadata": True}


def size_of(place: Path, name: str) -> int:
    """Bytes of its weights: about those of the file."""
    return (place / name / WEIGHTS).stat().st_size


def taken(engine: Engine, place: Path, request: Text2Music) -> str:
    """The one a plan is made for, by its bytes."""
    planned = {p.component: p.bytes for p in engine.plan(request).placements}
    (name,) = planned.keys() & {SMALL, MIDDLE, LARGE}
    assert abs(size_of(place, name) - planned[name]) < 16384  # the header of a file
    return name


# --- what fits -----------------------------------------------------------------------------


def test_the_first_that_fits_whole_is_taken(place: Path) -> None:
    roomy, tight = simulated(place, ROOMY), simulated(place, TIGHT)
    assert roomy.model.languages == (LARGE, MIDDLE, SMALL)  # type: ignore[attr-defined]
    assert taken(roomy, place, asked()) == LARGE
    assert taken(roomy, place, asked(duration=600)) == MIDDLE
    assert taken(tight, place, asked()) == MIDDLE
    assert taken(tight, place, asked(**METADATA)) == LARGE
    assert taken(simulated(place, 24), place, asked(duration=600)) == LARGE


def test_what_is_named_is_taken_whether_it_fits_well_or_not(place: Path) -> None:
    for name in (LARGE, "4B"):
        assert taken(simulated(place, TIGHT, lm_model=name), place, asked()) == LARGE
    assert taken(simulated(place, 24, lm_model=SMALL), place, asked()) == SMALL


def test_what_is_not_installed_is_not_in_question(place: Path, tmp_path: Path) -> None:
    grown(tmp_path, MIDDLE, num_key_value_heads=4, head_dim=128)
    assert simulated(tmp_path, 24).model.languages == (MIDDLE,)  # type: ignore[attr-defined]
    host = Engine("cpu", checkpoint_dir=place)
    assert host.model.languages == (SMALL, MIDDLE, LARGE)  # type: ignore[attr-defined]
    assert Engine("cpu", checkpoint_dir=tmp_path).model.languages == (MIDDLE,)  # type: ignore[attr-defined]


def measured(result: Result) -> None:
    assert result.thought is not None
    for stage in (*result.thought.stages, *result.report.stages):
        assert stage.measured_bytes <= stage.planned_bytes, stage.stage


def thought(engine: Engine, request: Text2Music) -> tuple[tuple[Song, ...], str | None]:
    """The songs as they would be rendered, and which language model planned them."""
    (one,) = engine.think(request)
    assert one.thought is not None
    return one.songs, one.thought.language


def test_another_one_takes_the_place_of_the_one_before(place: Path) -> None:
    engine = simulated(place, TIGHT)
    results = engine.generate_batch((asked(**METADATA), asked()))
    assert [r.thought.language for r in results if r.thought] == [LARGE, MIDDLE]
    for result, name in zip(results, (LARGE, MIDDLE), strict=True):
        alone = simulated(place, TIGHT, lm_model=name)
        assert (result.songs, name) == thought(alone, result.request)  # type: ignore[arg-type]
        measured(result)
    assert thought(engine, asked(**METADATA)) == (results[0].songs, LARGE)
    engine.close()
    assert engine.device.memory_allocated() == engine._pool.floor


def needs(size: int, name: str = LANGUAGE_MODEL) -> Footprint:
    part = Component(name, (), size, "bfloat16")
    return Footprint((part,), (Stage(f"with {name}", (name,), (Way(1 << 20),)),))


def test_where_none_fits_the_smallest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, settings = card(8), Settings()
    found = resolve_policy(machine, "adaptive", Options(), TIERS)
    sizes = {"4B": 900 << 20, "1.7B": 500 << 20, "0.6B": 100 << 20}
    tried: list[str] = []

    def build(name: str) -> Footprint:
        tried.append(name)
        return needs(sizes[name])

    def take(names: tuple[str, ...]) -> str:
        tried.clear()
        render = needs(1 << 20, "dit")
        name, both = choose_language_model(
            names, build, render, machine, found, NO_WISHES, settings
        )
        assert both.components == (*needs(sizes[name]).components, *render.components)
        return name

    assert take(found.lms) == "4B" and tried == ["4B"]

    def never(*given: object) -> None:
        raise DoesNotFit(2, 1)

    monkeypatch.setattr(policy_file, "first_plan", never)
    assert take(found.lms) == "0.6B" and tried == ["4B", "1.7B", "0.6B"]
    assert take(("0.6B", "4B")) == "0.6B"  # the smallest wherever it stands
    assert take(("4B",)) == "4B"


def test_sizes_in_question_are_in_the_tiers_order() -> None:
    def lms(size: float, policy: PolicyName, **said: object) -> tuple[str, ...]:
        return resolve_policy(card(size), policy, Options(**said), TIERS).lms  # type: ignore[arg-type]

    assert lms(4, "published") == () and lms(4, "published", init_lm=True) == ("0.6B",)
    assert lms(8, "published") == ("0.6B",) and lms(12, "published") == ("1.7B", "0.6B")
    assert lms(20, "published") == ("1.7B", "0.6B", "4B")
    assert lms(24, "published") == ("4B", "1.7B", "0.6B")
    assert lms(12, "published", lm_model="0.6B") == ("0.6B",)
    assert lms(12, "published", lm_model="4B") == (
        "1.7B",
        "0.6B",
    )  # it falls back, and that is said
    assert lms(8, "adaptive") == LM_SIZES[::-1] and lms(8, "adaptive", lm_model="4B") == ("4B",)


# --- above the tier ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "tier", "used"),
    [(6.5, "tier 3", "0.6B"), (12, "tier 5", "1.7B")],
)
def test_a_language_model_above_the_tier_falls_back_and_names_it(
    size: float, tier: str, used: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = simulated(place, size, "published", lm_model=LARGE)
    result = engine.generate(asked(**METADATA))
    (note,) = [note for note in result.notes if note.field == "lm_model"]
    assert (note.asked, note.used) == (LARGE, used) and note.why.startswith(tier)
    assert f"may load {'0.6B' if used == '0.6B' else '0.6B, 1.7B'}" in note.why
    name = f"acestep-5Hz-lm-{used}"
    assert result.thought is not None and result.thought.language == name
    monkeypatch.setattr(language_acts, "write_text", lambda *given: Written(Sheet(bpm=90), ""))
    found = engine.perform(CreateSample(caption="rain", seed=1))
    assert [n.field for n in found.notes] == ["model", "card", "lm_model"]
    free = simulated(place, size, "adaptive", lm_model=LARGE)
    assert taken(free, place, asked(**METADATA)) == LARGE
    assert not [n for n in free.policy.notes if n.field == "lm_model"]


@pytest.mark.parametrize(("size", "tier"), [(6, "tier 2"), (6.5, "tier 3")])
def test_vllm_below_tier_four_falls_back_and_names_it(size: float, tier: str, place: Path) -> None:
    engine = simulated(place, size, "published", lm_backend="vllm", init_lm=True)
    assert engine.policy.lm_loop == "pt"
    result = engine.generate(asked(**METADATA))
    (note,) = [note for note in result.notes if note.field == "lm_backend"]
    assert (note.asked, note.used) == ("vllm", "pt") and note.why.startswith(tier)
    above = simulated(place, 8, "published", lm_backend="vllm")
    assert "tier" not in " ".join(n.why for n in above.policy.notes if n.field == "lm_backend")


def test_a_tier_that_loads_none_says_so(place: Path) -> None:
    engine = simulated(place, 4, "published", lm_model=LARGE)
    notes = {n.field: n for n in engine.generate(asked(**METADATA)).notes}
    assert notes["plan_metadata"].used is False and "--init-lm" in notes["plan_metadata"].why
    assert notes["lm_model"].used is None and "tier 1" in notes["lm_model"].why
    assert "may load none" in notes["lm_model"].why


def test_the_command_line_says_it_too(cli: Cli, home: Path) -> None:
    copied(home / "checkpoints", SMALL)
    words = ("generate", "x", "--plan-metadata", "--no-use-cot-caption", "--duration", "10",
             "--inference-steps", "1", "--device", "simulated", "-o", "song.wav")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADROOM_MAX_VRAM", "6.5")
        done = cli(*words, "--lm-model", LARGE, "--lm-backend", "vllm")
    assert done.code == 0, done.err
    for word in ("lm_model", "lm_backend", "tier 3"):
        assert word in done.err, done.err


# --- what sheets of their own take ---------------------------------------------------------


def test_a_sheet_for_each_song_takes_no_more_memory_than_one(place: Path) -> None:
    """One cache at a time; and the codes follow sheets of different lengths within the plan."""
    engine = simulated(place, 24)
    request = asked(
        seed=None, seeds=(1, 2, 3), lm_shared_metadata=False, lm_temperature=2.0,
        use_cot_language=False,
    )  # fmt: skip
    one, many = engine.plan(asked()), engine.plan(request)
    assert one.stage("think").peak == many.stage("think").peak
    assert one.stage("think").seconds < many.stage("think").seconds
    prepared = engine.think(request)
    report = prepared[0].thought
    assert report is not None and report.language == LARGE
    for stage in report.stages:
        assert stage.measured_bytes <= stage.planned_bytes, stage.stage
