from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from headroom.errors import DownloadFailed, InvalidOutput
from headroom.weights.client import Client
from headroom.weights.transfer import Remote, fetch
from unit.weights.downloads import QUICK, TURBO, assert_whole, download, hugging_face
from unit.weights.hub import Hub

FILE = "model.safetensors"


def spans(hub: Hub) -> list[str | None]:
    return [span for path, span, _ in hub.asked("cdn") if path.endswith(FILE)]


def test_only_the_same_content_is_continued(hub: Hub, tmp_path: Path) -> None:
    hub.etag, hub.cut[FILE] = '"one"', [1000]
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert spans(hub) == [None, "bytes=1000-"] and '"one"' in hub.if_range
    assert_whole(tmp_path / TURBO, TURBO)


def test_where_the_content_has_changed_it_begins_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.etag, hub.cut[FILE] = '"one"', [1000]
    pause = Client.pause

    def change(*args: object) -> None:
        hub.etag = '"two"'
        pause(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "pause", change)
    seen: list[int] = []
    download([TURBO], tmp_path, [hugging_face(hub)], show=lambda at: seen.append(at.done))
    assert spans(hub) == [None, "bytes=1000-"], "the second answer is the whole file"
    assert_whole(tmp_path / TURBO, TURBO)
    assert seen[-1] == max(seen), "what was thrown away is not counted"


def test_weak_names_of_a_content_are_not_compared(hub: Hub, tmp_path: Path) -> None:
    hub.etag, hub.cut[FILE] = 'W/"one"', [1000]
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert set(hub.if_range) == {None}
    assert_whole(tmp_path / TURBO, TURBO)


def test_an_answer_that_begins_elsewhere_is_not_appended(hub: Hub, tmp_path: Path) -> None:
    hub.skew, hub.cut[FILE] = 10, [1000]
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert spans(hub) == [None, "bytes=1000-", None], "then without a range"
    assert_whole(tmp_path / TURBO, TURBO)


def test_a_server_that_has_nothing_there_is_asked_for_the_whole(hub: Hub, tmp_path: Path) -> None:
    hub.skew, hub.cut[FILE] = 99_999, [1000]  # HTTP 416
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert spans(hub) == [None, "bytes=1000-", None]
    assert_whole(tmp_path / TURBO, TURBO)


def test_without_a_checksum_nothing_of_an_earlier_call_is_continued(
    hub: Hub, tmp_path: Path
) -> None:
    data = hub.repos["ACE-Step/Ace-Step1.5"][f"{TURBO}/{FILE}"]
    url = f"{hub.url}/cdn/ACE-Step/Ace-Step1.5/{TURBO}/{FILE}"
    remote, target = Remote(FILE, len(data)), tmp_path / FILE
    hub.cut[FILE] = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed, match="given up at 1000 of"):
        fetch(Client(None, QUICK), url, remote, target, lambda count: None)
    hub.cut.clear()
    sha256 = fetch(Client(None, QUICK), url, remote, target, lambda count: None)
    assert spans(hub)[-1] is None and sha256 == hashlib.sha256(data).hexdigest()


def test_a_server_that_is_too_busy_for_long_is_left(hub: Hub, tmp_path: Path) -> None:
    hub.status["resolve"], hub.retry_after = [429], "4000"
    with pytest.raises(DownloadFailed, match="HTTP 429, and the server asks to wait 4000 s"):
        download([TURBO], tmp_path, [hugging_face(hub)])
    hub.status["resolve"], hub.retry_after = [429], "0"
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert_whole(tmp_path / TURBO, TURBO)


def test_what_came_before_the_disk_was_full_is_continued(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidOutput, match="the disk is full; what has come is kept"):
        download([TURBO], tmp_path, [hugging_face(hub)])
    assert list((tmp_path / TURBO).glob("*.part"))
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download([TURBO], tmp_path, [hugging_face(hub)])
    assert_whole(tmp_path / TURBO, TURBO)
