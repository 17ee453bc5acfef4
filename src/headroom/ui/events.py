"""Answers the events of the page: the values of controls in, values and properties of controls out.

The browser's part of Gradio sends them as for an event outside of Gradio's queue. Gradio's own
answer passes each value through a thread and a copy of its control, makes a control anew for each
whose properties change or stay, and keeps all of them for everybody who ever opened the page. The
values here are what JSON has, and it is the routes of the service that check them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import gradio as gr
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from gradio.blocks import Block
from pydantic import BaseModel, JsonValue, ValidationError
from starlette.types import Receive, Scope, Send

_MARK = "__type__"  # tells an update of properties from a value
_OWN = "props"  # where a control of plain HTML has properties of ours
_OF_HTML = frozenset(inspect.signature(gr.HTML.__init__).parameters)


class Sent(BaseModel):
    """An event as Gradio's script sends it; it has more fields, which nothing here depends on."""

    fn_index: int
    data: list[JsonValue]
    session_hash: str | None = None


@dataclass(frozen=True, slots=True)
class _Handler:
    """What answers an event. `asks`: it is given the request of the browser first."""

    work: Callable[..., Any]
    asks: bool
    takes: int
    outputs: tuple[Block, ...]

    async def answer(self, http: HttpRequest, sent: Sent) -> list[Any]:
        """An answer for each output."""
        asking = [gr.Request(http, session_hash=sent.session_hash)] if self.asks else []
        made = self.work(*asking, *sent.data)
        if inspect.isawaitable(made):
            made = await made
        many = [made] if len(self.outputs) == 1 else list(made) if self.outputs else []
        return [told(one, output) for one, output in zip(many, self.outputs, strict=True)]


class Events:
    """The ASGI application that answers them."""

    def __init__(self, page: gr.Blocks) -> None:
        """For a page that is built."""
        self._handlers = {
            id: _Handler(one.fn, _asks(one.fn), len(one.inputs), tuple(one.outputs))
            for id, one in page.fns.items()
            if one.fn is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HttpRequest(scope, receive)
        answer = await self._answered(http)
        await answer(scope, receive, send)

    async def _answered(self, http: HttpRequest) -> JSONResponse:
        if http.method != "POST":
            return JSONResponse({"error": "an event is sent by POST."}, 405, {"Allow": "POST"})
        try:
            sent = Sent.model_validate_json(await http.body())
        except ValidationError:
            return JSONResponse({"error": "this is no event of the page."}, 400)
        handler = self._handlers.get(sent.fn_index)
        if handler is None or handler.takes != len(sent.data):
            return JSONResponse({"error": "the page has no such event."}, 400)
        return JSONResponse({"data": await handler.answer(http, sent)})


def _asks(work: Callable[..., Any]) -> bool:
    """Whether the first parameter of a handler is the request."""
    first = next(iter(inspect.signature(work).parameters), None)
    return first is not None and get_type_hints(work).get(first) is gr.Request


def told(made: Any, output: Block) -> Any:
    """What a handler made for an output, as Gradio's script reads it."""
    if not isinstance(made, dict) or made.get(_MARK) != "update":
        return made
    # As Gradio does: a property that is None says nothing, a value that is None empties a control.
    kept = {name: one for name, one in made.items() if one is not None or name == "value"}
    if not isinstance(output, gr.HTML):
        return kept
    own = {name: kept.pop(name) for name in list(kept) if name not in {*_OF_HTML, _MARK}}
    return {**kept, _OWN: own} if own else kept
