"""The form: what it sends is what its controls show, and what it plans is what REST plans."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from headroom.models.registry import family_named
from headroom.ui.fields import about
from headroom.ui.make import Form, form
from headroom.ui.making import Handlers, forget, keep, preset
from headroom.ui.rest import Refused, Rest
from headroom.ui.seen import EXPERT, ONLY_EXPERT, SIMPLE, style
from headroom.ui.texts import Texts
from headroom.ui.words import Words
from support.blocks import built
from support.web import SONG, Service

FAMILY = family_named("acestep")
REMOTE = "10.0.0.9"


@pytest.fixture(scope="module")
def shape() -> Form:
    return built(lambda: form(FAMILY, Texts(Words())))


@pytest.fixture
def handlers(shape: Form, service: Service) -> Handlers:
    return Handlers(Rest(service.app), FAMILY, shape)


def event(secret: str = "", host: str = "127.0.0.1:8001", peer: str = "127.0.0.1") -> gr.Request:
    """An event of a browser, as Gradio hands it to a handler."""
    headers = {"host": host} | ({"x-api-key": secret} if secret else {})
    browser = SimpleNamespace(headers=headers, client=SimpleNamespace(host=peer, port=4000))
    return gr.Request(cast("Any", browser))


def values(shape: Form, **changed: object) -> list[object]:
    """What the controls show: what they begin with, apart from these fields."""
    return [changed.get(one.param.name, one.show(None)) for one in shape.fields]


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_nothing_changed_sends_nothing_but_the_task(handlers: Handlers, shape: Form) -> None:
    for task in FAMILY.requests:
        assert handlers.request(EXPERT, task, "", *values(shape)) == {"task": task}


def test_what_the_controls_show_is_what_is_sent(handlers: Handlers, shape: Form) -> None:
    shown = values(
        shape, caption="a song", bpm="120", seed=str(2**64 - 1), instrumental=True,
        dcw_enabled="off", lm_temperature=0.5, batch_size=2, duration="60", tracks=["bass"],
    )  # fmt: skip
    made = handlers.request(EXPERT, "text2music", "tender", *shown)
    assert made == {
        "task": "text2music", "caption": "a song", "bpm": "120", "seed": str(2**64 - 1),
        "instrumental": True, "dcw_enabled": False, "lm_temperature": 0.5, "batch_size": 2,
        "duration": "60",
    }  # fmt: skip
    request = FAMILY.request(made)
    assert (request.seed, request.bpm) == (2**64 - 1, 120)  # type: ignore[attr-defined]


def test_a_family_that_speaks_has_no_mood_and_shows_what_it_cannot_do_without() -> None:
    family = family_named("stepaudio")
    spoken = built(lambda: form(family, Texts(Words())))
    assert not spoken.mood.visible
    asking = Handlers(cast("Rest", None), family, spoken)
    for task in family.requests:  # a kind of change is chosen, or none
        assert asking.request(EXPERT, task, "", *values(spoken)) == {"task": task}
    shown = values(spoken, edit_type="vad")
    assert asking.request(EXPERT, "edit", "", *shown)["edit_type"] == "vad"
    simple = {
        one.param.name for one in spoken.fields
        if one.control is not None and ONLY_EXPERT not in (one.control.elem_classes or [])
    }  # fmt: skip
    assert simple == {"text", "prompt_audio", "prompt_text"}


def test_in_the_simple_form_the_mood_joins_the_sentence(handlers: Handlers, shape: Form) -> None:
    shown = values(shape, caption="a song")
    made = handlers.request(SIMPLE, "cover", "tender", *shown)
    assert made == {"task": "text2music", "caption": "a song, tender"}
    assert handlers.request(SIMPLE, "cover", "", *values(shape)) == {"task": "text2music"}


@pytest.mark.parametrize("task", list(FAMILY.requests))
def test_a_request_that_is_shown_is_the_request_that_is_sent(
    handlers: Handlers, shape: Form, task: str
) -> None:
    given = {"task": task}
    having = {one.param.name for one in shape.fields if task in one.tasks}
    sample = {
        "caption": "two\nlines", "lyrics": "[Verse]", "bpm": 90, "seed": 2**63, "seeds": [1, 2],
        "timesteps": [1.0, 0.5], "tracks": ["bass", "drums"], "dcw_enabled": True, "shift": 2.5,
        "source_audio": "AbcdefghijklmnopqrsT", "reference_audio": ["AbcdefghijklmnopqrsT"],
        "keyscale": "A minor", "instrumental": True, "audio_format": "mp3",
    }  # fmt: skip
    given |= cast("Any", {name: value for name, value in sample.items() if name in having})
    updates = handlers.shown("en", json.dumps(given))
    shown = [one["value"] for one in updates[-1 - len(shape.fields) : -1]]
    again = FAMILY.request(handlers.request(EXPERT, task, "", *shown))
    assert again == FAMILY.request(given)


def test_the_headings_of_what_is_set_are_open(handlers: Handlers, shape: Form) -> None:
    updates = handlers.shown("en", json.dumps({"task": "cover", "source_audio": "a" * 20}))
    folds = [names for _, names in shape.folds]
    opened = [names for names, update in zip(folds, updates[2:], strict=False) if "open" in update]
    assert opened == [names for names in folds if "source_audio" in names]
    assert len(opened) == 1 and len(folds) > 3


def test_a_file_of_the_reference_is_shown_under_todays_names(
    handlers: Handlers, shape: Form
) -> None:
    old = {"prompt": "a song", "audio_duration": 42, "infer_step": None, "use_adg": True}
    del old["infer_step"]
    updates = handlers.shown("en", json.dumps(old))
    shown = [one["value"] for one in updates[-1 - len(shape.fields) : -1]]
    assert handlers.request(EXPERT, "text2music", "", *shown) == {
        "task": "text2music", "caption": "a song", "duration": "42", "guidance_variant": "adg",
    }  # fmt: skip


def test_a_path_of_another_machine_is_not_shown(handlers: Handlers, shape: Form) -> None:
    updates = handlers.shown("en", json.dumps({"task": "cover", "source_audio": "songs/a.wav"}))
    named = dict(
        zip(
            [one.param.name for one in shape.fields],
            updates[-1 - len(shape.fields) : -1],
            strict=True,
        )
    )
    assert named["source_audio"]["value"] == ""


@pytest.mark.parametrize("text", ["", "[]", "{", '{"unheard_of": 1}', '{"duration": -4}'])
def test_what_is_no_request_is_refused_with_a_sentence(handlers: Handlers, text: str) -> None:
    told = handlers.shown("en", text)[-1]
    assert "This file holds no request" in told and "<" not in told.split(">", 2)[2][:20]


def test_a_plan_is_the_plan_of_rest(handlers: Handlers, shape: Form, service: Service) -> None:
    asked = [EXPERT, "text2music", "", *values(shape, duration="500", batch_size=8)]
    said = run(handlers.plan(event(), "en", "4", *asked))
    told = service.client.post(
        "/v1/plan?vram=4", json={"task": "text2music", "duration": 500, "batch_size": 8}
    ).json()
    assert told["duration"] == 360
    assert "One song of 6:00" in said
    for note in told["notes"]:
        assert f"it will be {note['used']}" in said
    assert said.count("<li><span class='name'>") == len(told["stages"])


def test_a_plan_that_is_refused_says_why_and_escapes_it(handlers: Handlers, shape: Form) -> None:
    asked = [EXPERT, "text2music", "", *values(shape, bpm="<b>fast</b>")]
    said = run(handlers.plan(event(), "en", "", *asked))
    assert "refused" in said and "&lt;b&gt;" in said and "<b>" not in said


def test_the_bounds_are_those_of_rest(handlers: Handlers, service: Service) -> None:
    limits = service.client.get("/v1/limits?task=text2music&vram=4").json()["limits"]
    updates = run(handlers.bounded(event(), "en", "4", "text2music"))
    shown = dict(zip([id(one) for one in handlers.bounds], updates, strict=True))
    assert shown[id(handlers.form.length)]["maximum"] == limits["duration"]["maximum"] == 360
    for one in handlers.form.fields:
        if one.has_bounds and one.param.name in limits:
            assert shown[id(one.control)]["info"] == about(one.param, Words(), limits)
    named = {one.param.name: shown[id(one.control)]["info"] for one in handlers.form.fields
             if one.has_bounds}  # fmt: skip
    assert named["duration"].endswith("(10–360 s)") and named["batch_size"].endswith("(1–1)")


def test_tasks_that_need_a_language_model_are_grey_where_none_is_loaded(
    handlers: Handlers,
) -> None:
    for vram, able in (("4", False), ("8", True)):
        updates = run(handlers.bounded(event(), "en", vram, "text2music"))
        choices = [value for _, value in updates[1]["choices"]]
        assert ("create_sample" in choices) is able
        assert ("needs a language model" in updates[2]) is not able


def test_a_job_is_made_for_who_asks(handlers: Handlers, shape: Form, service: Service) -> None:
    key, secret = service.key()
    asked = [EXPERT, "text2music", "", *values(shape, caption="mine")]
    far = event(secret, "cellar.lan:8001", REMOTE)
    id, kept, _ = run(handlers.make(far, "en", {}, *asked))
    job = service.doors.queue.get(id)
    assert job.key == key and json.loads(job.request)["request"]["caption"] == "mine"
    last = {"task": "text2music", "caption": "mine"}
    assert kept == {"last": last, "mode": EXPERT, "mood": ""}


def test_who_has_no_key_makes_nothing(handlers: Handlers, shape: Form, service: Service) -> None:
    before = service.doors.queue.stats().counts
    for secret in ("", "hr_wrong"):
        far = event(secret, "cellar.lan:8001", REMOTE)
        id, kept, told = run(handlers.make(far, "pt", {}, EXPERT, "text2music", "", *values(shape)))
        assert id == "" and isinstance(kept, dict) and "refused" in told
    assert service.doors.queue.stats().counts == before


def test_the_page_may_ask_nothing_that_rest_refuses(service: Service) -> None:
    _, secret = service.key()
    _, other = service.key()
    rest = Rest(service.app)
    far, another = (event(one, "cellar.lan:8001", REMOTE) for one in (secret, other))
    job = run(rest.ask(far, "POST", "/v1/jobs", SONG))
    assert run(rest.ask(far, "GET", f"/v1/jobs/{job['id']}"))["id"] == job["id"]
    for method in ("GET", "DELETE"):
        with pytest.raises(Refused) as error:
            run(rest.ask(another, method, f"/v1/jobs/{job['id']}"))
        assert error.value.status == 404
    with pytest.raises(Refused) as error:
        run(rest.ask(far, "POST", "/v1/jobs", SONG, priority=5))
    assert error.value.form["code"] == "no_right"


def test_a_page_of_another_origin_reaches_nothing_through_an_event(service: Service) -> None:
    browser = event()
    cast("Any", browser.request).headers["origin"] = "http://evil.example"
    with pytest.raises(Refused) as error:
        run(Rest(service.app).ask(browser, "POST", "/v1/jobs", SONG))
    assert error.value.form["code"] == "foreign_origin"


def test_presets_are_kept_replaced_and_forgotten() -> None:
    kept, chosen = keep({"language": "pt"}, " slow ", {"caption": "a"})
    kept, _ = keep(kept, "fast", {"caption": "b"})
    kept, chosen = keep(kept, "slow", {"caption": "c"})
    assert chosen["choices"] == [("slow", "slow"), ("fast", "fast")] and kept["language"] == "pt"
    assert json.loads(preset(kept, "slow")) == {"caption": "c"}
    kept, chosen = forget(kept, "slow")
    assert kept["presets"] == {"fast": {"caption": "b"}} and chosen["value"] is None
    assert keep(kept, "  ", {})[0]["presets"] == {"fast": {"caption": "b"}}


def test_who_comes_back_finds_the_form_as_it_was(handlers: Handlers, shape: Form) -> None:
    last = {"task": "format_sample", "caption": "again"}
    names, mode, task, *_ = handlers.opened("en", {"last": last, "mode": EXPERT})
    assert (mode["value"], task["value"]) == (EXPERT, "format_sample")
    fresh = handlers.opened("en", None)
    assert names["choices"] == [] and len(fresh) == len(handlers.opens)


def test_who_comes_back_to_the_simple_form_finds_it_as_it_was(
    handlers: Handlers, shape: Form, service: Service
) -> None:
    asked = [SIMPLE, "cover", "tender", *values(shape, caption="a song", duration="42")]
    job, kept, _ = run(handlers.make(event(), "en", {"language": "en"}, *asked))
    sent = json.loads(service.doors.queue.get(job).request)["request"]
    assert sent["caption"] == "a song, tender"
    found = handlers.opened("en", kept)
    shown = dict(zip(map(id, handlers.opens), found, strict=True))
    assert shown[id(shape.mode)]["value"] == SIMPLE
    assert shown[id(shape.mood)]["value"] == "tender"
    assert shown[id(shape.length)]["value"] == 42
    text = next(one.control for one in shape.fields if one.param.name == "caption")
    assert shown[id(text)]["value"] == "a song"


def test_each_task_shows_its_own_fields(shape: Form) -> None:
    sheet = style(FAMILY)
    for task, kind in FAMILY.requests.items():
        assert f"#form[data-mode=expert][data-task={task}] .asked:not(.for-{task})" in sheet
        controls = {one.param.name: cast("Any", one.control) for one in shape.fields}
        seen = {name for name, one in controls.items() if f"for-{task}" in one.elem_classes}
        assert seen == set(kind.model_fields) - {"task"}
        assert all("asked" in one.elem_classes for one in controls.values())
    ahead = {name for name, one in controls.items() if "only-expert" not in one.elem_classes}
    assert ahead == {"caption"}


@pytest.mark.parametrize(("steps", "few"), [(None, 4), (50, 4), (6, 3), (1, 1)])
def test_a_preview_has_the_seeds_of_the_whole_song_and_few_steps(
    handlers: Handlers, shape: Form, service: Service, steps: int | None, few: int
) -> None:
    shown = values(shape, caption="a song", batch_size=2, seed="7")
    if steps is not None:
        shown = values(shape, caption="a song", batch_size=2, seed="7", inference_steps=steps)
    answer = run(handlers.preview(event(), "en", {}, EXPERT, "text2music", "", *shown))
    id, kept, told = answer[0], answer[1], json.loads(answer[-1])
    assert told["id"] == id and kept["last"]["caption"] == "a song"
    quick = json.loads(service.doors.queue.get(id).request)["request"]
    whole = told["whole"]
    assert quick == {**whole, "inference_steps": few}
    assert whole.get("inference_steps") == steps
    assert whole["seeds"][0] == 7 and len(whole["seeds"]) == whole["batch_size"] == 2
    assert service.client.post("/v1/jobs", json=whole).status_code == 202


def test_what_has_no_preview_is_made_and_what_is_wrong_is_told(
    handlers: Handlers, shape: Form, service: Service
) -> None:
    shown = values(shape, query="a waltz")
    id, *_, told = run(handlers.preview(event(), "en", {}, EXPERT, "create_sample", "", *shown))
    assert service.doors.queue.get(id).state == "queued" and told == ""
    wrong = values(shape, caption="a song", duration="-3")
    answer = run(handlers.preview(event(), "en", {}, EXPERT, "text2music", "", *wrong))
    assert answer[0] == "" and answer[-1] == "" and "-3" in answer[2]
