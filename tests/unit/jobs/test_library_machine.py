"""The library under changes in any order, compared with a simple model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from headroom.errors import UnknownId
from headroom.jobs.database import Database, connect
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.playlists import Playlists
from headroom.jobs.retention import Retention
from headroom.jobs.search import folded
from headroom.jobs.songs import SORTS, UNDO_SECONDS, Change, Sort, Wanted
from headroom.storage.folder import Folder
from support.clock import Hands
from support.databases import Server, hurried
from support.shelf import Shelf

KEYS = ("a", "b")
# Few letters of many scripts, so that words meet; what folds together, and what no query may be.
LETTERS = st.text(st.sampled_from("abAé夜音사랑של%_\\'\"* \n"), max_size=5)
WORDS = st.sampled_from(("夜", "音", "a", "ab", "사랑", "ש", "%", "'", '"', "é", "", "a 夜"))
TAGS = st.lists(st.sampled_from(("a", "夜", "x'y")), max_size=2)


@dataclass
class Model:
    """A song as it should be."""

    order: int
    key: str
    title: str
    caption: str
    seconds: float | None
    parent: str | None
    file: str
    rating: int | None = None
    tags: set[str] = field(default_factory=set)
    deleted: float | None = None

    def told(self) -> str:
        return folded("\n".join((self.title, self.caption, *self.tags)))

    def place(self, sort: Sort) -> tuple[object, int]:
        keys = {
            "date": self.order,
            "name": folded(self.title).encode(),
            "rating": self.rating or 0,
            "length": self.seconds or 0.0,
        }
        return keys[sort], self.order


class Shelves(RuleBasedStateMachine):
    """Lists, searches, playlists and versions show what was put in, to those whose it is."""

    songs = Bundle("songs")
    lists = Bundle("lists")
    fresh: Callable[[], Database]

    def __init__(self) -> None:
        super().__init__()
        self.hands = Hands()
        self.database = type(self).fresh()
        self.folder = TemporaryDirectory()
        files = Files(self.database, Folder(Path(self.folder.name)), self.hands.clock, floor=0)
        self.shelf = Shelf(self.database, files, self.hands.clock)
        self.playlists = Playlists(self.database, self.hands.clock)
        self.retention = Retention(self.database, files, self.hands.clock)
        self.model: dict[str, Model] = {}
        self.ordered: dict[str, tuple[str, list[str]]] = {}
        self.made = 0

    @rule(
        target=songs,
        key=st.sampled_from(KEYS),
        title=LETTERS,
        caption=LETTERS,
        seconds=st.sampled_from((None, 1.0, 2.5, 2.5)),
        source=st.none() | songs,
    )
    def make(
        self, key: str, title: str, caption: str, seconds: float | None, source: str | None
    ) -> str:
        parent = self.model.get(source or "")
        file = None if parent is None else parent.file
        song = self.shelf.make(title, key, caption, seconds=seconds, parent=file)
        self.made += 1
        self.model[song.id] = Model(
            self.made, key, song.title, song.caption, seconds, file, song.file
        )
        return song.id

    @rule(id=songs, title=LETTERS, rating=st.integers(0, 5), tags=TAGS, key=st.sampled_from(KEYS))
    def change(self, id: str, title: str, rating: int, tags: list[str], key: str) -> None:
        song = self.model.get(id)
        act = lambda: self.shelf.songs.change(id, Change(title, rating, tuple(tags)), key)  # noqa: E731
        if song is None or song.key != key:
            with pytest.raises(UnknownId):
                act()
            return
        song.title, song.rating, song.tags = act().title, rating or None, set(tags)

    @rule(id=songs, key=st.sampled_from((*KEYS, None)), undo=st.booleans())
    def delete_or_restore(self, id: str, key: str | None, undo: bool) -> None:
        song = self.model.get(id)
        act = self.shelf.songs.restore if undo else self.shelf.songs.delete
        if song is None or key not in (None, song.key):
            with pytest.raises(UnknownId):
                act(id, key)
            return
        act(id, key)
        if undo:
            song.deleted = None
        elif song.deleted is None:
            song.deleted = self.hands.wall

    @rule(id=songs)
    def delete_the_job(self, id: str) -> None:
        if self.model.pop(id, None) is not None:
            Library(self.database, self.shelf.files).delete(id.split(".")[0])

    @rule(seconds=st.sampled_from((1.0, UNDO_SECONDS / 2, UNDO_SECONDS)))
    def time_passes(self, seconds: float) -> None:
        self.hands.pass_by(seconds)
        before = self.hands.wall - UNDO_SECONDS
        late = [
            id
            for id, one in self.model.items()
            if one.deleted is not None and one.deleted <= before
        ]
        assert self.retention.sweep().songs == len(late)
        for id in late:
            del self.model[id]

    @rule(target=lists, key=st.sampled_from(KEYS), ids=st.lists(songs, max_size=4))
    def new_playlist(self, key: str, ids: list[str]) -> str:
        own = [id for id in ids if id in self.model and self.model[id].key == key]
        playlist = self.playlists.create(key, "list", own, key).id
        self.ordered[playlist] = key, list(dict.fromkeys(own))
        return playlist

    @rule(playlist=lists, ids=st.lists(songs, max_size=4))
    def reorder(self, playlist: str, ids: list[str]) -> None:
        key, _ = self.ordered[playlist]
        if any(id not in self.model or self.model[id].key != key for id in ids):
            with pytest.raises(UnknownId):
                self.playlists.change(playlist, ids=ids, owner=key)
            return
        self.playlists.change(playlist, ids=ids, owner=key)
        self.ordered[playlist] = key, list(dict.fromkeys(ids))

    @rule(
        query=WORDS,
        tags=TAGS,
        rating=st.none() | st.integers(1, 5),
        sort=st.sampled_from(SORTS),
        rising=st.booleans(),
        deleted=st.booleans(),
        key=st.sampled_from((*KEYS, None)),
        most=st.integers(1, 4),
    )
    def look(
        self,
        query: str,
        tags: list[str],
        rating: int | None,
        sort: Sort,
        rising: bool,
        deleted: bool,
        key: str | None,
        most: int,
    ) -> None:
        wanted = Wanted(query, tuple(tags), rating, deleted, sort, rising)
        words = folded(query).split()
        expected = [
            id
            for id, one in self.model.items()
            if key in (None, one.key)
            and (one.deleted is not None) == deleted
            and set(tags) <= one.tags
            and (rating is None or (one.rating or 0) >= rating)
            and all(word in one.told() for word in words)
        ]
        expected.sort(key=lambda id: self.model[id].place(sort), reverse=not rising)
        assert [one.id for one in self.shelf.turned(wanted, most, key)] == expected

    @rule(id=songs, key=st.sampled_from((*KEYS, None)))
    def versions(self, id: str, key: str | None) -> None:
        song = self.model.get(id)
        if song is None or key not in (None, song.key):
            return
        found = self.shelf.songs.versions(id, key)
        assert id in [one.id for one, _ in found]
        depths = {one.file: depth for one, depth in found}
        for one, depth in found:
            parent = self.model[one.id].parent
            assert depth == (depths[parent] + 1 if parent in depths else 0)

    @invariant()
    def playlists_hold_what_is_left_of_what_was_put_in(self) -> None:
        for playlist, (key, ids) in self.ordered.items():
            there = [id for id in ids if id in self.model and self.model[id].deleted is None]
            found, songs = self.playlists.get(playlist, key)
            assert ([one.id for one in songs], found.songs) == (there, len(there))

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Shelves, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


@pytest.mark.ci
def test_the_library_is_what_was_put_into_it(
    sqlite_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = staticmethod(hurried(sqlite_model, tmp_path))
    monkeypatch.setattr(Shelves, "fresh", fresh, raising=False)
    run(15, 30)


@pytest.mark.database
@pytest.mark.long
def test_the_library_is_what_was_put_into_it_on_postgresql(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = staticmethod(lambda: connect(postgres_server.fresh()))
    monkeypatch.setattr(Shelves, "fresh", fresh, raising=False)
    run(8, 30)
