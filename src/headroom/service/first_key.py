"""Makes the first key of a service that others can reach."""

from __future__ import annotations

from headroom.jobs.keys import Keys
from headroom.jobs.schema import open_database
from headroom.service.callers import SCOPES
from headroom.service.config import ServiceConfig


def first_key(config: ServiceConfig) -> str | None:
    """The secret of a new key with all rights; None where none is needed, because only this machine
    reaches the service and needs none, or because there is a key. Raises DatabaseFailed."""
    if (config.is_local and config.trusts_here) or config.key is not None:
        return None
    database = open_database(config.database)
    try:
        keys = Keys(database)
        if any(key.revoked is None for key in keys.all()):
            return None
        return keys.create("first", SCOPES)[1]
    finally:
        database.close()
