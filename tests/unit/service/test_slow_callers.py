"""Callers who send a request so slowly that it never comes, against a server that listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from threading import Thread

import pytest
import uvicorn

from headroom.hardware.machine import card
from headroom.service import connection
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig

LONG = 60.0  # seconds, far above what any of these tests waits for


@pytest.fixture
def port(config: ServiceConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that gives headers 0.3 s and bodies 0.5 s."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    app = create_app(replace(config, body_seconds=0.5), lambda: card(8))
    made = uvicorn.Config(app, log_level="critical", http=connection.Connection)
    server = uvicorn.Server(made)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield int(listening.getsockname()[1])
        server.should_exit = True
        thread.join()


def called(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), LONG)


def heard(caller: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    parts = []
    try:
        while part := caller.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def trickled(caller: socket.socket, data: bytes) -> bytes:
    """Send a byte now and then until the server ends the connection; what it answered."""
    caller.settimeout(0.05)
    heard, began = b"", time.monotonic()
    for byte in data * 1000:
        try:
            caller.sendall(bytes([byte]))
            part = caller.recv(1 << 16)
            heard += part
            if not part:
                return heard
        except TimeoutError:
            assert time.monotonic() - began < LONG
        except ConnectionError:
            return heard
    raise AssertionError("the server waited for all of it")


def lives(port: int, caller: socket.socket | None = None) -> bool:
    asked = f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with closing(caller or called(port)) as one:
        one.sendall(asked)
        return answers(one)


def answers(caller: socket.socket) -> bool:
    """Whether the answer to the question comes, in however many pieces."""
    known = b""
    while part := caller.recv(1 << 16):
        known += part
        if b'{"live":true}' in known:
            return True
    return False


def test_whoever_says_nothing_is_not_waited_for(port: int) -> None:
    callers = [called(port) for _ in range(50)]
    assert lives(port)
    assert [heard(one) for one in callers] == [b""] * 50
    for one in callers:
        one.close()


def test_headers_that_trickle_are_not_waited_for(port: int) -> None:
    with called(port) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert trickled(caller, b"X-A: b\r\n") == b""
    assert lives(port)


def test_headers_without_end_are_not_taken(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", LONG)
    with called(port) as caller:
        sent = 0
        try:
            caller.sendall(b"GET / HTTP/1.1\r\n")
            while sent < 64 << 20:
                caller.sendall(b"X-A: " + b"b" * 4096 + b"\r\n")
                sent += 4096
        except ConnectionError:
            pass
        assert sent < 64 << 20
    assert lives(port)


def test_a_body_that_trickles_is_answered_and_the_connection_ends(port: int) -> None:
    with called(port) as caller:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 1000\r\n"
        caller.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        answer = trickled(caller, b" ")
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"too_slow"' in answer
    assert lives(port)


def test_a_body_behind_its_answer_is_not_waited_for(port: int) -> None:
    with called(port) as caller:
        head = f"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100000\r\n"
        caller.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        assert trickled(caller, b" ").startswith(b"HTTP/1.1 404 ")
    assert lives(port)


def test_a_connection_that_is_used_stays_open(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with called(port) as caller:
        for _ in range(5):
            caller.sendall(asked)
            assert answers(caller)
            time.sleep(0.1)  # longer than a header may take, all together
