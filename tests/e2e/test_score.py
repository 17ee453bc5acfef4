"""Scores of codes: as two whole forwards a text would have them, and ordered as they should be."""

from __future__ import annotations

import json
import math

import pytest
import torch

from headroom import Engine
from headroom.errors import InvalidRequest
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.scoring import SCALE, ScoreTask, reward
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.model import BUNDLED
from headroom.models.acestep.requests.language_requests import Score, Understand
from headroom.models.acestep.text import lm_prompts
from headroom.nn.causal import CausalLM
from support.answers import score
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
CODES = "".join(f"<|audio_code_{(n * 37) % 512}|>" for n in range(40))
GIVEN = {"caption": "slow bossa nova", "bpm": 97, "keyscale": "A minor", "timesignature": "3"}
LYRICS = "[Verse]\nla la la\nthe sea"
LANGUAGE = Language("nano", BUNDLED / "acestep-5Hz-lm-nano", "float32")


@pytest.fixture(scope="module")
def network() -> CausalLM:
    model = LANGUAGE.load(torch.float32)
    assert isinstance(model, CausalLM)
    return model


@torch.inference_mode()
def naive(model: CausalLM, prompt: str, target: str) -> tuple[list[float], list[int]]:
    """Log-probability and rank of every token of a target, by one whole forward."""
    before, ids = LANGUAGE.words.ids(prompt), LANGUAGE.words.ids(target)
    whole = torch.tensor([*before, *ids])
    logits = model.logits(model(whole, [len(whole)]), slice(0, model.embed_tokens.num_embeddings))
    rows = logits[len(before) - 1 : -1].double().log_softmax(-1)
    logs = [float(row[token]) for row, token in zip(rows, ids, strict=True)]
    ranks = [int((row > row[token]).sum()) + 1 for row, token in zip(rows, ids, strict=True)]
    return logs, ranks


def test_a_score_is_what_whole_forwards_say(network: CausalLM) -> None:
    found = score(Engine("cpu", dtype="float32"), Score(audio_codes=CODES, lyrics=LYRICS, **GIVEN))
    task = ScoreTask(CODES, Sheet(97, "slow bossa nova", None, None, "A minor", None, "3"), LYRICS)
    heard, nothing = lm_prompts.understanding_prompt(CODES), lm_prompts.understanding_prompt("")
    assert set(found.parts) == {"bpm", "caption", "keyscale", "timesignature", "lyrics"}
    for name, target in task.targets().items():
        logs, ranks = naive(network, heard, target)
        if name in ("caption", "lyrics"):
            without, _ = naive(network, nothing, target)
            told = sum(logs) / len(logs) - sum(without) / len(without)
            assert found.information[name] == pytest.approx(told, abs=1e-4)
            assert found.parts[name] == pytest.approx(1 / (1 + math.exp(-told / SCALE)), abs=1e-3)
        else:
            counted = [max(0.0, 1 - (rank - 1) / 10) for rank in ranks]
            assert found.parts[name] == pytest.approx(sum(counted) / len(counted), abs=1e-6)
    assert found.reward == pytest.approx(reward(found.parts))


def test_weights_of_what_is_not_there_go_to_what_is() -> None:
    assert reward({"caption": 0.4}) == pytest.approx(0.4)
    assert reward({"caption": 1.0, "lyrics": 0.0}) == pytest.approx(0.5 / 0.8)
    assert reward({"bpm": 0.2, "keyscale": 0.4, "lyrics": 1.0}) == pytest.approx(
        (0.2 * 0.3 + 0.3) / 0.5
    )
    assert reward({}) == 0.0


@pytest.mark.ci
def test_nothing_is_loaded_twice() -> None:
    engine = Engine("cpu")
    loads = []
    made = engine._pool._loaders["acestep-5Hz-lm-nano"]
    engine._pool._loaders = {  # type: ignore[assignment]
        **engine._pool._loaders, "acestep-5Hz-lm-nano": lambda: (loads.append(1), made())[1],
    }  # fmt: skip
    engine.perform(Understand(audio_codes=CODES, seed=1))
    engine.perform(Score(audio_codes=CODES, lyrics=LYRICS, **GIVEN))
    assert loads == [1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"audio_codes": "", "lyrics": LYRICS}, "audio_codes"),
        ({"audio_codes": "64000", "lyrics": LYRICS}, "audio_codes"),
        ({"audio_codes": "no codes", "lyrics": LYRICS}, "audio_codes"),
        ({"audio_codes": CODES}, "caption"),
        ({"audio_codes": CODES, "bpm": "fast"}, "bpm"),
        ({"audio_codes": CODES, "bpm": 999}, "bpm"),
    ],
)
def test_what_cannot_be_scored_is_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as fault:
        Engine("cpu").perform(Score.model_validate(fields))
    assert fault.value.field == field


def test_the_command(cli: Cli) -> None:
    done = cli("score", "1,2,3,400", "--caption", "slow", "--bpm", "90", "--json")
    assert done.code == 0, done.err
    value = json.loads(done.out)
    assert set(value["parts"]) == {"bpm", "caption"} and 0 <= value["reward"] <= 1
    assert "reward" in cli("score", "1,2,3", "--caption", "slow", "--quiet").out
    assert cli("score", "1,2,3").code == 2
