"""Who may call ACE-Step's REST interface, from where, and what of a body is read before that."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headroom.service.old.token import MOST, token_in
from headroom.service.work import Work
from support.web import Service, Start, wav

FAR = "192.168.1.7"
SONG = {"prompt": "x"}
SMALL = "Content-Disposition: form-data; name="


def form(*fields: tuple[str, str], end: str = "--x--\r\n") -> bytes:
    parts = "".join(f'--x\r\n{SMALL}"{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    return (parts + end).encode()


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("application/json", b'{"ai_token": "k", "prompt": "x"}', "k"),
        ("application/json", b'{"prompt": "x", "ai_token" : "a\\"b"', 'a"b'),
        ("application/json", b'{"prompt": "\\"ai_token\\": \\"k\\""}', None),
        ("application/json", b'{"ai_token": 5}', None),
        ("application/json", b'{"ai_token": "cut o', None),
        ("application/json", b'{"ai_token": ""}', None),
        ("application/x-www-form-urlencoded", b"a=b&ai_token=k%2B1", "k+1"),
        ("application/x-www-form-urlencoded", b"xai_token=k", None),
        ("", b"ai_token=k&x=y", "k"),
        ("", b'  {"ai_token": "k"}', "k"),
        ("multipart/form-data; boundary=x", form(("a", "b"), ("ai_token", "k")), "k"),
        ("multipart/form-data; boundary=x", form(("ai_token", "k"), end="--x\r\nContent-"), "k"),
        ("multipart/form-data; boundary=x", form(("ai_token", "k"))[:-12], None),
        ("multipart/form-data; boundary=y", form(("ai_token", "k")), None),
        ("multipart/form-data", form(("ai_token", "k")), None),
        ("text/plain", b"\xff\xfe", None),
    ],
)  # fmt: skip
def test_a_key_is_found_in_every_kind_of_body(kind: str, body: bytes, found: str | None) -> None:
    assert token_in(kind, body, whole=True) == found


def test_a_key_is_looked_for_in_the_first_bytes_alone() -> None:
    far = b'{"prompt": "' + b"x" * MOST + b'", "ai_token": "k"}'
    assert token_in("application/json", far, whole=True) is None
    assert token_in("application/x-www-form-urlencoded", b"ai_token=k", whole=False) is None
    assert token_in("application/x-www-form-urlencoded", b"ai_token=k&a=b", whole=False) == "k"


def raw(service: Service, body: bytes, **more: str) -> tuple[int, int]:
    """The status of a POST from elsewhere whose body never ends, and the pieces that were read."""
    read, status = 0, 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    named = {"host": "127.0.0.1:8001", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }
    path = "/release_task"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "client": (FAR, 1), "server": ("127.0.0.1", 8001), "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(service.app(scope, receive, send))
    return status, read


def test_of_an_unknown_caller_no_more_than_the_beginning_is_read(service: Service) -> None:
    piece = b" " * (1 << 14)
    assert raw(service, piece) == (401, 4)  # 64 KiB
    assert raw(service, piece, content_length=str(1 << 40)) == (413, 0)
    assert raw(service, piece, origin="https://evil.example") == (403, 0)
    assert raw(service, piece, authorization="Bearer wrong") == (401, 0)
    assert raw(service, b'{"ai_token": "wrong"' + piece) == (401, 4)


def test_a_body_that_trickles_is_not_waited_for(start: Start) -> None:
    service = start(idle_seconds=0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(30)
        return {"type": "http.request", "body": b" ", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/query_result", "raw_path": b"/query_result",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8001), "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(service.app(scope, receive, send), 10))
    assert sent[0]["status"] == 408 and json.loads(sent[1]["body"])["code"] == 408


def test_a_key_in_a_body_opens_the_service_from_elsewhere(service: Service) -> None:
    id, secret = service.key()
    far = service.client_at(FAR, "127.0.0.1")
    body = {**SONG, "ai_token": secret}
    files = {"src_audio": ("a.wav", wav())}
    for given in ({"json": body}, {"data": body},
                  {"data": {**body, "task_type": "cover"}, "files": files}):  # fmt: skip
        answer = far.post("/release_task", **given)
        assert answer.status_code == 200, answer.text
        job = service.doors.queue.get(answer.json()["data"]["task_id"])
        assert job.key == id and secret not in job.request
    assert far.post("/release_task", json=SONG).status_code == 401
    assert far.post("/v1/jobs", json={"caption": "x", "ai_token": secret}).status_code == 401
    _, none = service.key("listen")
    assert far.post("/release_task", json={**SONG, "ai_token": none}).status_code == 403


def test_on_this_machine_forms_need_no_key_unless_a_page_sends_them(service: Service) -> None:
    files = {"src_audio": ("a.wav", wav())}
    bodies: tuple[dict[str, Any], ...] = (
        {"json": SONG}, {"data": SONG}, {"data": {**SONG, "task_type": "cover"}, "files": files},
    )  # fmt: skip
    for body in bodies:
        assert service.client.post("/release_task", **body).status_code == 200
        own = {"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-origin"}
        assert service.client.post("/release_task", headers=own, **body).status_code == 200
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Sec-Fetch-Site": "cross-site"}):  # fmt: skip
            assert service.client.post("/release_task", headers=headers, **body).status_code == 403
        for via in ("X-Forwarded-For", "Via"):
            answer = service.client.post("/release_task", headers={via: "127.0.0.1"}, **body)
            assert answer.status_code == 401
        rebound = service.client_at("127.0.0.1", "evil.example")
        assert rebound.post("/release_task", **body).status_code == 400
    assert service.client.post("/v1/jobs", data=SONG).status_code == 415  # of our own, only JSON


def test_another_keys_sound_and_tasks_do_not_exist(service: Service) -> None:
    (_, one), (_, two) = service.key(), service.key()
    mine, other = (service.client_at(FAR, X_API_Key=key) for key in (one, two))
    files = {"src_audio": ("a.wav", wav())}
    answer = mine.post("/release_task", data={"task_type": "cover"}, files=files)
    job = service.doors.queue.get(answer.json()["data"]["task_id"])
    file = Work.of(job.request).request["source_audio"]
    assert mine.get("/v1/audio", params={"path": file}).content == wav()
    assert other.get("/v1/audio", params={"path": file}).status_code == 404
    body = {"task_type": "cover", "src_audio_path": file}
    assert other.post("/release_task", json=body).status_code == 400
    assert mine.post("/release_task", json=body).status_code == 200


@pytest.mark.parametrize("name", ["src_audio_path", "ctx_audio_path", "srcAudioPath", "src_audio",
                                  "reference_audio_path", "refAudioPath"])  # fmt: skip
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../x.wav", "C:\\x.wav", "~/x.wav", "x", "http://[", "/v1/files/x",
        "http://a/v1/audio?path=/etc/passwd",
    ],
)  # fmt: skip
def test_no_path_of_the_server_is_read(service: Service, name: str, path: str) -> None:
    for given in ({"json": {"task_type": "cover", name: path}},
                  {"data": {"task_type": "cover", name: path}}):  # fmt: skip
        answer = service.client.post("/release_task", **given)
        told = answer.json()
        assert (answer.status_code, told["extra"]["values"]["field"]) == (400, name)
        assert "files of the server are not read" in told["error"]


def test_files_are_named_by_id_or_by_the_links_of_answers(service: Service) -> None:
    sent = service.client.post("/v1/files?name=a.wav", content=wav()).json()["id"]
    for link in (sent, f"/v1/files/{sent}", f"/v1/audio?path={sent}.wav", f"{sent}.wav",
                 f"http://127.0.0.1:8001/v1/audio?path={sent}"):  # fmt: skip
        body = {"task_type": "cover", "src_audio_path": link}
        answer = service.client.post("/release_task", json=body)
        job = service.doors.queue.get(answer.json()["data"]["task_id"])
        assert Work.of(job.request).request["source_audio"] == sent


def test_a_file_that_is_sent_comes_before_one_that_is_named(service: Service) -> None:
    files = {"src_audio": ("a.wav", wav())}
    body = {"task_type": "cover", "src_audio_path": "/srv/old.wav"}
    answer = service.client.post("/release_task", data=body, files=files)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("song", ("a.wav", wav()))], 400),
        ([("src_audio", ("a.wav", b"no sound"))], 400),
        ([("src_audio", ("a.wav", wav())), ("ctx_audio", ("b.wav", wav(0.5)))], 400),
        ([("src_audio", ("", b"x"))], 400),
        ([("src_audio", ("a.wav", b"R" * 200_000))], 413),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence_and_leaves_nothing(
    start: Start, files: Any, status: int
) -> None:
    service = start(upload_bytes=100_000)
    answer = service.client.post("/release_task", data={"task_type": "cover"}, files=files)
    assert answer.status_code == status == answer.json()["code"], answer.text
    assert list(service.doors.files.storage.stored()) == []
    assert list(service.doors.files.storage.staging.iterdir()) == []
    assert service.doors.queue.stats().counts == {}


def test_several_recordings_may_be_sounded_like(service: Service) -> None:
    files = [("reference_audio", (f"{n}.wav", wav(n / 2))) for n in (1, 2)]
    answer = service.client.post("/release_task", data=SONG, files=files)
    job = service.doors.queue.get(answer.json()["data"]["task_id"])
    assert len(Work.of(job.request).request["reference_audio"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "", 415), (b"plain words", "text/plain", 415), (b"\0", "audio/wav", 415),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"", "multipart/form-data; boundary=x", 400), (b"x", "multipart/form-data", 400),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
        (form(("a", "b")) * 2, "multipart/form-data; boundary=x", 200),
        (form(*[(f"n{n}", "") for n in range(1001)]), "multipart/form-data; boundary=x", 400),
        (b"&".join(b"a=b" for _ in range(1001)), "application/x-www-form-urlencoded", 400),
        (b'{"prompt": "x"}', "application/vnd.x+json", 200), (b'{"prompt": "x"}', "x/y", 200),
    ],
)  # fmt: skip
def test_other_bodies(service: Service, body: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = service.client.post("/release_task", content=body, headers=headers)
    assert answer.status_code == status == answer.json()["code"], answer.text


def test_who_hangs_up_cancels_the_job(start: Start) -> None:
    service = start(wait_seconds=60.0)
    messages = [{"type": "http.request", "body": b'{"prompt": "x"}', "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        if not service.doors.queue.stats().counts:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}  # as soon as there is a job

    async def send(message: Any) -> None:
        pass

    path = b"/format_input"
    scope = {
        "type": "http", "method": "POST", "path": path.decode(), "raw_path": path,
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8001), "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def call() -> None:
        await asyncio.wait_for(service.app(scope, receive, send), 20)

    service.client.portal.call(call)  # type: ignore[union-attr]
    assert service.doors.queue.stats().counts == {"cancelled": 1}
