"""The events of the page: what Gradio's script sends and reads, without Gradio's own answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import gradio as gr
import httpx2
import pytest
from gradio.blocks import Blocks

from headroom.ui.events import told
from headroom.ui.machine import command
from support.blocks import in_loop
from support.web import Service

EVENT = "/ui/gradio_api/run/predict"
# Components whose values are JSON as they are: `ui.events` passes them through untouched.
PLAIN = {
    "accordion", "browserstate", "button", "checkbox", "dropdown", "html", "number", "radio",
    "slider", "tabitem", "textbox",
}  # fmt: skip
CHOSEN = [True, "acestep-5Hz-lm-0.6B", "pt", True, False, "none", False]


@pytest.fixture
def shown(service: Service) -> dict[str, Any]:
    """The page as Gradio's script knows it."""
    told: dict[str, Any] = service.client.get("/ui/config").json()
    return told


def event(shown: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in shown["dependencies"] if one["api_name"] == name)
    return found


def sent(service: Service, id: int, data: object, **more: object) -> httpx2.Response:
    body = {"fn_index": id, "data": data, "session_hash": "somebody", "trigger_id": 1, **more}
    return service.client.post(EVENT, json=body)


def test_an_event_is_answered_as_its_handler_answers(
    service: Service, shown: dict[str, Any]
) -> None:
    id = event(shown, "command")["id"]
    assert sent(service, id, CHOSEN).json() == {"data": [command(*CHOSEN)]}  # type: ignore[arg-type]


def test_a_handler_is_given_the_request_of_the_browser(
    service: Service, shown: dict[str, Any]
) -> None:
    looked = event(shown, "looked")
    answer = sent(service, looked["id"], ["en", "8"]).json()["data"]
    assert len(answer) == len(looked["outputs"]) and "<dl class='figures'>" in answer[0]
    far = service.client_at("10.0.0.9")
    body = {"fn_index": looked["id"], "data": ["en", "8"]}
    assert far.post(EVENT, json=body).status_code == 401


def test_what_is_no_event_of_the_page_is_refused(service: Service, shown: dict[str, Any]) -> None:
    id = event(shown, "command")["id"]
    script = next(one["id"] for one in shown["dependencies"] if not one["backend_fn"])
    for wrong in (sent(service, 9999, []), sent(service, id, []), sent(service, script, [""])):
        assert (wrong.status_code, wrong.json()) == (400, {"error": "the page has no such event."})
    for body in ("", "[]", '{"fn_index": "x", "data": []}', '{"fn_index": 1, "data": {}}'):
        answer = service.client.post(EVENT, content=body, headers={"Content-Type": "text/json"})
        assert answer.status_code in (400, 415), body
        answer = service.client.post(
            EVENT, content=body, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()) == (
            400, {"error": "this is no event of the page."},
        )  # fmt: skip
    assert service.client.get(EVENT).status_code == 405


def test_every_event_goes_this_way(shown: dict[str, Any]) -> None:
    kinds = {one["id"]: one["type"] for one in shown["components"]}
    events = [one for one in shown["dependencies"] if one["backend_fn"]]
    assert len(events) > 20
    for one in events:
        assert one["queue"] is False and one["types"]["generator"] is False, one["api_name"]
        assert {kinds[id] for id in (*one["inputs"], *one["outputs"])} <= PLAIN


def test_nothing_is_kept_for_each_who_opens_the_page(
    service: Service, shown: dict[str, Any]
) -> None:
    id = event(shown, "remembered")["id"]
    for number in range(3):
        answer = sent(service, id, [{"language": "pt"}], session_hash=f"person {number}")
        assert answer.json()["data"][0]["value"] == "pt"
    blocks: Blocks = service.app.router.routes[-1].app._app.get_blocks()  # type: ignore[attr-defined]
    assert len(blocks.state_holder.session_data) == 0


@pytest.mark.parametrize(
    ("kind", "update"),
    [
        (gr.Textbox, {}),
        (gr.Textbox, {"value": None, "label": "a", "placeholder": None}),
        (gr.Dropdown, {"choices": [("a", "b")], "value": "b", "label": None}),
        (gr.Radio, {"choices": [("A", "a")], "value": "a", "visible": True}),
        (gr.Slider, {"maximum": 5, "label": "l"}),
        (gr.Number, {"value": 3, "info": "i"}),
        (gr.Checkbox, {"value": True, "interactive": False}),
        (gr.Accordion, {"open": True, "label": "x"}),
        (gr.HTML, {"value": "<p>", "said": "a\nb"}),
        (gr.HTML, {"said": "a\nb", "label": None}),
    ],
)
def test_an_update_is_told_as_gradio_tells_it(kind: type[Any], update: dict[str, Any]) -> None:
    def one() -> tuple[Blocks, Any]:
        with gr.Blocks(analytics_enabled=False) as page:
            block = kind()
            page.load(lambda: gr.update(**update), None, [block])
        return page, block

    page, block = in_loop(one)
    function = next(iter(page.fns.values()))
    theirs = asyncio.run(page.process_api(function, [], None, None))["data"][0]
    theirs.get("props", {}).pop("__type__", None)  # Gradio's mark is no property of ours
    ours = told(gr.update(**update), block)
    assert json.loads(json.dumps(ours)) == json.loads(json.dumps(theirs))
