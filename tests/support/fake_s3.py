"""A server on this machine that speaks as much of S3's protocol as a storage needs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


class Server(ThreadingHTTPServer):
    """objects: whole ones by path; uploads: parts of those in several pieces, until they are
    completed or aborted. `refused` parts are answered with 403."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.refused: set[int] = set()
        self.aborted = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, str], bytes]:
        parts = urlsplit(self.path)
        query = {key: value[0] for key, value in parse_qs(parts.query, True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return unquote(parts.path), query, body

    def _answer(self, code: int, body: bytes | str = b"", size: int | None = None, **headers: str):  # type: ignore[no-untyped-def]
        data = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) if size is None else size))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self) -> None:
        path, query, body = self._asked()
        if "partNumber" not in query:
            self.server.objects[path] = body
        elif int(query["partNumber"]) in self.server.refused:
            self._answer(403, f"{HEAD}<Error><Code>AccessDenied</Code></Error>")
            return
        else:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
        self._answer(200, ETag='"e"')

    def do_POST(self) -> None:
        path, query, body = self._asked()
        if "uploads" in query:
            id = f"u{len(self.server.uploads)}"
            self.server.uploads[id] = {}
            name = "InitiateMultipartUploadResult"
            self._answer(200, f"{HEAD}<{name}><UploadId>{id}</UploadId></{name}>")
        elif "uploadId" in query:
            pieces = self.server.uploads.pop(query["uploadId"])
            self.server.objects[path] = b"".join(pieces[number] for number in sorted(pieces))
            name = "CompleteMultipartUploadResult"
            self._answer(200, f"{HEAD}<{name}><ETag>e</ETag></{name}>")
        else:
            keys = re.findall("<Key>(.*?)</Key>", body.decode())
            for key in keys:
                self.server.objects.pop(f"{path.rstrip('/')}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"{HEAD}<DeleteResult>{deleted}</DeleteResult>")

    def do_DELETE(self) -> None:
        path, query, _ = self._asked()
        if "uploadId" in query:
            self.server.uploads.pop(query["uploadId"], None)
            self.server.aborted += 1
        else:
            self.server.objects.pop(path, None)
        self._answer(204)

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def _get(self, body: bool) -> None:
        path, query, _ = self._asked()
        stamps = {"ETag": '"e"', "Last_Modified": "Mon, 30 Nov 2026 10:00:00 GMT"}
        if "list-type" in query:
            self._answer(200, self._listed(path, query.get("prefix", "")))
            return
        data = self.server.objects.get(path)
        if data is None:
            self._answer(404, f"{HEAD}<Error><Code>NoSuchKey</Code></Error>" if body else b"")
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
            stamps["Content_Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            self._answer(206, data[start:stop], **stamps)
        else:
            self._answer(200, data if body else b"", len(data), **stamps)

    def _listed(self, path: str, prefix: str) -> str:
        bucket = path.strip("/")
        entries = "".join(
            f"<Contents><Key>{key[len(bucket) + 2 :]}</Key><ETag>e</ETag><Size>{len(data)}</Size>"
            "<LastModified>2026-11-30T10:00:00Z</LastModified></Contents>"
            for key, data in sorted(self.server.objects.items())
            if key.startswith(f"/{bucket}/{prefix}")
        )
        return (
            f"{HEAD}<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        )


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
