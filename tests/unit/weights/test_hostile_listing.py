"""Listings of somebody who means harm: no token elsewhere, no file read, no end without an end."""

from __future__ import annotations

import tracemalloc
from itertools import repeat
from pathlib import Path
from typing import cast

import pytest

from headroom.errors import DownloadFailed, HeadroomError
from headroom.files import parse_json
from headroom.weights import client
from headroom.weights.client import Client
from headroom.weights.manifest import NAME
from headroom.weights.sources import HuggingFace
from unit.weights.downloads import assert_whole, download, hugging_face, modelscope
from unit.weights.folders import model_files, published
from unit.weights.hub import Hub, serving

MAIN = "ACE-Step/Ace-Step1.5"


def refused(hub: Hub, into: Path, words: str) -> str:
    with pytest.raises(DownloadFailed, match=words) as error:
        download(["vae"], into, [hugging_face(hub, "hf_secret")])
    assert not (into / "vae").exists()
    assert "hf_secret" not in str(error.value)
    return str(error.value)


def test_the_next_page_at_another_host_is_not_asked_for(hub: Hub, tmp_path: Path) -> None:
    with serving(Hub(published())) as other:
        hub.links = [f"{other.url}/api/models/{MAIN}/tree/main"]
        refused(hub, tmp_path, "the next page is elsewhere")
        assert not other.requests


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "//elsewhere.invalid/x",
        "http://[",
        "gopher:",
        "/" + "x" * 5000,
        "http://" + "9" * 5000,
    ],
)
def test_a_next_page_that_is_none_is_refused(hub: Hub, tmp_path: Path, link: str) -> None:
    hub.links = [link]
    refused(hub, tmp_path, "the next page is")
    assert len(hub.asked("/tree/")) == 1


@pytest.mark.parametrize("link", ["/\ud800", "/" + "9" * 5000])
def test_a_next_page_that_no_address_can_name_is_refused_in_a_line(link: str) -> None:
    class Told:
        def json(self, url: str) -> tuple[object, str | None]:
            return ({"sha": "a" * 40}, None) if "revision" in url else ([], link)

    with pytest.raises(DownloadFailed, match="the next page is at") as caught:
        HuggingFace("https://hub.invalid", cast("Client", Told())).listing("x/y")
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_a_listing_that_goes_round_ends(hub: Hub, tmp_path: Path) -> None:
    hub.links = [f"/api/models/{MAIN}/tree/main?cursor=1"]
    refused(hub, tmp_path, "the listing does not end")
    assert len(hub.asked("/tree/")) <= 100


def test_a_mirror_that_names_the_original_host_is_followed(hub: Hub, tmp_path: Path) -> None:
    hub.page = 40
    page = f"https://huggingface.co/api/models/{MAIN}/tree/main?recursive=true"
    hub.links = [page]
    with pytest.raises(DownloadFailed, match="does not end"):
        download(["vae"], tmp_path, [hugging_face(hub)])
    assert len(hub.asked("/tree/main")) > 1, "asked for at the mirror"


def test_a_huge_listing_is_left_off(hub: Hub, tmp_path: Path) -> None:
    hub.body = repeat(b" " * (1 << 20))
    tracemalloc.start()
    try:
        refused(hub, tmp_path, "larger than 4194304 bytes")
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()
    assert hub.sent < 40 << 20, "the rest is not waited for"


def test_a_listing_that_drips_is_left_off(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LISTING_SECONDS", 0.0)
    hub.body = iter([b" "] * 9)
    refused(hub, tmp_path, "takes longer than")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b"1" * 5000, b"NaN", b"\xff\xfe", b"[]", b"{}", b"null", b'{"sha": "main"}',
        b'{"sha": "../../etc"}', b'{"Data": {"Files": null}}', b'{"Data": [], "Message": 3}',
        b'{"Message": "\\u001b[2Jgone"}',
    ],
)  # fmt: skip
def test_answers_of_another_kind_are_sentences(hub: Hub, tmp_path: Path, body: bytes) -> None:
    hub.body = repeat(body, 1)
    assert "\x1b" not in refused(hub, tmp_path, "vae could not be downloaded")
    hub.body = None
    hub.repos = {}
    with pytest.raises(HeadroomError):
        download(["vae"], tmp_path, [modelscope(hub)])


@pytest.mark.parametrize(
    "name",
    ["../../escape.json", "/etc/x.json", "C:evil.json", "a\\b.json", "con.json", "a\n.json",
     ".hidden.json", "sub/deep.json", "lpt1.safetensors", "x .json ", "\u202ex.json"],
)  # fmt: skip
def test_names_that_are_no_files_of_the_folder_are_left_out(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.repos[MAIN][f"vae/{name}"] = b"{}"
    for source in (hugging_face(hub), modelscope(hub)):
        into = tmp_path / "a" / "b" / source.name
        download(["vae"], into, [source])
        assert_whole(into / "vae", "vae")
    found = {p.name for p in tmp_path.rglob("*.*") if p.is_file()}
    assert found <= {*model_files("vae"), NAME, ".headroom-lock"}


def test_two_names_that_some_systems_take_for_one_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.repos[MAIN]["vae/Config.JSON"] = b"{}"
    hub.repos[MAIN]["vae/CONFIG.json"] = b"{}"
    refused(hub, tmp_path, "'config.json' and 'CONFIG.json', one name twice")


@pytest.mark.parametrize("size", [-1, 10**18, 10**400, 1.5, "9", True, None])
def test_sizes_that_cannot_be_are_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: object
) -> None:
    row = f'{{"type": "file", "path": "vae/config.json", "oid": "0", "size": {size!r}}}'
    text = row.replace("'", '"').replace("True", "true").replace("None", "null")
    whole = text.replace("config.json", "diffusion_pytorch_model.safetensors")
    answers = iter([f'{{"sha": "{"a" * 40}"}}'.encode(), f"[{text}, {whole}]".encode()])
    monkeypatch.setattr(Client, "json", lambda self, url: (parse_json(next(answers)), None))
    with pytest.raises(HeadroomError, match=r"for size|free"):
        download(["vae"], tmp_path, [hugging_face(hub)])
    assert not (tmp_path / "vae").exists()
