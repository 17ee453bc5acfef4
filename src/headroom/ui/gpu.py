"""The panel that gives memory back: what every engine process has in memory, and three buttons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from pydantic import JsonValue

from headroom.ui.answers import number, objects
from headroom.ui.outlook import gigabytes
from headroom.ui.rest import Json, Refused, Rest
from headroom.ui.texts import Texts
from headroom.ui.words import Words

_LINES = 8  # of the status that are seen at once


@dataclass(frozen=True, slots=True)
class Memory:
    """The controls of the panel."""

    status: gr.Textbox
    refresh: gr.Button
    offload: gr.Button
    release: gr.Button


def memory(texts: Texts) -> Memory:
    """Lay the panel out. It is called where its components belong."""
    with texts.keyed(gr.Accordion, {"label": "gpu_title"}, open=True, elem_id="gpu"):
        status = texts.keyed(
            gr.Textbox,
            {"label": "gpu_status"},
            lines=_LINES,
            max_lines=2 * _LINES,
            interactive=False,
            elem_id="gpu-status",
        )
        with gr.Row():
            refresh, offload, release = (
                texts.keyed(gr.Button, {"value": key}, size="sm", elem_id=key.replace("_", "-"))
                for key in ("gpu_refresh", "gpu_offload", "gpu_release")
            )
    return Memory(status, refresh, offload, release)


@dataclass(frozen=True, slots=True)
class MemoryHandlers:
    """The handlers of the panel's buttons: each answers with the status."""

    rest: Rest

    async def look(self, event: gr.Request, language: str) -> str:
        """What is in memory."""
        return await self._told(event, language)

    async def offload(self, event: gr.Request, language: str) -> str:
        """The same after everything has left the cards."""
        return await self._told(event, language, "offload")

    async def release(self, event: gr.Request, language: str) -> str:
        """The same after everything was dropped from memory."""
        return await self._told(event, language, "release")

    async def _told(self, event: gr.Request, language: str, verb: str | None = None) -> str:
        words, failed = Words.of(language), []
        try:
            if verb is not None:
                ran = await self.rest.ask(event, "POST", f"/gpu/{verb}")
                failed = [_outcome(one, words) for one in objects(ran["errands"])]
            told = await self.rest.ask(event, "GET", "/gpu/status")
        except Refused as refusal:
            return words.error(refusal.form)
        engines = [line for one in objects(told["engines"]) for line in _engine(one, words)]
        return "\n".join(filter(None, [*dict.fromkeys(failed), *engines])) or words("gpu_no_engine")


def _outcome(errand: Json, words: Words) -> str:
    """What is to be said of an errand: nothing, if it is done."""
    error = errand["error"]
    if isinstance(error, dict):
        return words.error(error)
    return words("gpu_later") if errand["state"] == "waiting" else ""


def _engine(told: Json, words: Words) -> Iterator[str]:
    """What an engine process has in memory, line by line."""
    opened = objects(told["engines"])
    for engine in opened:
        cards = objects(engine.get("cards") or [engine])
        for index, card in enumerate(cards):
            used, free = (
                gigabytes(number(card[f"{name}_bytes"])) for name in ("allocated", "free")
            )
            at = f" {index}" if len(cards) > 1 else ""
            name = f"{card['device']}{at} · {engine['model']}"
            yield words("gpu_engine", name=name, used=used, free=free)
            parts = objects(engine["parts"])
            yield from (_part(one, words) for one in parts if one.get("card", 0) == index)
    if not opened:
        yield words("gpu_none")
    if told["job"] is not None:
        yield words("gpu_working")
    if told.get("management") and told.get("idle_timeout") is not None:
        yield words("gpu_timeout", seconds=f"{number(told['idle_timeout']):g}")
    if others := objects(told.get("neighbours") or []):
        named = (f"{one['name']} ({one['pid']}){_size(one['bytes'])}" for one in others)
        yield words("gpu_others", names=", ".join(named))


def _part(part: Json, words: Words) -> str:
    said = [words(str(part["state"]), section="states")]
    if size := number(part["device_bytes"]):
        said.append(gigabytes(size))
    if part["idle_seconds"] is not None:
        said.append(words("gpu_idle", seconds=round(number(part["idle_seconds"]))))
    return f"  {words.component(str(part['name']))}: {', '.join(said)}"


def _size(size: JsonValue) -> str:
    return "" if size is None else f" {gigabytes(number(size))}"
