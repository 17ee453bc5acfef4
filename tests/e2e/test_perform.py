"""Every request that a family answers, by the one verb: on the host, and on a card with hardly any
room, where the plan of each act holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from headroom import Engine
from headroom.device.simulated import SimulatedDevice
from headroom.engine import wire
from headroom.errors import InvalidRequest
from headroom.memory.plan import Residency, Wishes
from headroom.models.outputs import AudioCodes, SongSheet, Timestamps
from headroom.models.registry import family_named
from headroom.params.request import SONGS, Request
from headroom.runtime.card import Card
from headroom.runtime.events import Event, Started
from headroom.settings import load
from headroom.units import GIB
from support.answers import score, sheet
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
FAMILY = family_named()
SECONDS = 1  # the bundled encoder takes two seconds for each
SHORT: dict[str, object] = {"duration": 10, "inference_steps": 1, "seed": 3}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that end early: the small model would write lyrics for seconds."""
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", 40)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "a.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000 * SECONDS, 2))
    soundfile.write(path, noise.astype(np.float32), 48_000)
    return path


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu", "float32")


def request(task: str, recording: Path) -> Request:
    """A request of each task, with what it must have."""
    kind = FAMILY.requests[task]
    fields: dict[str, object] = {"task": task}
    values: dict[str, object] = {
        "source_audio": recording, "caption": "slow", "lyrics": "la la\nfar away", "seed": 3,
        "track": "drums", "inference_steps": 1,
    }  # fmt: skip
    fields |= {name: value for name, value in values.items() if name in kind.model_fields}
    if task == "text2music":
        fields |= SHORT
    if task == "repaint":
        fields |= {"start": 0.2, "end": 0.5}
    return FAMILY.request(fields)


@pytest.mark.parametrize("task", list(FAMILY.requests))
def test_every_request_is_planned_and_performed(engine: Engine, task: str, recording: Path) -> None:
    asked = request(task, recording)
    plan = engine.plan(asked)
    events: list[Event] = []
    result = engine.perform(asked, events.append)
    assert result.output.kind == type(asked).makes
    stages = [stage.stage for stage in plan.stages]
    assert [stage.stage for stage in result.plan.stages] == stages
    assert [stage.stage for stage in result.report.stages] == stages
    assert sum(isinstance(event, Started) for event in events) == 1
    form = json.loads(json.dumps(wire.result_json(result.outcome())))
    assert form["output"]["kind"] == type(asked).makes
    assert wire.result_from(form) == result.outcome()


@pytest.mark.parametrize("residency", [Residency.SWAPPED, Residency.STREAMED])
@pytest.mark.parametrize(
    "task", [task for task, kind in FAMILY.requests.items() if kind.makes != SONGS]
)
def test_no_act_takes_more_than_it_was_planned_to(
    task: str, residency: Residency, recording: Path, engine: Engine
) -> None:
    card = Card(SimulatedDevice(24 * GIB))
    settings = load({"HEADROOM_POLICY": "adaptive"})
    tight = Engine("auto", "float32", card=card, wishes=Wishes(residency), settings=settings)
    asked = request(task, recording)
    result = tight.perform(asked)
    for stage in result.report.stages:
        assert 0 < stage.measured_bytes <= stage.planned_bytes, stage.stage
    expected = engine.perform(asked).output
    if isinstance(expected, AudioCodes | SongSheet):  # written on the host in the same numbers
        assert result.output == expected
    tight.close()


def test_a_recording_is_understood_by_its_codes(engine: Engine, recording: Path) -> None:
    codes = engine.perform(FAMILY.request({"task": "encode_audio", "source": recording})).output
    assert isinstance(codes, AudioCodes)
    assert len(codes.codes) == SECONDS * 5 and codes.text.count("audio_code") == SECONDS * 5
    asked: dict[str, Any] = {"task": "understand", "seed": 5}
    heard = sheet(engine, FAMILY.request({**asked, "source_audio": recording}))
    assert heard == sheet(engine, FAMILY.request({**asked, "audio_codes": codes.text}))
    asked = {"task": "score", "lyrics": "la la", "bpm": 90}
    heard_score = score(engine, FAMILY.request({**asked, "source_audio": recording}))
    assert heard_score == score(engine, FAMILY.request({**asked, "audio_codes": codes.text}))
    assert heard_score != score(engine, FAMILY.request({**asked, "audio_codes": "1,2,3"}))


def test_lines_are_found_within_the_recording(engine: Engine, recording: Path) -> None:
    times = engine.perform(request("align_lyrics", recording)).output
    assert isinstance(times, Timestamps)
    assert [line.text for line in times.lines] == ["la la", "far away"]
    starts = [line.start for line in times.lines]
    assert starts == sorted(starts) and 0 <= starts[0] and times.lines[-1].end <= SECONDS
    with pytest.raises(InvalidRequest, match="lyrics"):
        FAMILY.request({"task": "align_lyrics", "source": recording, "lyrics": "[Instrumental]"})


def test_songs_alone_are_generated(engine: Engine, recording: Path) -> None:
    for task, kind in FAMILY.requests.items():
        if kind.makes != SONGS:
            with pytest.raises(InvalidRequest, match=r"`perform`"):
                engine.generate(request(task, recording))
            fields = request(task, recording).model_dump(exclude_unset=True)
            with pytest.raises(InvalidRequest, match=r"task.*one of text2music"):
                FAMILY.song({**fields, "task": task})


def test_a_family_without_an_answer_says_so(recording: Path) -> None:
    tone = Engine("cpu", family="tone")
    with pytest.raises(InvalidRequest, match="request: 'Understand'"):
        tone.perform(request("understand", recording))


def test_where_language_models_are_off_none_is_used(recording: Path) -> None:
    off = Engine("cpu", lm_model="none")
    for task, kind in FAMILY.requests.items():
        if kind.uses_language_model:
            for verb in (off.plan, off.perform):
                with pytest.raises(InvalidRequest, match=r"lm_model: 'none'.*needs one"):
                    verb(request(task, recording))
    assert isinstance(off.perform(request("encode_audio", recording)).output, AudioCodes)


def test_the_commands_print_codes_and_times(cli: Cli, recording: Path, home: Path) -> None:
    done = cli("encode", str(recording), "--quiet")
    assert done.code == 0 and done.out.count("<|audio_code_") == SECONDS * 5, done.err
    words = home / "words.txt"
    words.write_text("la la\nfar away")
    done = cli("align", str(recording), "--lyrics", "@words.txt", "--json")
    assert done.code == 0, done.err
    assert [line["text"] for line in json.loads(done.out)["lines"]] == ["la la", "far away"]
    done = cli("align", str(recording), "--lyrics", "la", "--quiet")
    assert done.out.endswith("]la\n") and done.out.startswith("[00:0")
    for command in ("encode", "align", "understand", "compose", "score"):
        done = cli(command, "x", "--family", "tone")
        assert done.code == 2 and "family: 'tone'" in done.err, done.err
