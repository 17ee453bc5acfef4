"""Keys of those who may ask: a secret that only its owner has, and what it allows."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import insert, select, update

from headroom.errors import UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.tables import keys

_PREFIX = "hr_"  # so that programs that look for leaked secrets can know one
_SECRET_BYTES = 32  # 256 random bits: a plain hash of them cannot be turned back


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. `waiting` is how many of its jobs may wait; None: no limit of its
    own. `revoked`: since when it opens nothing, in seconds since 1970."""

    id: str
    name: str
    scopes: tuple[str, ...]
    waiting: int | None
    created: float
    revoked: float | None


_KEY = (keys.c.id, keys.c.name, keys.c.scopes, keys.c.waiting, keys.c.created, keys.c.revoked)


class Keys:
    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._database, self._clock = database, clock

    def create(
        self, name: str, scopes: Sequence[str] = (), waiting: int | None = None
    ) -> tuple[Key, str]:
        """A new key, and its secret, which is stored nowhere. Raises InvalidRequest."""
        secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        key = Key(
            texts.new_id(),
            texts.name("name", name),
            tuple(texts.name("scope", scope) for scope in scopes),
            waiting,
            self._clock.wall(),
            None,
        )
        values = {
            "id": key.id,
            "hash": _hash(secret),
            "name": key.name,
            "scopes": json.dumps(key.scopes),
            "waiting": waiting,
            "created": key.created,
        }
        with self._database.write() as connection:
            connection.execute(insert(keys).values(values))
        return key, secret

    def find(self, secret: str) -> Key | None:
        """The key with this secret, unless it was revoked. It is looked up by its hash, so how long
        that takes reveals nothing of the secret."""
        live = (keys.c.hash == _hash(secret), keys.c.revoked.is_(None))
        with self._database.read() as connection:
            row = connection.execute(select(*_KEY).where(*live)).first()
        return None if row is None else _key(row)

    def known(self, id: str) -> tuple[Key, str] | None:
        """A key by its id, with the hash of its secret, unless it was revoked."""
        live = (keys.c.id == id, keys.c.revoked.is_(None))
        with self._database.read() as connection:
            row = connection.execute(select(*_KEY, keys.c.hash).where(*live)).first()
        return None if row is None else (_key(row[:-1]), str(row[-1]))

    def all(self) -> tuple[Key, ...]:
        """In the order of their making, revoked ones too."""
        with self._database.read() as connection:
            rows = connection.execute(select(*_KEY).order_by(keys.c.created, keys.c.id)).all()
        return tuple(_key(row) for row in rows)

    def revoke(self, id: str) -> None:
        """From now on the secret opens nothing. Raises UnknownId, also for one revoked before."""
        live = (keys.c.id == id, keys.c.revoked.is_(None))
        change = update(keys).where(*live).values(revoked=self._clock.wall())
        with self._database.write() as connection:
            if not connection.execute(change).rowcount:
                raise UnknownId("key", id)


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Sequence[object]) -> Key:
    id, name, scopes, waiting, created, revoked = row
    return Key(id, name, tuple(json.loads(scopes)), waiting, created, revoked)  # type: ignore[arg-type]
