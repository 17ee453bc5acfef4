"""The tools for agents, through the SDK's own client: over HTTP, and over standard input."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import soundfile
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import AudioContent, CallToolResult, ResourceLink, TextContent

from headroom.cli.mcp import mounted, parser
from headroom.models.registry import family_named
from support.web import Service, Start, listening, tones_made, wav

TOOLS = {
    "make_song", "plan", "limits", "status", "jobs", "cancel", "listen", "models", "send_audio",
}  # fmt: skip
EDITS = {"cover", "repaint", "lego", "extract", "complete", "write_sheet"}
KEY = "k" * 20
QUICK = {"duration": 0.2, "wait": 60}


@asynccontextmanager
async def agent(url: str, key: str | None = KEY, **headers: str) -> AsyncIterator[Client]:
    """An agent that speaks to a service over HTTP."""
    known = headers | ({} if key is None else {"Authorization": f"Bearer {key}"})
    async with (
        httpx2.AsyncClient(headers=known, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


def text(result: CallToolResult) -> str:
    return "\n".join(one.text for one in result.content if isinstance(one, TextContent))


async def values(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    """What a tool answers, as values."""
    result = await client.call_tool(tool, given)
    assert isinstance(result, CallToolResult) and not result.is_error, text(result)
    assert result.structured_content is not None
    return dict(result.structured_content)


async def refusal(client: Client, tool: str, **given: Any) -> str:
    result = await client.call_tool(tool, given)
    assert isinstance(result, CallToolResult) and result.is_error
    assert "Traceback" not in text(result)
    return text(result)


@contextmanager
def serving(start: Start, **changed: Any) -> Iterator[tuple[Service, str]]:
    """A service with the tools, at an address."""
    mounts = (("/mcp", "headroom.mcp_server.within:Mounted"),)
    service = start(**{"mounts": mounts, "family": "tone", "key": KEY, **changed})
    with listening(service.app) as url:
        yield service, url


def told(url: str, work: Callable[[Client], Awaitable[None]], **more: Any) -> None:
    """Let an agent work over HTTP."""

    async def run() -> None:
        async with agent(url, **more) as client:
            await work(client)

    anyio.run(run)


def test_an_agent_makes_a_song_hears_it_and_is_told_of_the_clamp(start: Start) -> None:
    async def work(client: Client) -> None:
        made = await values(client, "make_song", **QUICK, overtones=99, more={"seed": 5})
        assert made["state"] == "done"
        assert any("overtones: asked 99, used 16" in note for note in made["notes"])
        (output,) = made["outputs"]
        assert output["url"].startswith("http://127.0.0.1:")
        result = await client.call_tool("listen", {"job": made["job"]})
        assert isinstance(result, CallToolResult)
        link, sound = result.content
        assert isinstance(link, ResourceLink) and isinstance(sound, AudioContent)
        assert (str(link.uri), link.size) == (output["url"], output["size"])
        data = base64.b64decode(sound.data)
        samples, rate = soundfile.read(io.BytesIO(data))
        assert len(samples) / rate == pytest.approx(0.2) and sound.mime_type == "audio/flac"
        part = await client.call_tool("listen", {"job": made["job"], "first_byte": 4,
                                                 "last_byte": 9})  # fmt: skip
        assert isinstance(part, CallToolResult) and isinstance(part.content[1], AudioContent)
        assert base64.b64decode(part.content[1].data) == data[4:10]
        listed = await values(client, "jobs")
        assert [job["job"] for job in listed["jobs"]] == [made["job"]]
        shown = await values(client, "status", job=made["job"])
        assert shown["outputs"] == made["outputs"]

    with serving(start) as (service, url), tones_made(service.doors):
        told(url, work)


def test_an_agent_plans_lists_limits_and_cancels(start: Start) -> None:
    async def work(client: Client) -> None:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        plan = await values(client, "plan", request={"duration": 5})
        assert (plan["fits"], plan["duration"]) == (True, 5)
        limits = await values(client, "limits")
        assert "20 to 20000 Hz" in limits["fields"]["frequency"]["allowed"]
        made = await values(client, "make_song", wait=0)
        assert (made["state"], made["position"]) == ("queued", 0)
        assert (await values(client, "cancel", job=made["job"]))["state"] == "cancelled"
        assert (await values(client, "models"))["family"] == "tone"

    with serving(start) as (_, url):
        told(url, work)


def test_what_a_tool_refuses_is_a_sentence(start: Start) -> None:
    async def work(client: Client) -> None:
        assert "did you mean 'overtones'" in await refusal(client, "make_song", overtons=1)
        assert "duration" in await refusal(client, "make_song", duration=-1)
        assert "twice" in await refusal(client, "make_song", seed=1, more={"seed": 2})
        assert "wait: seconds" in await refusal(client, "make_song", wait=1e9)
        assert "does not exist" in await refusal(client, "status", job="a" * 20)
        assert "no such path" in await refusal(client, "status", job="../x")
        assert "no output 3" in await refusal(
            client, "listen", job=(await values(client, "make_song", wait=0))["job"], number=3
        )
        assert "status takes" in await refusal(client, "status", job="x", jbo=1)
        assert "there is no tool 'dance'" in await refusal(client, "dance")
        assert "Base64" in await refusal(client, "send_audio", data="%%")
        assert "not audio" in await refusal(client, "send_audio", data="YWJjZA==")

    with serving(start) as (_, url):
        told(url, work)


def test_the_tools_are_those_of_the_requests_within_the_limits_of_the_machine(
    start: Start,
) -> None:
    async def work(client: Client) -> None:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS | EDITS
        limits = (await values(client, "limits", task="text2music"))["fields"]
        declared = family_named().requests["text2music"].model_json_schema()["properties"]
        song = tools["make_song"]["properties"]
        assert song["caption"]["description"] == declared["caption"]["description"]
        most = song["batch_size"]["maximum"]
        assert f"from 1 to {most:g}" in limits["batch_size"]["allowed"]
        assert most < declared["batch_size"]["maximum"]
        assert tools["cover"]["required"] == ["source_audio"]
        assert "send_audio" in tools["cover"]["properties"]["source_audio"]["description"]
        file = await values(client, "send_audio", data=base64.b64encode(wav()).decode())
        made = await values(client, "cover", source_audio=file["id"], caption="jazz", wait=0)
        assert made["state"] == "queued"

    with serving(start, family="acestep") as (_, url):
        told(url, work)


def test_the_guard_stands_before_the_tools(start: Start) -> None:
    """Without a key, with a wrong one, under a name that leads here, from a page elsewhere."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with serving(start) as (service, url):
        kinds = {"Accept": "application/json, text/event-stream"}
        for headers in ({}, {"X-API-Key": "wrong" * 5}):
            answer = httpx2.post(f"{url}/mcp", json=hello, headers=kinds | headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "no_key")
        known = kinds | {"X-API-Key": KEY}
        foreign = httpx2.post(f"{url}/mcp", json=hello,
                              headers=known | {"Origin": "https://evil.example"})  # fmt: skip
        assert foreign.status_code == 403
        _, secret = service.key()

        async def work(client: Client) -> None:
            assert (await values(client, "jobs"))["jobs"] == []

        told(url, work, key=secret)

    with serving(start, key=None) as (_, url):
        renamed = httpx2.post(f"{url}/mcp", json=hello, headers=kinds | {"Host": "evil.example"})
        assert renamed.status_code == 400
        told(url, work, key=None)  # somebody on this machine


