"""The bytes of a file are sent; when that ends early, the file is closed at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.requests import ClientDisconnect

from headroom.service.ranges import served
from headroom.storage.folder import Folder
from headroom.storage.upload import upload

KEY = "aa" * 32


@dataclass(frozen=True)
class Known:
    hash: str = KEY
    size: int = 4
    kind: str = "audio/flac"
    name: str = "song.flac"


@pytest.mark.parametrize("after", ["http.response.start", "http.response.body"])
def test_a_file_is_closed_where_who_asked_has_gone(tmp_path: Path, after: str) -> None:
    folder = Folder(tmp_path)
    with upload(folder, floor=0) as one:
        one.write(b"song")
        one.close()
        key = folder.take(one.path)

    async def send(message: Any) -> None:
        if message["type"] == after:
            raise OSError

    async def receive() -> Any:
        await asyncio.sleep(60)

    answer = served(Known(), partial(folder.read, key), {})
    with pytest.raises((OSError, ClientDisconnect, ExceptionGroup)):
        asyncio.run(answer({"type": "http", "method": "GET"}, receive, send))
    opened = [one.path for one in psutil.Process().open_files()]
    assert [one for one in opened if str(tmp_path) in one] == []
