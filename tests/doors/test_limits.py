"""Too long a song and too many at once: every door clamps them alike, and tells the same note."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import gradio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from starlette.testclient import TestClient

from headroom.cli.main import main
from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions
from headroom.engine.wire import note_json
from headroom.models.registry import family_named
from headroom.params.note import Note
from headroom.params.request import Request
from headroom.service.app import create_app
from headroom.service.config import from_settings
from headroom.service.work import Work
from headroom.settings import Settings, declared, load
from headroom.ui.make import Form, form
from headroom.ui.making import Handlers
from headroom.ui.rest import Rest
from headroom.ui.seen import EXPERT
from headroom.ui.texts import Texts
from headroom.ui.words import Words
from support.blocks import built
from support.web import HERE, listening

CARDS = (4, 6, 8, 12, 16, 20, 24, 48)  # GB; one of each published tier
LONG, MANY = 9999, 99
ASKED = {"duration": LONG, "batch_size": MANY}
FAMILIES = ("acestep", "tone")
MOUNTED = ("/mcp", "headroom.mcp_server.within:Mounted")
Told = dict[str, Any]
pytestmark = pytest.mark.long


@pytest.fixture(params=CARDS)
def card(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A simulated card that the one `.env` of the working folder names."""
    for _, setting in declared():
        for name in (setting.name, *setting.replaces):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    values = {
        "HEADROOM_DEVICE": "simulated",
        "HEADROOM_MAX_VRAM": request.param,
        "HEADROOM_MAX_BATCH_SIZE": 6,
        "HEADROOM_DATA_DIR": tmp_path / "data",
        "HEADROOM_CACHE_DIR": tmp_path / "cache",
    }
    (tmp_path / ".env").write_text("".join(f"{n}={v}\n" for n, v in values.items()), "utf-8")
    return load()


@pytest.fixture
def web(card: Settings) -> Iterator[TestClient]:
    """The application of a service, under the same `.env`."""
    app = create_app(replace(from_settings(card), free_bytes=0), lambda: None)
    with TestClient(app, base_url=HERE, client=("127.0.0.1", 4000)) as client:
        yield client


def clamped(notes: list[Told]) -> dict[str, Told]:
    """The notes about the fields that were asked for too much of."""
    found = {str(note["field"]): note for note in notes if note["field"] in ASKED}
    assert found.keys() == ASKED.keys(), notes
    return found


def of_engine(family: str, request: Request) -> dict[str, Told]:
    with Engine(EngineOptions(family=family), settings=load()) as engine:
        notes: tuple[Note, ...] = engine.think(request)[0].notes
    return clamped([dict(note_json(note)) for note in notes])


def of_command_line(family: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Told]:
    flags = ["--duration", str(LONG), "--batch-size", str(MANY)]
    capsys.readouterr()
    assert main(["plan", "--family", family, *flags, "--json"]) in (0, 1)
    return clamped(json.loads(capsys.readouterr().out)["notes"])


def of_rest(web: TestClient, family: str) -> dict[str, Told]:
    answer = web.post("/v1/plan", params={"family": family}, json=wanted(family))
    assert answer.status_code == 200, answer.text
    return clamped(answer.json()["notes"])


def wanted(family: str) -> dict[str, object]:
    words = family_named(family).words
    return {**ASKED, **({} if words is None else {words: "a song"})}


