"""Lyric timestamps as programs for ACE-Step ask for them: from rows of `extra_outputs`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from headroom import Text2Music
from headroom.models.acestep.timestamps import timestamps
from headroom.models.acestep.timestamps.alignment import Consensus

LYRICS = "[Verse]\nla la la\nthe sea"
KEYS = ("encoder_hidden_states", "encoder_attention_mask", "context_latents")
Made = tuple[AceStepHandler, GenerationResult]


@pytest.fixture(scope="module")
def made() -> Made:
    handler = AceStepHandler()
    _, ok = handler.initialize_service(".", "acestep-v15-nano", device="cpu")
    assert ok
    params = GenerationParams(caption="x", lyrics=LYRICS, duration=10, inference_steps=2)
    result = generate_music(handler, None, params, GenerationConfig(batch_size=2, seeds=[1, 2]))
    assert result.success
    return handler, result


def asked(result: GenerationResult, index: int, **changes: Any) -> dict[str, Any]:
    """As the programs call it."""
    extra, row = result.extra_outputs, slice(index, index + 1)
    return {
        "pred_latent": extra["pred_latents"][row],
        **{name: extra[name][row] for name in KEYS},
        "lyric_token_ids": extra["lyric_token_idss"][row],
        "total_duration_seconds": 10.0,
        "vocal_language": "en",
        "inference_steps": 2,
        **changes,
    }


def watched(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What heads look at from now on."""
    seen: list[torch.Tensor] = []
    plain = Consensus.add
    monkeypatch.setattr(Consensus, "add", lambda self, p: (seen.append(p), plain(self, p))[1])
    return seen


def test_what_a_program_hands_back_is_timed_as_the_engine_times_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, result = made
    seen = watched(monkeypatch)
    for index in range(2):
        told = handler.get_lyric_timestamp(**asked(result, index))
        assert told["success"] and told["error"] is None
        assert set(told) == {
            "lrc_text", "sentence_timestamps", "token_timestamps", "success", "error",
        }  # fmt: skip
        lines = told["sentence_timestamps"]
        assert [line.text for line in lines] == ["la la la", "the sea"]
        assert 0 <= lines[0].start < lines[1].start < lines[1].end <= 10
        assert "".join(token.text for token in told["token_timestamps"]) == LYRICS
        rows = told["lrc_text"].split("\n")
        assert [row.split("]")[1] for row in rows] == ["la la la", "the sea"]
    engine = handler.engine_for(None)
    request = Text2Music(caption="x", lyrics=LYRICS, duration=10, inference_steps=2, seeds=(1, 2))
    own = engine.generate(request)
    assert torch.equal(own.kept["latents"], result.extra_outputs["pred_latents"])
    by_program, seen[:] = list(seen), []
    for index in range(2):
        engine.timestamps(own, index)
    assert len(seen) == len(by_program) > 0
    assert all(torch.equal(a, b) for a, b in zip(seen, by_program, strict=True))


def test_layers_steps_and_seed_are_what_is_said(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, result = made
    seen = watched(monkeypatch)

    def one(**changes: Any) -> torch.Tensor:
        seen.clear()
        told = handler.get_lyric_timestamp(**asked(result, 0, **changes))
        assert told["success"], told["error"]
        return torch.stack(seen)

    usual = one()
    assert len(usual) == 19 and torch.equal(usual, one(seed=timestamps.SEED))
    assert torch.equal(one(custom_layers_config={2: [1], 3: [0, 2]}), usual[[1, 6, 8]])
    assert not torch.equal(one(seed=7), usual) and not torch.equal(one(inference_steps=8), usual)
    assert one(total_duration_seconds=4.0).shape[1] == 50  # frames of attention: 12.5 a second


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inference_steps": 0}, "inference_steps"),
        ({"inference_steps": 2.5}, "inference_steps"),
        ({"total_duration_seconds": 0.0}, "total_duration_seconds"),
        ({"custom_layers_config": {9: [0]}}, "heads"),
        ({"custom_layers_config": {2: [6]}}, "heads"),
        ({"custom_layers_config": {}}, "heads"),
        ({"pred_latent": torch.zeros(2, 250, 64)}, "pred_latent"),
        ({"pred_latent": torch.zeros(1, 250, 8)}, "pred_latent"),
        ({"pred_latent": torch.zeros(1, 200, 64)}, "context_latents"),
        ({"lyric_token_ids": torch.tensor([[1, 2, 3]])}, "lyric_token_ids"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_and_not_raised(
    made: Made, changes: dict[str, Any], said: str
) -> None:
    handler, result = made
    told = handler.get_lyric_timestamp(**asked(result, 0, **changes))
    assert not told["success"] and said in told["error"]
    assert (told["lrc_text"], told["sentence_timestamps"]) == ("", [])


def test_a_handler_without_a_service_and_a_song_without_words_say_so(made: Made) -> None:
    told = AceStepHandler().get_lyric_timestamp(**asked(made[1], 0))
    assert told["error"] == "Model not initialized" and not told["success"]
    params = GenerationParams(caption="x", duration=10, inference_steps=1)
    result = generate_music(made[0], None, params, GenerationConfig(batch_size=1))
    told = made[0].get_lyric_timestamp(**asked(result, 0))
    assert not told["success"] and "no words are sung" in told["error"]
    padded = asked(made[1], 0)
    ids = padded["lyric_token_ids"]
    padded["lyric_token_ids"] = torch.cat((ids, ids[:, -1:].expand(1, 9)), 1)
    told = made[0].get_lyric_timestamp(**padded)
    assert [line.text for line in told["sentence_timestamps"]] == ["la la la", "the sea"]
