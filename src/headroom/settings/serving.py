"""Declares the settings of the service: its address, who may call it, and what it keeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from headroom.settings.declaration import (
    AUTO,
    COUNT,
    FOLDER,
    GIBIBYTES,
    GROUPS,
    Setting,
    Takes,
    amount,
    words,
)
from headroom.settings.folders import data_folder
from headroom.settings.options import Options

GROUP = "Service"
LANGUAGES = ("en", "zh", "ko", "pt", "ja", "he")  # of the page
_LARGEST_PORT = (1 << 16) - 1
_SHORTEST_KEY = 16
_MEBIBYTES = Takes("a number of MiB above 0", amount, (int, float))


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= _LARGEST_PORT:
        raise ValueError(text)
    return int(text)


def _hosts(text: str) -> str:
    names = [name.strip().lower() for name in text.split(",")]
    if not all(names) or any(set(name) & set("*/ \t\0") for name in names):
        raise ValueError(text)
    return ",".join(names)


def _origins(text: str) -> str:
    origins = [one.strip().rstrip("/").lower() for one in text.split(",")]
    for one in origins:
        scheme, _, host = one.partition("://")
        if scheme not in ("http", "https") or not host or set(host) & set("*/ \t\0"):
            raise ValueError(text)
    return ",".join(origins)


def _key(text: str) -> str:
    if len(text) < _SHORTEST_KEY or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(text)
    return text


def _cluster(text: str) -> str:
    host, _, port = text.strip().rpartition(":")
    if text.strip().lower() == AUTO:
        return AUTO
    _port(port)
    return f"{_hosts(host)}:{port}"


def _engines(text: str) -> str:
    parts = text.split("-")
    numbers = [int(part) for part in parts if part.isdecimal() and len(part) < 7]
    if len(numbers) != len(parts) or not 1 <= len(parts) <= 2 or not 1 <= numbers[0] <= numbers[-1]:
        raise ValueError(text)
    return f"{numbers[0]}-{numbers[-1]}"


class Serving(Options):
    """The settings of the service, beside the options of its engines."""

    service_host: Annotated[
        str,
        Setting(
            GROUP,
            "address to listen at; 0.0.0.0 is every address of this machine, and needs a key",
            takes=Takes("an address of this machine, or a name of it", _hosts),
            replaces=("ACESTEP_API_HOST",),
            elsewhere=True,
        ),
    ] = "127.0.0.1"
    service_port: Annotated[
        int,
        Setting(
            GROUP,
            "port of the API",
            takes=Takes(f"a whole number from 1 to {_LARGEST_PORT}", _port, (int,)),
            replaces=("ACESTEP_API_PORT",),
        ),
    ] = 8001
    ui_port: Annotated[
        int,
        Setting(
            GROUP,
            "port of the page",
            takes=Takes(f"a whole number from 1 to {_LARGEST_PORT}", _port, (int,)),
        ),
    ] = 7860
    ui_language: Annotated[
        str,
        Setting(
            GROUP,
            "language of the page, until somebody chooses another one there",
            takes=words(*LANGUAGES),
        ),
    ] = "en"
    service_key: Annotated[
        str | None,
        Setting(
            GROUP,
            "key that every caller has to present, those of this machine too",
            left_open="a key is made where one is needed",
            takes=Takes(
                f"at least {_SHORTEST_KEY} printable ASCII characters without spaces", _key
            ),
            replaces=("ACESTEP_API_KEY",),
            secret=True,
            elsewhere=True,
        ),
    ] = Field(default=None, repr=False)
    service_hosts: Annotated[
        str | None,
        Setting(
            GROUP,
            "names under which callers may address the service, beside those of this machine",
            left_open="any, for a caller with a key",
            takes=Takes("names of hosts, separated by commas", _hosts),
            elsewhere=True,
        ),
    ] = None
    service_origins: Annotated[
        str | None,
        Setting(
            GROUP,
            "web pages of other origins whose scripts may call the service",
            left_open="none",
            takes=Takes("origins as in https://example.org, separated by commas", _origins),
            elsewhere=True,
        ),
    ] = None
    data_dir: Annotated[
        Path,
        Setting(
            GROUP,
            "folder of the service's database and files",
            left_open="headroom in the system's folder for data",
            takes=FOLDER,
            elsewhere=True,
        ),
    ] = Field(default_factory=lambda: data_folder(os.environ))
    service_database: Annotated[
        str | None,
        Setting(
            GROUP,
            "database of the jobs",
            left_open="jobs.db in HEADROOM_DATA_DIR",
            takes=Takes("the path of an SQLite file, or a URL as in postgresql://host/name"),
            secret=True,
            elsewhere=True,
        ),
    ] = Field(default=None, repr=False)
    service_storage: Annotated[
        str | None,
        Setting(
            GROUP,
            "storage of uploads and songs",
            left_open="files in HEADROOM_DATA_DIR",
            takes=Takes("the path of a folder, or a URL that begins with s3://, gs:// or az://"),
            elsewhere=True,
        ),
    ] = None
    service_waiting: Annotated[
        int,
        Setting(GROUP, "jobs that may wait; more are refused until one is taken", takes=COUNT),
    ] = 200
    service_upload_limit: Annotated[
        float,
        Setting(
            GROUP,
            "largest upload, in MiB",
            takes=_MEBIBYTES,
        ),
    ] = 256.0
    service_body_limit: Annotated[
        float,
        Setting(
            GROUP,
            "largest body of any other request, in MiB",
            takes=_MEBIBYTES,
        ),
    ] = 1.0
    service_free_space: Annotated[
        float,
        Setting(
            GROUP, "free space of the disk below which nothing is accepted, in GiB", takes=GIBIBYTES
        ),
    ] = 2.0
    service_quota: Annotated[
        float | None,
        Setting(
            GROUP,
            "space for all uploads and songs in GiB; beyond it the oldest jobs are deleted",
            left_open="no limit",
            takes=GIBIBYTES,
        ),
    ] = None
    service_keep_days: Annotated[
        float | None,
        Setting(
            GROUP,
            "days after which a job that has ended is deleted with its songs",
            left_open="never",
            takes=Takes("a number of days above 0", amount, (int, float)),
        ),
    ] = None
    service_cards: Annotated[
        str | None,
        Setting(
            GROUP,
            "an engine process for each of these: cards, or groups of cards that one process uses, "
            "with commas within a group and spaces between them",
            left_open="one for each card that the device means",
            takes=GROUPS,
        ),
    ] = None
    service_cluster: Annotated[
        str | None,
        Setting(
            GROUP,
            "Ray cluster that the service runs on; auto is the one of this machine, which is "
            "started if there is none",
            left_open="none: this machine alone",
            takes=Takes("auto, or the address of a Ray cluster as in 10.0.0.1:6379", _cluster),
            elsewhere=True,
        ),
    ] = None
    service_engines: Annotated[
        str | None,
        Setting(
            GROUP,
            "engines on a Ray cluster: a number, or the least and the most, between which the "
            "jobs that wait decide",
            left_open="one for each card, or for each machine where none has one",
            takes=Takes("a number as in 4, or two as in 1-8", _engines),
        ),
    ] = None
