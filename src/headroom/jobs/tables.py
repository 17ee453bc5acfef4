"""The tables of the database, as the newest migration leaves them.

Times are seconds since 1970 by the wall clock of whoever wrote them. Nobody decides by them whether
a worker is alive: that is what `jobs.beat` is for.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

ENDED = ("done", "failed", "cancelled", "expired")
STATES = ("queued", "running", *ENDED)
# SQLite counts rows by itself only in a column of exactly this type.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

_WAITING = text("state = 'queued'")
_RUNNING = text("state = 'running'")

jobs = Table(
    "jobs",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),  # order of acceptance
    Column("id", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False),  # the id of the key that asked; "" on this machine
    Column("request", Text, nullable=False),  # JSON
    Column("digest", Text, nullable=False),  # of the request, for `repeat`
    Column("repeat", Text),  # the caller's idempotency key
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),  # claims so far; the newest one is in force
    Column("deaths", Integer, nullable=False),  # workers that died of it, or with it
    Column("holder", Text),
    Column("beat", Integer, nullable=False),  # the holder adds 1 again and again while it lives
    Column("stop", Boolean, nullable=False),  # cancellation was asked for while it ran
    Column("told", Integer, nullable=False),  # number of the newest event
    Column("created", Double, nullable=False),
    Column("deadline", Double),
    Column("started", Double),
    Column("ended", Double),
    Column("error", Text),  # JSON, of a failed job
    Column("result", Text),  # JSON, of a job that is done
    Column("again", Text),  # the job whose request it repeats, which may be gone
    Column("same", Text),  # of one that made songs: equal for requests that make the same ones
    Column("reused", Text),  # the job whose songs it was answered with, which may be gone
    CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    CheckConstraint("(state = 'running') = (holder IS NOT NULL)", name="holder"),
    CheckConstraint("(state IN ('queued', 'running')) = (ended IS NULL)", name="ended"),
    sqlite_autoincrement=True,
)
Index(
    "ix_jobs_waiting", jobs.c.key, jobs.c.number, sqlite_where=_WAITING, postgresql_where=_WAITING
)
Index("ix_jobs_running", jobs.c.number, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
Index("ix_jobs_key", jobs.c.key, jobs.c.number)
Index("ix_jobs_ended", jobs.c.ended)
Index("ix_jobs_same", jobs.c.same)
Index("uq_jobs_repeat", jobs.c.key, jobs.c.repeat, unique=True)

turns = Table(  # when each key was served last, as a number that grows by one with each claim
    "turns",
    metadata,
    Column("key", Text, primary_key=True),
    Column("served", _NUMBER, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("time", Double, nullable=False),
    Column("passing", Boolean, nullable=False),  # of no interest once the job has ended
    Column("event", Text, nullable=False),  # JSON
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("blob", Text, nullable=False),  # where its bytes are in the storage; never shown
    Column("hash", Text, nullable=False),  # SHA-256, hexadecimal
    Column("size", BigInteger, nullable=False),
    Column("name", Text, nullable=False),  # what who sent it calls it
    Column("kind", Text, nullable=False),  # a media type, such as audio/flac
    Column("seconds", Double),
    Column("owner", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
)
Index("ix_files_hash", files.c.hash)
Index("ix_files_blob", files.c.blob)
Index("ix_files_expires", files.c.expires)

inputs = Table(  # the files that a job reads: they stay until it has ended
    "inputs",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("file", Text, ForeignKey("files.id"), primary_key=True),
)
Index("ix_inputs_file", inputs.c.file)

answers = Table(  # the files, which may be gone, of which a job that made none told something
    "answers",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("file", Text, primary_key=True),
)
Index("ix_answers_file", answers.c.file)

outputs = Table(
    "outputs",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, ForeignKey("files.id"), nullable=False),
    Column("title", Text, nullable=False),
    Column("tags", Text, nullable=False),  # JSON
    Column("rating", Integer),
    Column("parent", Text),  # the file it was made from, which may be gone
)
Index("ix_outputs_file", outputs.c.file)
Index("ix_outputs_parent", outputs.c.parent)

pieces = Table(  # sound of songs that are being decoded, to be heard before they are done
    "pieces",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("song", Integer, primary_key=True, autoincrement=False),  # from 0
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # in samples of a channel
    Column("frames", BigInteger, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("rate", Integer, nullable=False),
    Column("blob", Text, nullable=False),  # where its bytes are in the storage
)

songs = Table(  # what the library knows of an output: one row for each
    "songs",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),  # order in which they came
    Column("job", Text, nullable=False),
    Column("output", Integer, nullable=False),
    Column("caption", Text, nullable=False),
    Column("lyrics", Text, nullable=False),
    Column("deleted", Double),  # when it was deleted; it is removed some time later
    # Derived from the title, the caption, the lyrics and the tags, by `headroom.jobs.search`.
    Column("sorted", Text, nullable=False),  # the title as names are sorted
    Column("told", Text, nullable=False),  # everything that a search looks through
    Column("grams", Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
    UniqueConstraint("job", "output"),
    ForeignKeyConstraint(["job", "output"], ["outputs.job", "outputs.number"], ondelete="CASCADE"),
    sqlite_autoincrement=True,
)
Index("ix_songs_deleted", songs.c.deleted)
# On SQLite a full-text table `song_grams`, kept by triggers, has this place.
Index("ix_songs_grams", songs.c.grams, postgresql_using="gin").ddl_if(dialect="postgresql")

tags = Table(  # words that people put on songs
    "tags",
    metadata,
    Column("song", _NUMBER, ForeignKey("songs.number", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True),
)
Index("ix_tags_tag", tags.c.tag)

playlists = Table(
    "playlists",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),  # the id of the key whose it is; "" on this machine
    Column("name", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
)
Index("ix_playlists_key", playlists.c.key)

entries = Table(  # the songs of playlists, in their order
    "entries",
    metadata,
    Column("playlist", Text, ForeignKey("playlists.id", ondelete="CASCADE"), primary_key=True),
    Column("song", _NUMBER, ForeignKey("songs.number", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, nullable=False),
)
Index("ix_entries_song", entries.c.song)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256 of the secret
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # JSON
    Column("waiting", Integer),  # how many of its jobs may wait
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

members = Table(  # the processes that work
    "members",
    metadata,
    Column("name", Text, primary_key=True),  # as `jobs.holder`
    Column("beat", Integer, nullable=False),  # grows while it lives
    Column("told", Double, nullable=False),
    Column("status", Text, nullable=False),  # JSON
)

errands = Table(  # what a process is asked to do beside the jobs
    "errands",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("member", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("given", Text, nullable=False),  # JSON
    Column("created", Double, nullable=False),
    Column("ended", Double),
    Column("answer", Text),  # JSON, of one that is done
    Column("error", Text),  # JSON, of one that has failed
    sqlite_autoincrement=True,
)
Index("ix_errands_member", errands.c.member, errands.c.number)

choices = Table(  # the model of each family for requests that name none, where one was loaded
    "choices",
    metadata,
    Column("family", Text, primary_key=True),
    Column("model", Text, nullable=False),
)

tallies = Table(  # counters, which only grow
    "tallies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("value", Double, nullable=False),
)
