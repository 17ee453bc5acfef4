"""The library: what is known of songs, the tags on them, and playlists."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from headroom.jobs.search import indexed
from headroom.jobs.texts import block

revision = "v0002"
down_revision = "v0001"
# SQLite keeps the text in `songs` and the index in `song_grams`; these keep the two equal.
_INDEX = (
    "CREATE VIRTUAL TABLE song_grams USING fts5("
    "grams, content='songs', content_rowid='number', detail=none, tokenize='ascii')",
    "CREATE TRIGGER song_grams_insert AFTER INSERT ON songs BEGIN "
    "INSERT INTO song_grams(rowid, grams) VALUES (new.number, new.grams); END",
    "CREATE TRIGGER song_grams_delete AFTER DELETE ON songs BEGIN "
    "INSERT INTO song_grams(song_grams, rowid, grams) "
    "VALUES ('delete', old.number, old.grams); END",
    "CREATE TRIGGER song_grams_update AFTER UPDATE OF grams ON songs BEGIN "
    "INSERT INTO song_grams(song_grams, rowid, grams) "
    "VALUES ('delete', old.number, old.grams); "
    "INSERT INTO song_grams(rowid, grams) VALUES (new.number, new.grams); END",
)


def upgrade() -> None:
    """Create the tables, and enter the outputs that there are."""
    op.add_column("jobs", sa.Column("again", sa.Text(), nullable=True))
    op.create_index("ix_outputs_parent", "outputs", ["parent"])
    _songs()
    _tags()
    _playlists()
    _entries()
    _enter_all()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _songs() -> None:
    grams = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")
    op.create_table(
        "songs",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("output", sa.Integer(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("lyrics", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.Column("sorted", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("grams", grams, nullable=False),
        sa.ForeignKeyConstraint(
            ["job", "output"],
            ["outputs.job", "outputs.number"],
            name=op.f("fk_songs_job"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_songs")),
        sa.UniqueConstraint("job", "output", name=op.f("uq_songs_job")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_songs_deleted", "songs", ["deleted"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_songs_grams", "songs", ["grams"], postgresql_using="gin")
    else:
        for statement in _INDEX:
            op.execute(sa.text(statement.replace(":", r"\:")))


def _tags() -> None:
    op.create_table(
        "tags",
        sa.Column("song", _number(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["song"], ["songs.number"], name=op.f("fk_tags_song"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("song", "tag", name=op.f("pk_tags")),
    )
    op.create_index("ix_tags_tag", "tags", ["tag"])


def _playlists() -> None:
    op.create_table(
        "playlists",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_playlists")),
    )
    op.create_index("ix_playlists_key", "playlists", ["key"])


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("playlist", sa.Text(), nullable=False),
        sa.Column("song", _number(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["playlist"], ["playlists.id"], name=op.f("fk_entries_playlist"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["song"], ["songs.number"], name=op.f("fk_entries_song"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("playlist", "song", name=op.f("pk_entries")),
    )
    op.create_index("ix_entries_song", "entries", ["song"])


def _enter_all() -> None:
    rows = sa.text(
        "SELECT outputs.job, outputs.number AS output, title, tags FROM outputs "
        "JOIN jobs ON jobs.id = outputs.job ORDER BY jobs.number, outputs.number"
    )
    columns = ("job", "output", "caption", "lyrics", "sorted", "told", "grams")
    songs = sa.table("songs", *map(sa.column, columns))
    connection = op.get_bind()
    for job, output, title, tags in connection.execute(rows).all():
        caption, lyrics = _words(tags)
        words = {"job": job, "output": output, "caption": caption, "lyrics": lyrics}
        index = indexed(title, caption, lyrics, (), connection.dialect)
        connection.execute(sa.insert(songs).values(**words, **index))


def _words(tags: str) -> tuple[str, str]:
    """The caption and the lyrics in an output's JSON text, as far as it holds them."""
    value: Any = json.loads(tags)
    try:
        values = value["provenance"]["requests"][0]["values"]
        found = [values.get(name) for name in ("caption", "lyrics")]
    except (KeyError, IndexError, TypeError, AttributeError):
        return "", ""
    caption, lyrics = (block(one) if isinstance(one, str) else "" for one in found)
    return caption, lyrics
