"""`acestep serve`: its flags, checked before any process starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from headroom.cli import serve
from headroom.errors import InvalidRequest
from headroom.jobs.keys import Keys
from headroom.jobs.schema import open_database
from headroom.service.config import from_settings
from headroom.service.first_key import first_key
from headroom.settings import load


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--port", "0"], "port"),
        (["--port", "http"], "port"),
        (["--host", "a/b"], "host"),
        (["--device", "abacus"], "device"),
        (["--engines", "many"], "engines"),
        (["--cards", "cuda:0", "--device", "cpu"], "device"),
    ],
)
def test_what_a_flag_does_not_take(words: list[str], field: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        serve.run(words)
    assert error.value.field == field


def test_a_port_that_is_in_use_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADROOM_DATA_DIR", str(tmp_path / "data"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidRequest) as error:
            serve.run(["--port", str(port)])
    assert error.value.field == "port" and error.value.value == port
    assert not (tmp_path / "data").exists()


def test_flags_stand_above_settings(tmp_path: Path) -> None:
    args = serve.parser().parse_args(["--port", "9001", "--database", str(tmp_path / "x.db")])
    settings = serve.with_flags(load({"HEADROOM_SERVICE_PORT": "9000"}), serve.FLAGS, args)
    config = from_settings(settings)
    assert (config.port, config.host) == (9001, "127.0.0.1")
    assert config.database == str(tmp_path / "x.db")


def test_a_service_that_others_reach_gets_a_key_once(tmp_path: Path) -> None:
    given = {"HEADROOM_DATA_DIR": str(tmp_path), "HEADROOM_SERVICE_HOST": "0.0.0.0"}
    config = from_settings(load(given))
    secret = first_key(config)
    assert secret is not None
    database = open_database(config.database)
    key = Keys(database).find(secret)
    assert key is not None and key.scopes == ("use", "admin")
    assert first_key(config) is None
    Keys(database).revoke(key.id)
    database.close()
    assert first_key(config) is not None
    assert first_key(from_settings(load(given | {"HEADROOM_SERVICE_KEY": "k" * 20}))) is None
    assert first_key(from_settings(load({"HEADROOM_DATA_DIR": str(tmp_path)}))) is None
