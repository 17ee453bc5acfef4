"""Hugging Face and ModelScope, imitated by a server on this machine that can be told to fail."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """What the server holds, how it fails, and what it was asked.

    repos    repository → path → content
    cut      file name → bytes after which the connection is dropped, once each time it is listed
    status   path of a request (any part of it) → statuses to answer with, one a request
    wrong    file names whose content is not the announced one
    ranges   whether Range is understood
    etag     what a content is called, and If-Range compared with
    skew     bytes by which an answer to a Range begins elsewhere
    links    where a page of a listing says the next one is; the last one stays
    body     what every listing is answered with, in pieces
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    ranges: bool = True
    etag: str = ""
    skew: int = 0
    links: list[str] = field(default_factory=list)
    body: Iterator[bytes] | None = None
    page: int = 1000
    retry_after: str = ""
    if_range: list[str | None] = field(default_factory=list)
    url: str = ""
    cdn: str = ""
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0

    def asked(self, word: str) -> list[tuple[str, str | None, str | None]]:
        """Requests whose path holds a word: (path, Range, Authorization)."""
        return [one for one in self.requests if word in one[0]]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        hub, split = self.hub, urlsplit(self.path)
        span, token = self.headers.get("Range"), self.headers.get("Authorization")
        hub.requests.append((unquote(self.path), span, token))
        for word, codes in hub.status.items():
            if word in unquote(self.path) and codes:
                return self._end(codes.pop(0))
        path, query = unquote(split.path), parse_qs(split.query)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._hugging_face(parts, query)
        if parts[:3] == ["api", "v1", "models"]:
            return self._modelscope(parts, query)
        if parts[2:3] == ["resolve"]:
            place = "/".join(["cdn", *parts[:2], *parts[4:]])
            self.send_response(302)
            self.send_header("Location", f"{hub.cdn or hub.url}/{place}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if parts[0] == "cdn":
            content = hub.repos.get("/".join(parts[1:3]), {}).get("/".join(parts[3:]))
            return self._content(parts[-1], content)
        return self._end(404)

    def _hugging_face(self, parts: list[str], query: dict[str, list[str]]) -> None:
        repo = "/".join(parts[2:4])
        if self.hub.body is not None:
            return self._endless(self.hub.body)
        if repo not in self.hub.repos:
            return self._end(404)
        if parts[4] == "revision":
            return self._json({"id": repo, "sha": COMMIT})
        files, start = self.hub.repos[repo], int(query.get("cursor", ["0"])[0])
        rows = [_tree_row(path, data) for path, data in files.items()]
        rows.insert(0, {"type": "directory", "oid": "0" * 40, "size": 0, "path": "vae"})
        page, following = rows[start : start + self.hub.page], start + self.hub.page
        link = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={following}"
        if self.hub.links:
            link = self.hub.links.pop(0) if len(self.hub.links) > 1 else self.hub.links[0]
            return self._json(page, {"Link": f'<{link}>; rel="next"'})
        more = {"Link": f'<{link}>; rel="next"'} if following < len(rows) else {}
        return self._json(page, more)

    def _modelscope(self, parts: list[str], query: dict[str, list[str]]) -> None:
        files = self.hub.repos.get("/".join(parts[3:5]))
        if files is None:
            return self._json({"Code": 10010205001, "Message": "not found", "Data": None})
        if parts[-1] == "files":
            rows: list[dict[str, object]] = [{"Type": "tree", "Path": "vae", "Size": 0}]
            rows += [
                {"Type": "blob", "Path": p, "Size": len(d), "Sha256": hashlib.sha256(d).hexdigest()}
                for p, d in files.items()
            ]
            return self._json({"Code": 200, "Data": {"Files": rows}, "Success": True})
        path = query["FilePath"][0]
        return self._content(path.rpartition("/")[2], files.get(path))

    def _content(self, name: str, content: bytes | None) -> None:
        if content is None:
            return self._end(404)
        if name in self.hub.wrong:
            content = bytes([content[0] ^ 1]) + content[1:]
        start, span = 0, self.headers.get("Range")
        known = self.headers.get("If-Range")
        self.hub.if_range.append(known)
        if span and self.hub.ranges and known in (None, self.hub.etag):
            start = int(span.removeprefix("bytes=").rstrip("-")) + self.hub.skew
            if start >= len(content):
                return self._end(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.hub.etag:
            self.send_header("ETag", self.hub.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.hub.cut.get(name):
            body = body[: self.hub.cut[name].pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.hub.sent += len(body)

    def _endless(self, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):
            for piece in pieces:
                self.wfile.write(piece)
                self.hub.sent += len(piece)

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _end(self, code: int) -> None:
        self.send_response(code)
        if self.hub.retry_after and code in (429, 503):
            self.send_header("Retry-After", self.hub.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _tree_row(path: str, data: bytes) -> dict[str, object]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    row: dict[str, object] = {"type": "file", "oid": git, "size": len(data), "path": path}
    if path.endswith((".safetensors", ".pt")):
        row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return row


@dataclass
class Socks:
    """A SOCKS5 proxy that leads everywhere to one server, and the names it was asked for."""

    url: str
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def socks(hub: Hub) -> Iterator[Socks]:
    """Serve a SOCKS5 proxy (RFC 1928, no authentication) until the block ends."""
    place = urlsplit(hub.url)
    assert place.hostname and place.port

    class Proxy(StreamRequestHandler):
        def handle(self) -> None:
            methods = self.rfile.read(2)[1]
            self.rfile.read(methods)
            self.connection.sendall(b"\x05\x00")
            assert self.rfile.read(4) == b"\x05\x01\x00\x03", "connect to a name"
            made.asked.append(self.rfile.read(self.rfile.read(1)[0]))
            self.rfile.read(2)
            self.connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
            with socket.create_connection((place.hostname, place.port)) as onward:
                onward.sendall(self.connection.recv(1 << 16))
                while piece := onward.recv(1 << 16):
                    self.connection.sendall(piece)

    server = ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    made = Socks(f"socks5://127.0.0.1:{server.server_address[1]}")
    with _running(server):
        yield made


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of 127.0.0.1 until the block ends."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    with _running(server):
        yield hub


@contextmanager
def _running(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
