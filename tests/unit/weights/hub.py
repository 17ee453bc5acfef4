"""Hugging Face and ModelScope, imitated by a server on this machine that can be told to fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    ranges: bool = True
    page: int = 1000
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
        if repo not in self.hub.repos:
            return self._end(404)
        if parts[4] == "revision":
            return self._json({"id": repo, "sha": COMMIT})
        files, start = self.hub.repos[repo], int(query.get("cursor", ["0"])[0])
        rows = [_tree_row(path, data) for path, data in files.items()]
        rows.insert(0, {"type": "directory", "oid": "0" * 40, "size": 0, "path": "vae"})
        page, following = rows[start : start + self.hub.page], start + self.hub.page
        link = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={following}"
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
        if span and self.hub.ranges:
            start = int(span.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self._end(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.hub.cut.get(name):
            body = body[: self.hub.cut[name].pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.hub.sent += len(body)

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
        self.send_header("Content-Length", "0")
        self.end_headers()


def _tree_row(path: str, data: bytes) -> dict[str, object]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    row: dict[str, object] = {"type": "file", "oid": git, "size": len(data), "path": path}
    if path.endswith((".safetensors", ".pt")):
        row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return row


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of 127.0.0.1 until the block ends."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
