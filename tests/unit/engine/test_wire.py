"""The JSON forms: each value goes through JSON and comes back equal, and nothing lacks a form."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from headroom.audio.lrc import TimedText
from headroom.audio.wave import Audio
from headroom.engine import wire
from headroom.engine.provenance import Asked, CutOf, Pinned, Provenance
from headroom.engine.report import Report
from headroom.engine.wire import results
from headroom.engine.wire.errors import classes
from headroom.engine.wire.events import AudioStored
from headroom.errors import HeadroomError, InvalidRequest
from headroom.memory.plan import Plan
from headroom.models.outputs import AudioCodes, FitScore, SongSheet, Timestamps
from headroom.params.knob import Limit
from headroom.params.note import Note
from headroom.reasons import OTHER, Reason, Reasons, joined
from headroom.runtime import events
from headroom.runtime.events import AudioReady, Event, Progress
from support.every_error import MADE

FEW = settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
FLOATS = st.floats(-1e12, 1e12)
st.register_type_strategy(float, FLOATS)
WORDS = Reasons({"too_long": "at most {most:g} s fit on {card}", "cold": "it is cold"})
SCHEMAS = wire.schemas()
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)

st.register_type_strategy(
    Reason,
    st.builds(Reason, st.text(), st.text(), st.dictionaries(st.text(max_size=5), VALUES)),
)


def sent(form: Any, name: str = "") -> Any:
    """The form after it has been sent as strict JSON in UTF-8, valid under its schema."""
    arrived = json.loads(json.dumps(form, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    if name:
        Draft202012Validator(SCHEMAS[name]).validate(arrived)
    return arrived


# --- events and plans ----------------------------------------------------------------------

KINDS = [AudioStored if kind is AudioReady else kind for kind in get_args(Event)]


@FEW
@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_every_event_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    event = data.draw(st.from_type(kind))
    form = sent(wire.event_json(event), "event")
    assert form["format"] == wire.FORMAT
    assert wire.event_from(form) == event


def test_every_class_of_an_event_is_one_that_has_a_form() -> None:
    declared = {
        kind
        for _, kind in inspect.getmembers(events, dataclasses.is_dataclass)
        if kind.__module__ == events.__name__ and kind is not events.WithAudio
    }
    assert declared == set(get_args(Event))


def test_audio_is_described_and_named() -> None:
    event = AudioReady(1, 480, Audio(torch.zeros(2, 960), 48_000))
    form = sent(wire.event_json(event, file="a7"), "event")
    assert form == {
        "format": 1, "event": "audio_ready", "song": 1, "start": 480,
        "channels": 2, "frames": 960, "rate": 48_000, "file": "a7",
    }  # fmt: skip
    assert wire.event_from(form) == AudioStored(1, 480, 2, 960, 48_000, "a7")


def test_the_words_of_events() -> None:
    words = {wire.event_json(event)["event"] for event in (Progress("denoise", 1, 8),)}
    assert words == {"progress"}
    form = wire.event_json(Progress("denoise", 1, 8), job="j1")
    assert form == {
        "format": 1, "event": "progress", "stage": "denoise", "done": 1, "total": 8, "job": "j1",
    }  # fmt: skip


def test_what_is_no_event_is_refused_with_the_place_of_the_fault() -> None:
    good = wire.event_json(Progress("denoise", 1, 8))
    assert wire.event_from({**good, "later": "a key of a newer program"}) == Progress(
        "denoise", 1, 8
    )
    faults = {
        r"event\.event": {**good, "event": "sneezed"},
        r"event\.total": {**good, "total": "many"},
        r"event\.stage": {k: v for k, v in good.items() if k != "stage"},
        r"event\.format": {**good, "format": 2},
    }
    for place, form in faults.items():
        with pytest.raises(InvalidRequest, match=f"^{place}: "):
            wire.event_from(form)
    for nonsense in (None, [], "progress", {"event": ["progress"]}):
        with pytest.raises(InvalidRequest, match=r"^event\.event: "):
            wire.event_from(nonsense)
    with pytest.raises(TypeError, match="str has no JSON form"):
        wire.event_json("progress")  # type: ignore[arg-type]


@FEW
@given(st.from_type(Plan))
def test_every_plan_comes_back_as_it_was(plan: Plan) -> None:
    form = sent(wire.plan_json(plan), "plan")
    assert wire.plan_from(form) == plan
    assert (form["peak"], form["seconds"]) == (plan.peak, pytest.approx(plan.seconds))
    assert [p["residency"] for p in form["placements"]] == [
        p.residency.name.lower() for p in plan.placements
    ]


def test_an_event_says_what_its_reason_was_written_from() -> None:
    event = events.Replanned("denoise", WORDS("too_long", most=9, card="x"), True)
    form = sent(wire.event_json(event), "event")
    assert form["why"] == {
        "code": "too_long", "values": {"most": 9, "card": "x"}, "text": "at most 9 s fit on x",
    }  # fmt: skip
    back = wire.event_from(form)
    assert isinstance(back, events.Replanned)
    assert (back.why.code, back.why.values) == (event.why.code, event.why.values)


def test_numbers_that_json_lacks_come_back() -> None:
    event = events.StageDone("decode", 1, 2, math.inf)
    assert wire.event_from(sent(wire.event_json(event))) == event


# --- notes and limits ----------------------------------------------------------------------


@FEW
@given(st.text(max_size=9), VALUES, VALUES, st.text(max_size=9))
def test_every_note_comes_back_with_the_same_sentence(
    field: str, asked: object, used: object, why: str
) -> None:
    reason = joined([WORDS("too_long", most=9.5, card=why), WORDS("cold")])
    for note in (Note(field, asked, used, why), Note(field, asked, used, reason)):
        back = wire.note_from(sent(wire.note_json(note), "note"))
        assert back == note and back.sentence() == note.sentence()
        assert (back.reason.code, back.reason.values) == (note.reason.code, note.reason.values)


def test_a_note_says_what_its_sentence_was_written_from() -> None:
    note = Note("duration", 600, 9.5, WORDS("too_long", most=9.5, card="tier 1"))
    assert wire.note_json(note) == {
        "field": "duration",
        "asked": 600,
        "used": 9.5,
        "why": "at most 9.5 s fit on tier 1",
        "code": "too_long",
        "values": {"most": 9.5, "card": "tier 1"},
        "sentence": "duration: asked 600, used 9.5: at most 9.5 s fit on tier 1.",
    }
    assert wire.note_json(Note("a", 1, 2, "so"))["code"] == OTHER


def test_a_note_on_what_json_cannot_express_has_it_as_text() -> None:
    note = Note("x", math.inf, Path("a") / "b\udc80", "no \ud800 way")
    form = sent(wire.note_json(note), "note")
    assert (form["asked"], form["why"]) == ("inf", "no \\ud800 way")
    assert form["used"] == str(Path("a") / "b\\udc80")


def test_a_reason_is_a_text_that_can_be_copied() -> None:
    reason = joined([WORDS("too_long", most=9, card="x"), WORDS("cold")])
    assert reason == "at most 9 s fit on x; it is cold"
    for copy in (deepcopy(reason), pickle.loads(pickle.dumps(reason))):
        assert copy == reason and (copy.code, copy.values) == (reason.code, reason.values)
    with pytest.raises(KeyError):
        WORDS("hot")
    with pytest.raises(KeyError):
        WORDS("too_long", most=9)


BOUND = st.none() | FLOATS
LOW = st.floats(max_value=0, allow_nan=False)
HIGH = st.floats(min_value=0, allow_nan=False)


@FEW
@given(st.builds(Limit, LOW, HIGH, st.text(), BOUND, BOUND, BOUND, st.text()))
def test_every_limit_comes_back_as_it_was(limit: Limit) -> None:
    form = sent(wire.limits_json({"duration": limit}), "limits")
    assert form["format"] == wire.FORMAT
    assert wire.limits_from(form) == {"duration": limit}


def test_a_limit_that_is_none_is_refused() -> None:
    form: Any = wire.limits_json({"duration": Limit(1, 2, "so")})
    form["limits"]["duration"]["minimum"] = 3
    with pytest.raises(InvalidRequest, match=r"^limits: .*limit from 3.0 to 2.0"):
        wire.limits_from(form)


# --- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_every_error_comes_back_as_it_was(name: str) -> None:
    error = MADE[name]
    form = sent(wire.error_json(error), "error")
    assert form["format"] == wire.FORMAT
    back = wire.error_from(form)
    assert type(back) is type(error) and str(back) == str(error)
    assert back.exit_code == error.exit_code
    assert vars(back) == {name: v for name, v in vars(error).items() if name != "__notes__"}


def test_each_class_of_errors_has_its_own_code() -> None:
    assert {kind.__name__ for kind in classes().values()} >= set(MADE)
    assert wire.error_json(InvalidRequest("duration", -3.0, "a number above 0")) == {
        "format": 1,
        "code": "invalid_request",
        "message": "duration: -3.0 is not allowed; allowed: a number above 0.",
        "values": {"field": "duration", "value": -3.0, "allowed": "a number above 0"},
    }


def test_an_error_holds_no_traceback_and_no_long_value() -> None:
    huge: list[object] = []
    for _ in range(5000):
        huge = [huge]
    values = (
        "x" * 10_000_000,
        10**5000,
        huge,
        [1] * 100_000,
        object(),
        {"a": {}},
        b"\xff",
        "\ud800",
    )
    for value in values:
        try:
            raise InvalidRequest("caption", value, "a text")
        except InvalidRequest as error:
            error.add_note("internal")
            text = json.dumps(sent(wire.error_json(error), "error"))
        assert len(text) < 10_000 and "Traceback" not in text and "internal" not in text


def test_an_error_of_a_newer_program_is_an_error_all_the_same() -> None:
    form = {"format": 1, "code": "too_new", "message": "who knows", "values": {"n": 1}, "more": 2}
    back = wire.error_from(form)
    assert type(back) is HeadroomError and str(back) == "who knows" and vars(back) == {"n": 1}
    for nonsense in (None, "x", {}, {**form, "values": 3}, {**form, "format": 9}):
        with pytest.raises(InvalidRequest, match=r"^error"):
            wire.error_from(nonsense)


# --- results -------------------------------------------------------------------------------

PROVENANCE = Provenance(
    family="acestep",
    model="nano",
    requests=(Asked(kind="Text2Music", values={"caption": "x"}, set_fields=("caption",)),),
    song=0,
    seed=5,
    numerics=Pinned(
        dtype="bfloat16", compiled=False, threads=2, matmul="highest",
        cuts=(CutOf(stage="decode", pieces=1, tile=None),),
    ),
    device="a card",
    device_kind="cuda",
    isa="AVX2",
    versions={"torch": "2"},
    weights=(),
    sources=(),
)  # fmt: skip
NOTED = Note("seed", 3, None, WORDS("cold"))
OUTPUTS: dict[str, st.SearchStrategy[Any]] = {
    "songs": st.builds(
        results.SongsMade,
        st.lists(
            st.builds(
                results.SongMade, st.integers(), FLOATS, st.just(PROVENANCE),
                st.lists(st.from_type(TimedText)).map(tuple), st.none() | st.text(),
            ),
            max_size=2,
        ).map(tuple),
    ),
    "song_sheet": st.builds(SongSheet, notes=st.just(())),
    "score": st.builds(FitScore, notes=st.just(())),
    "timestamps": st.builds(Timestamps, notes=st.just(())),
    "codes": st.builds(AudioCodes, rate=FLOATS, notes=st.just(())),
}  # fmt: skip


@FEW
@given(st.data())
@pytest.mark.parametrize("kind", list(results.OUTPUTS.classes))
def test_every_result_comes_back_as_it_was(kind: str, data: st.DataObject) -> None:
    output = data.draw(OUTPUTS[kind])
    reports = st.none() | st.from_type(Report)
    result = wire.Outcome(
        output,
        data.draw(st.none() | st.just(PROVENANCE.requests[0])),
        data.draw(st.none() | st.from_type(Plan)),
        data.draw(reports),
        data.draw(reports),
        data.draw(st.sampled_from([(), (NOTED,)])),
    )
    form = sent(wire.result_json(result), "result")
    assert (form["format"], form["output"]["kind"]) == (wire.FORMAT, kind)
    assert wire.result_from(form) == result


def test_the_kinds_of_output_are_those_of_the_type() -> None:
    assert set(results.OUTPUTS.classes.values()) == set(get_args(results.Output))
    assert set(OUTPUTS) == set(results.OUTPUTS.classes)


def test_what_is_no_result_is_refused() -> None:
    good = wire.result_json(wire.Outcome(AudioCodes((1,), "<|audio_code_1|>", 5)))
    for bad in ({**good, "output": {"kind": "smell"}}, {**good, "format": 3}, {}, None):
        with pytest.raises(InvalidRequest, match=r"^result"):
            wire.result_from(bad)
