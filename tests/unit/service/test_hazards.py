"""Each hazard of services like this one, and that it is not here."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.service.config import ServiceConfig
from headroom.service.routes import health
from support.web import SONG, Engine, Service, Start, wav

FAR = "192.168.1.7"


def code(answer: Any) -> tuple[int, str]:
    told = answer.json()
    if answer.url.path.endswith(("/chat/completions", "/audio/speech", "/audio/speech/upload")):
        # which err as OpenAI's API does
        assert set(told) == {"error"}
        told = {"format": 1, **told["error"]}
        assert (told.pop("type"), told.pop("param")) != ("", "")
    told = told.get("extra", told)  # of ACE-Step's own interface
    assert set(told) == {"format", "code", "message", "values", "request_id"}
    assert answer.headers["x-request-id"] == told["request_id"]
    assert "Traceback" not in answer.text
    return answer.status_code, told["code"]


def upload(service: Service, data: bytes | None = None, **more: Any) -> Any:
    files = {"file": ("tone.wav", wav() if data is None else data, "audio/wav")}
    return service.client.post("/v1/files", files=files, **more)


# Paths and files


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "C:\\x", "a" * 20 + "/..", "~/x", "x.wav"])
def test_no_path_of_the_server_is_taken_as_a_file(service: Service, path: str) -> None:
    asked = {"task": "cover", "caption": "x", "source_audio": path}
    for door in ("/v1/jobs", "/v1/plan"):
        answer = service.client.post(door, json=asked)
        assert code(answer) == (422, "invalid_request")
        assert answer.json()["values"]["field"] == "source_audio"
        assert "id of an uploaded file" in answer.json()["values"]["allowed"]


def test_a_file_that_is_not_there_is_refused_before_the_job(service: Service) -> None:
    asked = {"task": "cover", "caption": "x", "source_audio": "a" * 20}
    answer = service.client.post("/v1/jobs", json=asked)
    assert (code(answer), answer.json()["values"]["field"]) == (
        (422, "invalid_request"), "source_audio",
    )  # fmt: skip
    assert service.client.get("/v1/jobs").json()["jobs"] == []


def test_a_file_is_named_by_its_id_and_kept_while_a_job_needs_it(service: Service) -> None:
    file = upload(service).json()
    assert (file["kind"], file["seconds"], file["name"]) == ("audio/wav", 1.0, "tone.wav")
    asked = {"task": "cover", "caption": "x", "source_audio": file["id"]}
    assert service.client.post("/v1/jobs", json=asked).status_code == 202
    assert code(service.client.delete(f"/v1/files/{file['id']}")) == (409, "conflict")


def test_no_path_of_the_server_is_shown(service: Service, engine: Engine, tmp_path: Path) -> None:
    job = service.submit()
    claim = engine.claim()
    place = str(tmp_path / "data" / "files" / "ab" / "abcd")
    engine.worker.finish(claim, json.dumps({"notes": [f"read {place}"], "at": {"x": place}}))
    shown = service.client.get(f"/v1/jobs/{job}").text
    assert str(tmp_path / "data") not in shown and "read" in shown


@pytest.mark.parametrize(
    "error",
    [
        WeightsMissing("m", ["/srv/models"], "acestep models download"),
        InvalidCheckpoint("/srv/models/m", ["/srv/models/m/config.json is torn"]),
    ],
)
def test_an_error_about_the_server_does_not_tell_where_things_are(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("headroom.service.routes.planning.plan_of", fail)
    answer = service.client.post("/v1/plan", json=SONG)
    assert code(answer)[0] == 503
    assert "/srv" not in answer.text


def test_an_unknown_format_of_audio_is_refused_at_the_door(service: Service) -> None:
    answer = service.client.post("/v1/jobs", json={**SONG, "audio_format": "../../x"})
    assert (code(answer), answer.json()["values"]["field"]) == (
        (422, "invalid_request"), "audio_format",
    )  # fmt: skip


def test_another_keys_jobs_and_files_do_not_exist(service: Service, engine: Engine) -> None:
    (_, one), (_, two), (_, admin) = service.key(), service.key(), service.key("use", "admin")
    mine = service.client_at(FAR, X_API_Key=one)
    other = service.client_at(FAR, X_API_Key=two)
    job = mine.post("/v1/jobs", json=SONG).json()["id"]
    file = mine.post("/v1/files?name=x.wav", content=wav()).json()["id"]
    engine.finish(engine.claim())
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/jobs/{job}/outputs/1",
                 f"/v1/files/{file}"):  # fmt: skip
        assert code(other.get(path)) == (404, "unknown_id")
        assert service.client_at(FAR, X_API_Key=admin).get(path).status_code == 200
    for path in (f"/v1/jobs/{job}", f"/v1/files/{file}"):
        assert code(other.delete(path)) == (404, "unknown_id")
    assert code(other.post(f"/v1/jobs/{job}/replay")) == (404, "unknown_id")
    assert other.get("/v1/jobs").json()["jobs"] == []
    asked = {"task": "cover", "caption": "x", "source_audio": file}
    assert code(other.post("/v1/jobs", json=asked)) == (422, "invalid_request")


# Who may


def test_a_key_is_needed_everywhere_but_for_life(service: Service) -> None:
    far = service.client_at(FAR)
    spec = service.client.get("/openapi.json").json()
    assert len(spec["paths"]) > 10
    for path, methods in spec["paths"].items():
        for method in methods:
            url = path.replace("{id}", "x").replace("{number}", "1")
            answer = far.request(method, url)
            if path == "/health":
                assert set(answer.json()["data"]) == {"status", "service", "version"}
            elif path.startswith("/health/"):
                assert set(answer.json()) <= {"live", "ready"}
            else:
                assert code(answer)[0] in (400, 401), path
    assert service.client_at(FAR, "127.0.0.1").get("/openapi.json").status_code == 401
    assert service.client_at(FAR, "127.0.0.1").get("/nowhere").status_code == 401


def test_a_key_in_the_settings_is_needed_on_this_machine_too(start: Start) -> None:
    service = start(key="k" * 20)
    assert code(service.client.get("/v1/jobs")) == (401, "no_key")
    for headers in ({"Authorization": "Bearer " + "k" * 20}, {"X-API-Key": "k" * 20}):
        assert service.client.get("/v1/jobs", headers=headers).status_code == 200
    assert code(service.client.get("/v1/jobs", headers={"X-API-Key": "k" * 19})) == (401, "no_key")


@pytest.mark.parametrize("value", ["Bearer x", "Bearer ", "hr_x", "Basic eDp5", "Bearer ü", ""])
def test_a_wrong_key_is_worse_than_none(service: Service, value: str) -> None:
    headers = {"Authorization": value.encode()}
    assert code(service.client.get("/v1/jobs", headers=headers)) == (401, "no_key")


def test_a_key_works_in_a_header_and_nowhere_else(service: Service) -> None:
    _, secret = service.key()
    assert service.client_at(FAR, Authorization=f"Bearer {secret}").get("/v1/jobs").is_success
    far = service.client_at(FAR, "127.0.0.1")
    assert code(far.get(f"/v1/jobs?key={secret}&api_key={secret}")) == (401, "no_key")
    far.cookies.set("X-API-Key", secret)
    assert code(far.post("/v1/jobs", json={**SONG, "ai_token": secret})) == (401, "no_key")


def test_a_revoked_key_opens_nothing(service: Service) -> None:
    id, secret = service.key()
    service.doors.keys.revoke(id)
    assert code(service.client_at(FAR, X_API_Key=secret).get("/v1/jobs")) == (401, "no_key")


def test_a_key_without_the_scope_may_not(service: Service) -> None:
    _, none = service.key("listen")
    assert code(service.client_at(FAR, X_API_Key=none).get("/v1/jobs")) == (403, "no_right")
    _, use = service.key("use")
    far = service.client_at(FAR, X_API_Key=use)
    assert code(far.post("/v1/jobs?priority=1", json=SONG)) == (403, "no_right")
    assert far.post("/v1/jobs?priority=-1", json=SONG).status_code == 202


def test_keys_and_texts_are_in_no_log(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    _, secret = service.key()
    far = service.client_at(FAR, X_API_Key=secret)
    assert far.post("/v1/jobs", json={**SONG, "caption": "my very own words"}).is_success
    far.get("/v1/jobs", headers={"X-API-Key": secret + "x"})
    assert secret not in caplog.text and "my very own words" not in caplog.text


def test_who_comes_through_a_proxy_is_not_of_this_machine(service: Service) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        answer = service.client.get("/v1/jobs", headers={name: "127.0.0.1"})
        assert code(answer) == (401, "no_key"), name
    far = service.client_at(FAR, "127.0.0.1", X_Forwarded_For="127.0.0.1")
    assert code(far.get("/v1/jobs")) == (401, "no_key")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_this_machine_needs_no_key(service: Service, address: str, host: str) -> None:
    assert service.client_at(address, host).get("/v1/jobs").status_code == 200


# Pages in a browser


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_name_that_leads_here_does_not_open_the_service(service: Service, host: str) -> None:
    assert code(service.client_at("127.0.0.1", host).get("/v1/jobs")) == (400, "unknown_host")


def test_listed_hosts_are_the_only_ones(start: Start) -> None:
    service = start(hosts=("cellar.lan",))
    _, secret = service.key()
    assert service.client_at(FAR, "cellar.lan", X_API_Key=secret).get("/v1/jobs").is_success
    other = service.client_at(FAR, "other.lan", X_API_Key=secret)
    assert code(other.get("/v1/jobs")) == (400, "unknown_host")
    assert code(service.client_at("127.0.0.1", "cellar.lan").get("/v1/jobs")) == (401, "no_key")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(
    service: Service, headers: dict[str, str]
) -> None:
    job = service.submit()
    _, secret = service.key("use", "admin")
    for more in ({}, {"X-API-Key": secret}):
        asked = {**headers, **more}
        assert code(service.client.post("/v1/jobs", json=SONG, headers=asked))[0] == 403
        assert code(upload(service, headers=asked))[0] == 403
        assert code(service.client.delete(f"/v1/jobs/{job}", headers=asked))[0] == 403
    assert code(service.client.get("/v1/jobs", headers=headers)) == (403, "foreign_origin")
    assert len(service.client.get("/v1/jobs").json()["jobs"]) == 1


def test_the_page_of_the_service_itself_may(service: Service) -> None:
    own = {"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-origin"}
    assert service.client.post("/v1/jobs", json=SONG, headers=own).status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_without_a_key_only_json_changes_something(service: Service, kind: str) -> None:
    body, headers = json.dumps(SONG), {"Content-Type": kind}
    answer = service.client.post("/v1/jobs", content=body, headers=headers)
    assert code(answer) == (415, "wrong_type")
    _, secret = service.key()
    with_key = {**headers, "X-API-Key": secret}
    assert service.client.post("/v1/jobs", content=body, headers=with_key).status_code == 202


def test_no_page_may_read_unless_its_origin_is_listed(start: Start) -> None:
    for service in (start(), start(origins=("https://page.example",))):
        for origin in ("null", "https://evil.example", "https://page.example.evil"):
            ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            answer = service.client.options("/v1/jobs", headers=ask)
            assert "access-control-allow-origin" not in answer.headers
            answer = service.client.get("/health/live", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers
    page = {"Origin": "https://page.example"}
    answer = service.client.post("/v1/jobs", json=SONG, headers=page)
    assert answer.status_code == 202
    assert answer.headers["access-control-allow-origin"] == "https://page.example"


# Too much


def raw(
    service: Service, headers: dict[str, str], client: str = "127.0.0.1", path: str = "/v1/jobs"
) -> tuple[int, int]:
    """The status of a POST with 3 MiB, and how many pieces of it were read."""
    read, status = 0, 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * (1 << 16), "more_body": read < 50}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    named = {"host": "127.0.0.1:8001", "content-type": "application/json", **headers}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "client": (client, 1), "server": ("127.0.0.1", 8001), "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(service.app(scope, receive, send))
    return status, read


def test_an_unknown_caller_sends_no_body(service: Service) -> None:
    assert raw(service, {}, FAR) == (401, 0)
    assert raw(service, {"x-api-key": "wrong"}, path="/v1/files") == (401, 0)
    assert raw(service, {"origin": "null"}, path="/v1/files") == (403, 0)


def test_a_body_is_cut_off_at_its_limit(start: Start) -> None:
    service = start(upload_bytes=1 << 18, body_bytes=1 << 17)
    assert raw(service, {"content-length": str(1 << 40)}) == (413, 0)
    assert raw(service, {"content-length": "x"}) == (400, 0)
    assert raw(service, {}) == (413, 3)
    status, read = raw(service, {"content-type": "audio/wav"}, path="/v1/files")
    assert (status, read) == (413, 5)


def test_a_larger_upload_leaves_nothing(start: Start) -> None:
    service = start(upload_bytes=1000)
    answer = upload(service)
    assert code(answer) == (413, "too_large")
    assert list(service.doors.files.storage.stored()) == []
    assert list(service.doors.files.storage.staging.iterdir()) == []


@pytest.mark.parametrize("slow", [{"body_seconds": 0.2}, {"idle_seconds": 0.2}])
def test_a_body_that_trickles_is_not_waited_for(start: Start, slow: dict[str, float]) -> None:
    service = start(**slow)
    pieces = 0

    async def receive() -> dict[str, Any]:
        nonlocal pieces
        pieces += 1
        await asyncio.sleep(0.15 if "body_seconds" in slow else 30)
        return {"type": "http.request", "body": b" ", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/jobs", "raw_path": b"/v1/jobs",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8001), "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(service.app(scope, receive, send), 10))
    assert sent[0]["status"] == 408
    assert pieces in ((1, 2) if "body_seconds" in slow else (1,))  # never a third: 0.45 s
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"no form", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
        (b"--x--\r\n", "multipart/form-data; boundary=" + "x" * 300),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--x--\r\n",
         "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"A: b\r\n" * 100 + b"\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"not audio at all", "application/octet-stream"),
        (b"", "audio/wav"),
        (b"RIFF", "audio/wav"),
    ],
)  # fmt: skip
def test_a_broken_upload_is_a_sentence_and_leaves_nothing(
    service: Service, body: bytes, kind: str
) -> None:
    answer = service.client.post("/v1/files", content=body, headers={"Content-Type": kind})
    assert code(answer)[0] == 422
    assert list(service.doors.files.storage.stored()) == []
    assert list(service.doors.files.storage.staging.iterdir()) == []


def test_two_files_in_one_form_are_refused(service: Service) -> None:
    files = [("file", ("a.wav", wav(), "audio/wav")), ("file", ("b.wav", wav(), "audio/wav"))]
    assert code(service.client.post("/v1/files", files=files)) == (422, "invalid_request")


def test_a_full_queue_says_when_to_come_back_and_keeps_nothing(start: Start) -> None:
    service = start(waiting=2)
    for _ in range(2):
        service.submit()
    answer = service.client.post("/v1/jobs", json=SONG, headers={"Idempotency-Key": "a"})
    assert code(answer) == (429, "queue_full")
    assert 1 <= int(answer.headers["retry-after"]) <= 300
    assert service.doors.queue.stats().counts == {"queued": 2}


def test_one_key_cannot_fill_the_queue(service: Service) -> None:
    _, secret = service.key(waiting=1)
    far = service.client_at(FAR, X_API_Key=secret)
    assert far.post("/v1/jobs", json=SONG).status_code == 202
    assert code(far.post("/v1/jobs", json=SONG)) == (429, "queue_full")
    service.submit()


def test_a_full_disk_accepts_nothing(start: Start) -> None:
    service = start(free_bytes=1 << 60)
    assert code(service.client.post("/v1/jobs", json=SONG)) == (507, "storage_full")
    assert code(upload(service)) == (507, "storage_full")
    assert service.client.get("/health/ready").status_code == 503
    assert service.client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("inference_steps", -1), ("guidance_scale", "x"), ("steps_of_mine", 1), ("duration", "1e999"),
     ("task", "no such task"), ("seed", -5)],
)  # fmt: skip
def test_nonsense_is_refused_with_field_value_and_what_is_allowed(
    service: Service, field: str, value: object
) -> None:
    answer = service.client.post("/v1/jobs", json={**SONG, field: value})
    assert code(answer) == (422, "invalid_request")
    values = answer.json()["values"]
    assert (values["field"], bool(values["allowed"])) == (field, True)


@pytest.mark.parametrize("body", ["{", "[]", "1", "nul", "[" * 100000, '{"a":' + "9" * 5000 + "}"])
def test_a_body_that_is_no_object_is_a_sentence(service: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/jobs", "/v1/plan", "/v1/limits"):
        answer = service.client.post(path, content=body.encode(), headers=headers)
        assert code(answer) == (422, "invalid_request")


@pytest.mark.parametrize(
    "value",
    ["", "\0", "%00", "..", "é", "\u202e", "1" * 400, "-1", "1e999", "nan", "[]", "'", "{}"],
)
def test_nothing_that_is_put_into_a_path_or_a_query_is_a_fault(
    service: Service, value: str
) -> None:
    spec = service.client.get("/openapi.json").json()["paths"]
    tried = 0
    for path, methods in spec.items():
        for method, operation in methods.items():
            names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            place = quote(value, safe="") or "x"
            url = path.replace("{id}", place).replace("{number}", place)
            for name in names or [None]:
                query = {} if name is None else {name: value}
                body = SONG if method == "post" and path != "/v1/files" else None
                answer = service.client.request(method, url, params=query, json=body)
                unmade = answer.status_code in (501, 504)  # it comes later; nobody made it in time
                assert unmade or answer.status_code < 500, (method, path, name, answer.text)
                tried += 1
    assert tried > 25


@pytest.mark.parametrize("name", ["Last-Event-ID", "Range", "If-None-Match", "Idempotency-Key"])
@pytest.mark.parametrize("value", ["", "x" * 5000, "9" * 50, "bytes=-", "-1", "\xff\t"])
def test_nothing_that_is_put_into_a_header_is_a_fault(
    service: Service, engine: Engine, name: str, value: str
) -> None:
    job = service.submit()
    engine.finish(engine.claim())
    headers = {name: value.encode("latin-1")}
    for path in (f"/v1/jobs/{job}/events", f"/v1/jobs/{job}/outputs/1"):
        assert service.client.get(path, headers=headers).status_code < 500
    assert service.client.post("/v1/jobs", json=SONG, headers=headers).status_code < 500


# What is told


def test_a_fault_tells_its_number_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("/srv/secret of another user")

    monkeypatch.setattr(health, "exposition", fail)
    answer = service.client.get("/metrics")
    assert code(answer) == (500, "fault")
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in caplog.text


def test_what_is_not_there_is_told_in_the_same_form(service: Service) -> None:
    assert code(service.client.get("/nowhere")) == (404, "unknown_path")
    assert code(service.client.put("/v1/jobs", json={})) == (405, "wrong_method")
    assert code(service.client.get("/v1/jobs/x")) == (404, "unknown_id")
    assert code(service.client.get("/docs")) == (404, "unknown_path")


def test_the_names_of_files_are_only_names(service: Service) -> None:
    files = {"file": ("../../etc/\u202epasswd\n.wav", wav(), "audio/wav")}
    file = service.client.post("/v1/files", files=files).json()
    assert "\n" not in file["name"] and "\u202e" not in file["name"]


def test_nothing_is_opened_before_the_lifespan(config: ServiceConfig) -> None:
    from headroom.service.app import create_app

    app = create_app(config)
    assert not hasattr(app.state, "doors")