def stored(web: TestClient) -> Request:
    """The request of the newest job, as an engine process gets it."""
    doors = web.app.state.doors  # type: ignore[attr-defined]
    return Work.of(doors.queue.page().jobs[0].request).read()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_doors_agree(
    family: str, card: Settings, web: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    request = family_named(family).song(wanted(family))
    engine = of_engine(family, request)
    assert engine["batch_size"]["used"] <= 6 and engine["duration"]["used"] <= 600
    assert of_command_line(family, capsys) == engine
    assert of_rest(web, family) == engine
    answer = web.get("/v1/limits", params={"family": family})
    limits = answer.json()["limits"]
    for field, note in engine.items():
        assert limits[field]["maximum"] == note["used"]
        assert limits[field]["why"] in note["sentence"]
    params = {"family": family}
    assert web.post("/v1/jobs", params=params, json=wanted(family)).status_code == 202
    assert of_engine(family, stored(web)) == engine


def test_the_old_routes_agree(card: Settings, web: TestClient) -> None:
    engine = of_engine("acestep", family_named().song(wanted("acestep")))
    alone = {"thinking": False, "use_cot_caption": False, "use_cot_language": False}
    body = {"prompt": "a song", "audio_duration": LONG, "batch_size": MANY, **alone}
    answer = web.post("/release_task", json=body)
    assert answer.status_code == 200, answer.text
    assert of_engine("acestep", stored(web)) == engine


def test_chat_agrees(card: Settings, web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headroom.service.chat.making.has_language_model", lambda *_: False)
    engine = of_engine("acestep", family_named().song(wanted("acestep")))
    ask = {"messages": [{"role": "user", "content": "a song"}], "audio_config": ASKED}
    doors = web.app.state.doors  # type: ignore[attr-defined]
    doors.closing.set()  # nobody works here: the answer does not wait for the song
    web.post("/v1/chat/completions", json={**ask, "stream": True})
    assert of_engine("acestep", stored(web)) == engine


@pytest.fixture(scope="module")
def controls() -> Form:
    """The controls of the page."""
    return built(lambda: form(family_named("acestep"), Texts(Words())))


def test_the_page_agrees(card: Settings, web: TestClient, controls: Form) -> None:
    family, asked = family_named("acestep"), wanted("acestep")
    engine = of_engine("acestep", family.song(asked))
    page = Handlers(Rest(web.app), family, controls)
    shown = [one.show(asked.get(one.param.name)) for one in controls.fields]
    peer = SimpleNamespace(host="127.0.0.1", port=4000)
    came = SimpleNamespace(headers={"host": HERE.partition("//")[2]}, client=peer)
    event = gradio.Request(cast("Any", came))

    async def doing() -> tuple[str, list[Any], list[Any]]:
        pressed = (EXPERT, family.usual, "", *shown)
        plan = await page.plan(event, "en", "", *pressed)
        bounds = await page.bounded(event, "en", "", family.usual)
        return plan, bounds, await page.make(event, "en", None, *pressed)

    plan, bounds, made = asyncio.run(doing())
    for note in engine.values():
        said = Words().note(note)
        assert f"{note['used']}" in said and escape(said) in plan
    assert bounds[0]["maximum"] == engine["duration"]["used"]
    about = {one.param.name: told["info"] for one, told in zip(
        (one for one in controls.fields if one.has_bounds), bounds[3:], strict=True
    )}  # fmt: skip
    assert f"–{engine['batch_size']['used']})" in about["batch_size"]
    assert made[0], made
    assert of_engine("acestep", stored(web)) == engine


def test_the_tools_for_agents_agree(card: Settings) -> None:
    engine = of_engine("acestep", family_named().song(wanted("acestep")))
    config = replace(from_settings(card), free_bytes=0, mounts=(MOUNTED,))
    body, notes = wanted("acestep"), list[list[Told]]()

    async def asked(url: str) -> None:
        async with (
            httpx2.AsyncClient(timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as agent,
        ):
            asks = {"plan": {"request": body}, "make_song": {**body, "wait": 0}}
            for tool, given in asks.items():
                result = await agent.call_tool(tool, given)
                assert isinstance(result, CallToolResult) and not result.is_error, result
                notes.append(list((result.structured_content or {}).get("notes", [])))

    app = create_app(config, lambda: None)
    with listening(app) as url:
        anyio.run(asked, url)
        job = app.state.doors.queue.page().jobs[0]
    assert clamped(notes[0]) == engine
    assert of_engine("acestep", Work.of(job.request).read()) == engine