def test_the_jobs_of_another_key_do_not_exist(start: Start) -> None:
    with serving(start) as (service, url):
        (_, one), (_, two) = service.key(), service.key()
        made: list[str] = []

        async def ask(client: Client) -> None:
            made.append((await values(client, "make_song", wait=0))["job"])

        async def look(client: Client) -> None:
            assert (await values(client, "jobs"))["jobs"] == []
            for tool in ("status", "cancel", "listen"):
                assert "does not exist" in await refusal(client, tool, job=made[0])

        told(url, ask, key=one)
        told(url, look, key=two)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "HEADROOM_DATA_DIR": str(folder), **more}


@pytest.mark.ci
def test_an_agent_speaks_over_standard_input_to_a_service_elsewhere(
    start: Start, tmp_path: Path
) -> None:
    async def work(url: str) -> None:
        known = environment(tmp_path, HEADROOM_SERVICE_KEY=KEY)
        words = ["-m", "headroom", "mcp", "--url", url]
        parameters = StdioServerParameters(command=sys.executable, args=words, env=known)
        async with Client(stdio_client(parameters)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            made = await values(client, "make_song", **QUICK)
            assert made["state"] == "done" and made["outputs"][0]["url"].startswith(url)

    with serving(start) as (service, url), tones_made(service.doors):
        anyio.run(work, url)


@pytest.mark.ci
def test_an_agent_makes_a_song_where_no_service_runs(tmp_path: Path) -> None:
    """An engine process is started, and nothing but the protocol is on standard output."""

    async def work() -> None:
        words = ["-m", "headroom", "mcp", "--device", "cpu", "--family", "tone"]
        known = environment(tmp_path, HEADROOM_SERVICE_FREE_SPACE="0.01")
        parameters = StdioServerParameters(command=sys.executable, args=words, env=known)
        async with Client(stdio_client(parameters)) as client:
            made = await values(client, "make_song", duration=0.2, wait=200)
            assert made["state"] == "done"
            result = await client.call_tool("listen", {"job": made["job"]})
            assert isinstance(result, CallToolResult)
            link = result.content[0]
            assert isinstance(link, ResourceLink)
            song = await client.read_resource(str(link.uri))
            blob = getattr(song.contents[0], "blob", "")
            assert base64.b64decode(blob)[:4] == b"fLaC"

    anyio.run(work)


def test_the_help_names_the_flags_and_a_wrong_url_is_refused() -> None:
    run = [sys.executable, "-m", "headroom", "mcp"]
    shown = subprocess.run([*run, "--help"], capture_output=True, text=True, check=True)
    assert "--url" in shown.stdout and "/mcp" in shown.stdout
    wrong = subprocess.run([*run, "--url", "x"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "") and "url: 'x'" in wrong.stderr


def test_a_service_has_the_tools_where_they_are_installed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    config = mounted(service.doors.config)
    assert [path for path, _ in config.mounts] == ["/mcp"]
    monkeypatch.setattr("headroom.cli.mcp.find_spec", lambda name: None)
    assert mounted(service.doors.config).mounts == ()


def test_the_page_names_every_tool_and_its_registrations_start_the_program() -> None:
    page = (Path(__file__).parents[3] / "docs/en/MCP.md").read_text("utf-8")
    table = page.split("## The tools")[1]
    assert TOOLS | EDITS <= set(re.findall(r"`(\w+)`", table))
    blocks = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        (servers,) = json.loads(block).values()
        command = servers["headroom"]
        assert command["command"] == "acestep" and command["args"][0] == "mcp"
        parser().parse_args(command["args"][1:])
