"""The server of the protocol: it lists the tools, runs them, and reads songs as resources."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, cast

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ToolForm

import headroom
from headroom.engine.wire import Json, limits_from
from headroom.mcp_server.jobs import place
from headroom.mcp_server.link import Link, Refused
from headroom.mcp_server.tools import Tool, tools_of
from headroom.models.registry import family_named

Context: TypeAlias = ServerRequestContext[Any, Any]
Opened: TypeAlias = Callable[[Context], AbstractAsyncContextManager[Link]]
"""Opens the way to the service for a request of an agent."""

_SCHEME = "headroom://v1/jobs/"
_INSTRUCTIONS = (
    "Makes music. make_song asks for a song, the tools named after tasks edit recordings, "
    "write_sheet invents caption and lyrics. A number beyond a limit is clamped, and a note says "
    "so: pass the notes on to the person. Jobs go on when a tool has stopped waiting for them."
)


def server_of(opened: Opened) -> Server[Any]:
    """The server, whose tools speak to the service that `opened` leads to."""
    return Server(
        "headroom",
        version=headroom.__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=lambda context, params: _list(opened, context, params),
        on_call_tool=lambda context, params: _call(opened, context, params),
        on_list_resource_templates=_templates,
        on_read_resource=lambda context, params: _read(opened, context, params),
    )


async def serve_stdio(server: Server[Any], work: AbstractAsyncContextManager[None]) -> None:
    """Serve over standard input and output until the input ends, within `work`. Whatever else this
    process or its children print goes to standard error meanwhile."""
    async with stdio_server() as (read, write), work:
        await server.run(read, write, server.create_initialization_options())


async def _tools(link: Link, with_limits: bool) -> list[Tool]:
    """The tools for the family of the service."""
    family = family_named(str((await link.ask("GET", "/v1/models"))["family"]))
    limits = {}
    for task in family.songs if with_limits else ():
        try:
            limits[task] = limits_from(await link.ask("GET", "/v1/limits", task=task))
        except Refused:  # no card is known, or the model lacks the task
            continue
    return list(tools_of(family, limits))


async def _list(
    opened: Opened, context: Context, params: PaginatedRequestParams | None
) -> ListToolsResult:
    async with opened(context) as link:
        tools = await _tools(link, with_limits=True)
    shown = [
        ToolForm(
            name=tool.name,
            description=tool.about,
            input_schema=tool.input,
            annotations=ToolAnnotations(read_only_hint=tool.reads, open_world_hint=False),
        )
        for tool in tools
    ]
    return ListToolsResult(tools=shown)


async def _call(opened: Opened, context: Context, params: CallToolRequestParams) -> CallToolResult:
    async def report(seconds: float, state: str) -> None:
        await context.session.report_progress(seconds, message=state)

    try:
        async with opened(context) as link:
            tools = {tool.name: tool for tool in await _tools(link, with_limits=False)}
            tool = tools.get(params.name)
            if tool is None:
                raise Refused(f"there is no tool {params.name!r}; there are {', '.join(tools)}.")
            given = cast("Json", dict(params.arguments or {}))
            _check_known(tool, given)
            answer = await tool.run(link, given, report)
    except Refused as refusal:
        return CallToolResult(content=[TextContent(text=str(refusal))], is_error=True)
    return CallToolResult(content=answer.content, structured_content=answer.values)


def _check_known(tool: Tool, given: Json) -> None:
    """Raise Refused for an argument that a tool lacks; the service refuses those of a request."""
    known = cast("Json", tool.input["properties"])
    if tool.input.get("additionalProperties") is False:
        for name in given.keys() - known.keys():
            raise Refused(f"{name}: {tool.name} takes {', '.join(known) or 'no arguments'}.")


async def _templates(
    context: Context, params: PaginatedRequestParams | None
) -> ListResourceTemplatesResult:
    template = ResourceTemplate(
        name="song", uri_template=_SCHEME + "{job}/outputs/{number}", description="A song."
    )
    return ListResourceTemplatesResult(resource_templates=[template])


async def _read(
    opened: Opened, context: Context, params: ReadResourceRequestParams
) -> ReadResourceResult:
    uri = str(params.uri)
    job, _, number = uri.removeprefix(_SCHEME).partition("/outputs/")
    if not uri.startswith(_SCHEME) or not (number.isascii() and number.isdecimal()):
        raise ValueError(f"there is no resource {uri!r}")
    async with opened(context) as link:
        data, kind = await link.fetch(place(job, int(number)))
    blob = base64.b64encode(data).decode()
    return ReadResourceResult(contents=[BlobResourceContents(uri=uri, mime_type=kind, blob=blob)])
