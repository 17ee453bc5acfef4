"""The folders of a service on this machine: of its database, its files and its locks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headroom.errors import InvalidRequest
from headroom.service.config import ServiceConfig


def create_folders(config: ServiceConfig) -> None:
    """Create the folders of the database and of the files. Raises InvalidRequest, which names the
    setting."""
    places = {"service_database": config.database, "service_storage": config.storage}
    folders = {"data_dir": config.staging} | {
        name: Path(place).parent for name, place in places.items() if "://" not in str(place)
    }
    for name, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            allowed = "a folder that can be written to"
            raise InvalidRequest(config.settings.spelt(name), str(folder), allowed) from error


def seats_of(config: ServiceConfig) -> Path:
    """The folder of the locks of this machine: beside an SQLite file, which every process that
    uses the database knows; for a server, the system's folder for temporary files."""
    where = str(config.database).removeprefix("sqlite:///")
    if "://" in where:
        return Path(tempfile.gettempdir()) / "headroom-seats"
    return Path(where).absolute().parent
