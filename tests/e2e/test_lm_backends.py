"""A song thought out by each loop of the language model, with the bundled small one."""

from __future__ import annotations

import numpy as np
import pytest

from headroom import Engine, Text2Music
from headroom.engine.result import Result
from headroom.lm import mlx
from headroom.lm.backend import mlx_is_here
from headroom.memory.plan import Wishes
from headroom.models.acestep.requests.language_requests import CreateSample
from headroom.params.clamp import Note
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]

needs_mlx = pytest.mark.skipif(not mlx_is_here(), reason="mlx-lm (the extra `mlx`) is not here")
ASKED = Text2Music(
    caption="slow bossa nova", duration=11, thinking=True, inference_steps=1, seeds=(5, 6)
)
WHY = "it records the loop in graphs, and cpu records none"


def song(backend: str, dtype: str = "float32", wishes: Wishes | None = None) -> Result:
    engine = Engine("cpu", dtype, lm_backend=backend, wishes=wishes or Wishes())
    result = engine.generate(ASKED)
    engine.close()
    return result


def told(result: Result) -> list[Note]:
    return [note for note in result.notes if note.field == "lm_backend"]


@pytest.fixture(scope="module")
def plain() -> Result:
    return song("pt")


def same(one: Result, other: Result) -> bool:
    pairs = zip(one.audios, other.audios, strict=True)
    return all(np.array_equal(a.samples, b.samples) for a, b in pairs)


def written(result: Result) -> int:
    """Bytes planned for the codes."""
    assert result.thought is not None
    return next(s.planned_bytes for s in result.thought.stages if s.stage == "write codes")


@needs_mlx
def test_mlx_makes_the_same_song(plain: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    write = mlx.write_mlx

    def counted(*given: object) -> object:
        calls.append(given)
        return write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("headroom.models.acestep.language.lm_planning.write_mlx", counted)
    result = song("mlx")
    assert calls and told(result) == [] and same(result, plain)
    assert written(result) > written(plain)


@pytest.mark.ci
@needs_mlx
def test_converted_weights_are_written_with_by_torch() -> None:
    wishes = Wishes(precision="int8")
    result, plain = song("mlx", "bfloat16", wishes), song("pt", "bfloat16", wishes)
    (note,) = told(result)
    assert (note.asked, note.used, note.why) == ("mlx", "pt", "mlx-lm takes no weights in int8")
    assert told(plain) == [] and same(result, plain) and written(result) == written(plain)


def test_where_nothing_records_graphs_that_is_said(plain: Result) -> None:
    assert told(plain) == []
    result = song("vllm")
    assert told(result) == [Note("lm_backend", "vllm", "pt", WHY)] and same(result, plain)


@pytest.mark.ci
def test_a_sheet_says_so_too() -> None:
    engine = Engine("cpu", lm_backend="vllm")
    found = engine.perform(CreateSample(caption="rain"))
    assert Note("lm_backend", "vllm", "pt", WHY) in found.notes
    engine.close()


def test_the_program_says_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headroom.engine.policy.mlx_is_here", lambda: False)
    words = ("generate", "slow bossa nova", "--thinking", "--duration", "10", "--seed", "2")
    made = cli(*words, "--inference-steps", "1", "--threads", "1", "--lm-backend", "mlx")
    assert made.code == 0, made.err
    assert "note: lm_backend: asked mlx, used pt: mlx-lm is not installed" in made.err
    planned = cli("plan", "slow bossa nova", "--thinking", "--lm-backend", "mlx")
    assert "note: lm_backend: asked mlx, used pt: mlx-lm is not installed" in planned.err
    quiet = cli(*words, "--inference-steps", "1", "--threads", "1")
    assert quiet.code == 0 and "lm_backend" not in quiet.err
