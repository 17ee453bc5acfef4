"""The page as a part of the service's application: what it serves, to whom, and what it closes."""

from __future__ import annotations

import re

import pytest

from headroom.ui import mount
from support.web import HERE, Service


def test_the_page_opens_on_this_machine_without_a_key(service: Service) -> None:
    answer = service.client.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert answer.url.path == "/ui/"
    assert "gradio_config" in answer.text
    assert answer.headers["content-security-policy"] == mount.POLICY


def test_its_head_names_no_other_host(service: Service) -> None:
    head = service.client.get("/ui/").text.split("<script>window.gradio_config")[0]
    assert re.findall(r"https?://[\w.]+", head) == []
    assert "manifest" not in head


def test_a_file_that_is_named_by_its_content_is_not_asked_for_again(service: Service) -> None:
    shown = service.client.get("/ui/").text
    assets = set(re.findall(r"assets/[\w.-]+-[\w-]{8,}\.(?:js|css)", shown))
    assert assets
    for asset in assets:
        answer = service.client.get(f"/ui/{asset}")
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    missing = service.client.get("/ui/assets/index-AAAAAAAA.js")
    assert missing.status_code != 200 and "immutable" not in str(missing.headers)
    assert service.client.get("/ui/files/headroom.js").headers["cache-control"] == "no-cache"


def test_such_a_file_is_packed_once_for_everybody(service: Service) -> None:
    asset = re.search(r"assets/[\w.-]+-[\w-]{8,}\.js", service.client.get("/ui/").text)
    assert asset is not None
    path = f"/ui/{asset[0]}"
    plain = service.client.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.status_code == 200 and "content-encoding" not in plain.headers
    for packed in ("br", "gzip"):
        headers = {"Accept-Encoding": packed, "Origin": HERE}
        first, again = (service.client.get(path, headers=headers) for _ in range(2))
        assert first.headers["content-encoding"] == packed
        assert first.content == again.content == plain.content
        assert first.headers["x-request-id"] != again.headers["x-request-id"]
        assert len(again.headers.get_list("x-request-id")) == 1
        assert "access-control-allow-origin" not in again.headers
    part = service.client.get(path, headers={"Range": "bytes=0-9", "Accept-Encoding": "identity"})
    assert part.status_code == 206 and part.content == plain.content[:10]
    assert service.client.head(path).status_code in (200, 405)
    assets = service.app.router.routes[-1].app._assets  # type: ignore[attr-defined]
    kept = [key for key in assets._kept if key[0].endswith(path)]
    assert sorted(packed for _, packed in kept) == ["br", "gzip", "identity"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/stream/a/b/c/playlist.m3u8",
        "/gradio_api/proxy=http://example.org",
        "/gradio_api/vibe-edit",
        "/gradio_api/run/made",
        "/gradio_api/api/predict",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/call/made",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/openapi.json",
        "/monitoring",
        "/login",
        "/gradio_api/component_server",
        "/gradio_api/upload_progress",
    ],
)
def test_routes_that_the_page_does_not_use_are_closed(service: Service, path: str) -> None:
    for method in ("GET", "POST"):
        assert service.client.request(method, "/ui" + path).status_code == 404


def test_no_event_of_the_page_is_a_public_endpoint(service: Service) -> None:
    told = service.client.get("/ui/gradio_api/info").json()
    assert told == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_elsewhere_the_form_for_a_key_comes_first(service: Service) -> None:
    far = service.client_at("10.0.0.9")
    answer = far.get("/", headers={"Accept": "text/html", "Accept-Language": "he,en;q=0.5"})
    assert answer.url.path == "/login"
    assert 'lang="he" dir="rtl"' in answer.text
    assert far.get("/ui/files/headroom.js").status_code == 401
    assert far.post("/ui/gradio_api/run/predict", json={}).status_code == 401
    assert far.get("/ui/config").status_code == 401


def test_the_tables_are_there_for_scripts(service: Service) -> None:
    told = service.client.get("/ui/words/he").json()
    assert told["direction"] == "rtl"
    assert service.client.get("/ui/words/xx").json()["ui"]["name"] == "English"
    script = service.client.get("/ui/files/session.js")
    assert script.headers["content-type"] == "text/javascript"
