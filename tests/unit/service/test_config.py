"""The configuration of the service follows from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom.jobs.queue import WAITING
from headroom.service.config import from_settings
from headroom.settings import load
from headroom.storage.upload import FLOOR, UPLOAD_BYTES


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_of_the_settings_are_those_of_jobs_and_storage() -> None:
    found = from_settings(load({}))
    assert (found.waiting, found.upload_bytes, found.free_bytes) == (WAITING, UPLOAD_BYTES, FLOOR)
    assert (found.host, found.port, found.is_local) == ("127.0.0.1", 8001, True)
    assert (found.keep_seconds, found.quota_bytes, found.key) == (None, None, None)


def test_the_settings_reach_the_configuration() -> None:
    found = from_settings(
        load(
            {
                "HEADROOM_DATA_DIR": "data",
                "HEADROOM_SERVICE_HOSTS": "cellar, cellar.lan",
                "HEADROOM_SERVICE_QUOTA": "2",
                "HEADROOM_SERVICE_KEEP_DAYS": "1",
                "ACESTEP_API_HOST": "0.0.0.0",
            }
        )
    )
    assert (found.database, found.storage) == (Path("data/jobs.db"), Path("data/files"))
    assert found.hosts == ("cellar", "cellar.lan")
    assert (found.quota_bytes, found.keep_seconds) == (2 << 30, 86400.0)
    assert not found.is_local


def test_secrets_are_not_part_of_what_is_printed() -> None:
    told = {"HEADROOM_SERVICE_KEY": "k" * 20, "HEADROOM_SERVICE_DATABASE": "postgresql://u:pw@h/n"}
    settings = load(told)
    assert "k" * 20 not in repr(settings) + repr(from_settings(settings)) + repr(settings.rows())
    assert "pw" not in repr(settings) + repr(from_settings(settings)) + repr(settings.rows())
