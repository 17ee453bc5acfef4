"""Keys: the secret is stored nowhere, and a revoked one opens nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from headroom.errors import InvalidRequest, UnknownId
from headroom.jobs.database import Database
from headroom.jobs.keys import Keys
from headroom.jobs.tables import keys as table
from support.clock import Hands


@pytest.fixture
def keys(database: Database, hands: Hands) -> Keys:
    return Keys(database, hands.clock)


def test_a_key_is_found_by_its_secret_alone(keys: Keys, hands: Hands) -> None:
    key, secret = keys.create("studio", ["generate", "read"], waiting=3)
    other, _ = keys.create("phone")
    assert keys.find(secret) == key
    assert (key.scopes, key.waiting, key.created) == (("generate", "read"), 3, hands.wall)
    for wrong in ("", key.id, secret[:-1], secret + "a", secret.upper(), "\ud800"):
        assert keys.find(wrong) is None
    assert set(keys.all()) == {key, other}


def test_the_secret_is_not_in_the_database(keys: Keys, database: Database) -> None:
    _, secret = keys.create("studio")
    with database.read() as connection:
        row = connection.execute(select(table)).one()
    assert not any(secret[3:] in str(value) for value in row)


def test_a_revoked_key_opens_nothing(keys: Keys, hands: Hands) -> None:
    key, secret = keys.create("studio")
    keys.revoke(key.id)
    assert keys.find(secret) is None
    assert keys.all()[0].revoked == hands.wall
    for id in (key.id, "nobody"):
        with pytest.raises(UnknownId):
            keys.revoke(id)


@pytest.mark.parametrize("name", ["", "a\n", "x" * 201])
def test_a_name_can_be_shown(keys: Keys, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        keys.create(name)
    with pytest.raises(InvalidRequest, match="scope"):
        keys.create("studio", [name])
