"""The panel of memory management: there with its flag alone, and its status is that of REST."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from headroom.runtime.entry import State
from headroom.settings import load
from headroom.settings.serving import LANGUAGES
from headroom.ui.gpu import MemoryHandlers
from headroom.ui.page import build
from headroom.ui.rest import Rest
from headroom.ui.words import Words, table
from support.blocks import in_loop
from support.web import Service

# Its names in Chinese are those of the requirement.
CHINESE = {
    "gpu_title": "🎮 GPU 显存管理", "gpu_refresh": "🔄 刷新状态", "gpu_offload": "💾 卸载到CPU",
    "gpu_release": "🗑️ 完全释放",
}  # fmt: skip
PART = {"name": "dit", "state": "on the device", "device_bytes": 3 << 30, "leases": 0}
TOLD = {
    "job": None, "management": True, "idle_timeout": 600.0,
    "engines": [{
        "device": "A card", "model": "acestep-v15-turbo", "allocated_bytes": 4 << 30,
        "free_bytes": 2 << 30, "parts": [
            {**PART, "idle_seconds": 12.4},
            {**PART, "name": "vae", "state": "not loaded", "device_bytes": 0, "idle_seconds": None},
        ],
    }],
    "neighbours": [{"pid": 77, "name": "game", "bytes": 1 << 30},
                   {"pid": 78, "name": "other", "bytes": None}],
}  # fmt: skip


def event(peer: str = "127.0.0.1", **headers: str) -> gr.Request:
    browser = SimpleNamespace(
        headers={"host": "127.0.0.1:8001" if peer == "127.0.0.1" else "cellar.lan", **headers},
        client=SimpleNamespace(host=peer, port=4000),
    )
    return gr.Request(cast("Any", browser))


@pytest.mark.parametrize("managed", [False, True])
def test_it_is_there_with_its_flag_alone(managed: bool) -> None:
    settings = load({"HEADROOM_GPU_MANAGEMENT": "true"} if managed else {})
    page = in_loop(lambda: build(cast("Any", None), settings, "tone"))
    labels = {one["props"].get("label") for one in page.get_config_file()["components"]}
    assert (Words()("gpu_title") in labels) is managed


def test_its_names_are_those_of_the_requirement() -> None:
    assert {key: table("zh")["ui"][key] for key in CHINESE} == CHINESE


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_place_of_a_part_has_words(language: str) -> None:
    assert set(table(language)["states"]) == {state.value for state in State}


def test_it_tells_every_part_and_who_else_is_on_the_card(service: Service) -> None:
    service.doors.roster.tell("cuda:0-abc", json.dumps(TOLD))
    try:
        said = asyncio.run(MemoryHandlers(Rest(service.app)).look(event(), "en"))
    finally:
        service.doors.roster.leave("cuda:0-abc")
    assert said.splitlines() == [
        "A card · acestep-v15-turbo: 4.0 GB in use, 2.0 GB free",
        "  DiT: on the card, 3.0 GB, idle for 12 s",
        "  vae: not loaded",
        "Parts leave the card after 600 s without work.",
        "Other processes on this card: game (77) 1.0 GB, other (78)",
    ]


def test_a_button_asks_rest_and_tells_its_refusal(service: Service) -> None:
    handlers = MemoryHandlers(Rest(service.app))
    assert asyncio.run(handlers.look(event(), "en")) == "No engine process runs."
    assert "no engine process runs" in asyncio.run(handlers.offload(event(), "en"))
    _, use = service.key("use")
    far = event("10.0.0.9", **{"x-api-key": use})
    assert "admin" in asyncio.run(handlers.release(far, "en"))
