from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import close_session

from headroom.errors import DownloadFailed
from headroom.weights import client
from headroom.weights.client import Broken, Client
from headroom.weights.manifest import NAME
from headroom.weights.sources import ModelScope
from unit.weights.downloads import QUICK, TURBO, assert_whole, download, hugging_face, modelscope
from unit.weights.folders import published
from unit.weights.hub import Hub, serving, socks


def test_the_token_goes_to_its_host_only(hub: Hub, tmp_path: Path) -> None:
    with serving(Hub(published())) as cdn:
        hub.cdn = cdn.url
        source = hugging_face(hub, "hf_secret")
        download(["vae"], tmp_path, [source, modelscope(hub)])
        assert {token for _, _, token in hub.requests} == {"Bearer hf_secret"}
        assert cdn.requests and {token for _, _, token in cdn.requests} == {None}
    assert "hf_secret" not in repr(source)
    assert "hf_secret" not in (tmp_path / "vae" / NAME).read_text()
    hub.requests.clear()
    download([TURBO], tmp_path, [modelscope(hub)])
    assert {token for _, _, token in hub.requests} == {None}


@pytest.fixture
def fresh_session() -> Iterator[None]:
    """huggingface_hub reads the proxies once, when it makes its session."""
    close_session()
    yield
    close_session()


@pytest.mark.usefixtures("fresh_session")
def test_proxies_of_the_environment_are_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", hub.url)
    source = ModelScope("http://models.invalid", Client(None, QUICK))
    download(["vae"], tmp_path, [source])
    assert_whole(tmp_path / "vae", "vae")
    assert all(path.startswith("http://models.invalid/") for path, _, _ in hub.requests)


@pytest.mark.usefixtures("fresh_session")
def test_a_socks_proxy_is_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socks(hub) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        source = ModelScope("http://models.invalid", Client(None, QUICK))
        download(["vae"], tmp_path, [source])
    assert_whole(tmp_path / "vae", "vae")
    assert set(proxy.asked) == {b"models.invalid"}, "the proxy resolves the name"


@pytest.mark.usefixtures("fresh_session")
@pytest.mark.parametrize("proxy", ["socks4://127.0.0.1:1", "nonsense", "socks5://", "http://[::1"])
def test_a_proxy_that_cannot_be_is_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    source = ModelScope("http://models.invalid", Client(None, QUICK))
    with pytest.raises(DownloadFailed, match=r"(?s)could not be downloaded.*proxy"):
        download(["vae"], tmp_path, [source])


@pytest.mark.usefixtures("fresh_session")
def test_without_the_package_for_socks_the_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(DownloadFailed, match=r"ALL_PROXY\) cannot be used: .*socksio"):
        Client().json("http://models.invalid")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://models.invalid/file", "redirected from https to 'http://models.invalid/file'"),
        ("file:///etc/passwd", "redirected from https to 'file:/etc/passwd'"),
        ("https://hub.invalid/a", "redirected more than 10 times"),
        ("https://[", "Invalid IPv6 URL|[Ii]nvalid"),
    ],
)
def test_where_no_redirect_is_followed(
    monkeypatch: pytest.MonkeyPatch, place: str, words: str
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"Location": place})

    session = httpx2.Client(transport=httpx2.MockTransport(answer))
    monkeypatch.setattr(client, "get_session", lambda: session)
    with pytest.raises(DownloadFailed, match=words):
        Client(None, QUICK).json("https://hub.invalid/a")


def test_a_token_that_was_left_behind_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    way = iter(["https://hub.invalid/b", "https://cdn.invalid/a", "https://hub.invalid/c"])

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((str(request.url), request.headers.get("Authorization")))
        place = next(way, None)
        return httpx2.Response(302, headers={"Location": place}) if place else httpx2.Response(404)

    session = httpx2.Client(transport=httpx2.MockTransport(answer))
    monkeypatch.setattr(client, "get_session", lambda: session)
    with pytest.raises(DownloadFailed, match="HTTP 404") as error:
        Client("secret", QUICK).json("https://hub.invalid/a")
    assert asked == [
        ("https://hub.invalid/a", "Bearer secret"),
        ("https://hub.invalid/b", "Bearer secret"),
        ("https://cdn.invalid/a", None),
        ("https://hub.invalid/c", None),
    ]
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("7", 7, 7), ("", 0, 0), ("soon", 0, 0), ("-3", 0, 0), ("9" * 400, 9e8, 1e9)],
)
def test_how_long_a_server_asks_to_wait(text: str, least: float, most: float) -> None:
    assert least <= client._retry_after(text) <= most


def test_a_date_to_come_again_is_read() -> None:
    assert 50 < client._retry_after(formatdate(time.time() + 60, usegmt=True)) <= 61
    assert client._retry_after(formatdate(0, usegmt=True)) == 0


def test_a_server_is_waited_for_as_long_as_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    Client().pause(0, Broken("HTTP 429", 42.0))
    Client().pause(3, Broken("HTTP 503"))
    assert slept == [42.0, 8.0]
    with pytest.raises(DownloadFailed, match="HTTP 429, and the server asks to wait 3600 s"):
        Client().pause(0, Broken("HTTP 429", 3600.0))
    assert len(slept) == 2
