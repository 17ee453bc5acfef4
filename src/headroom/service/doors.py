"""What the routes work with: the queue, the files, the library, the keys of one database."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

from anyio import CapacityLimiter
from fastapi import Request as HttpRequest

from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.keys import Keys
from headroom.jobs.library import Library
from headroom.jobs.playlists import Playlists
from headroom.jobs.queue import Queue
from headroom.jobs.roster import Roster
from headroom.jobs.schema import open_database
from headroom.jobs.songs import Songs
from headroom.jobs.stored import Stored
from headroom.service.answers import Refusal
from headroom.service.callers import ADMIN, Caller, no_key
from headroom.service.config import KnownMachine, ServiceConfig
from headroom.service.hidden import Hidden
from headroom.service.looks import Looks
from headroom.service.places import create_folders
from headroom.service.renditions import Renditions
from headroom.service.waveforms import Waveforms
from headroom.storage.open import open_storage

USUAL_SECONDS = 15.0  # of a job, until one was made
_CONVERTING = 4


@dataclass(frozen=True, slots=True)
class Doors:
    """Everything that routes need. `hidden` replaces paths of the server in what clients see;
    `machine` is what plans are made for; `closing` is set when the server ends; `looks` wakes those
    who follow jobs; `roster` has the engine processes."""

    config: ServiceConfig
    database: Database
    queue: Queue
    files: Files
    library: Library
    songs: Songs
    playlists: Playlists
    waveforms: Waveforms
    keys: Keys
    machine: KnownMachine
    hidden: Hidden
    closing: Event
    looks: Looks
    roster: Roster
    stored: Stored
    renditions: Renditions
    converting: CapacityLimiter  # threads that wait for conversions


def open_doors(config: ServiceConfig, machine: KnownMachine, closing: Event) -> Doors:
    """Open the database and the storage. Raises InvalidDatabase, InvalidRequest, DatabaseFailed,
    StorageFailed."""
    settings = config.settings
    create_folders(config)
    database = open_database(config.database)
    storage = open_storage(config.storage, config.staging)
    files = Files(database, storage, floor=config.free_bytes)
    folders = [storage.staging, config.staging, settings.data_dir, settings.cache_dir]
    folders += [settings.checkpoints_dir, settings.output_dir]
    queue = Queue(database, most=config.waiting, check_room=files.check_room)
    return Doors(
        config=config,
        database=database,
        queue=queue,
        files=files,
        library=Library(database, files),
        songs=Songs(database),
        playlists=Playlists(database),
        waveforms=Waveforms(files, settings.cache_dir / "waveforms"),
        keys=Keys(database),
        machine=machine,
        hidden=Hidden(folders),
        closing=closing,
        looks=Looks(queue, closing),
        roster=Roster(database),
        stored=Stored(database),
        renditions=Renditions(settings.cache_dir),
        converting=CapacityLimiter(_CONVERTING),
    )


# Not plain functions: the framework would start a thread for each.
async def doors_of(request: HttpRequest) -> Doors:
    """The doors of the application that serves a request."""
    doors: Doors = request.app.state.doors
    return doors


async def caller_of(request: HttpRequest) -> Caller:
    """Who calls. Raises Refusal where the guard let somebody through without a key."""
    caller: Caller | None = request.state.caller
    if caller is None:
        raise no_key()
    return caller


async def admin_of(request: HttpRequest) -> Caller:
    """Who calls, and may change what concerns all. Raises Refusal."""
    caller = await caller_of(request)
    if ADMIN not in caller.scopes:
        raise Refusal(403, "no_right", "this needs a key with the scope admin.", "scope", ADMIN)
    return caller
