"""The library of songs: searched in any language, sorted, tagged, versioned, deleted with undo."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from headroom.errors import InvalidRequest, UnknownId
from headroom.jobs.database import Database, connect
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.playlists import Playlists
from headroom.jobs.queue import Queue
from headroom.jobs.retention import Retention, Swept
from headroom.jobs.schema import migrate, open_database
from headroom.jobs.search import folded, grams
from headroom.jobs.songs import UNDO_SECONDS, Change, Song, Songs, Wanted
from headroom.jobs.tables import entries, songs
from headroom.jobs.tables import files as file_rows
from headroom.jobs.values import Asked, Made
from headroom.jobs.worker import Worker
from headroom.storage.folder import Folder
from support.clock import Hands
from support.shelf import Shelf


@pytest.fixture
def files(database: Database, tmp_path: Path, hands: Hands) -> Files:
    return Files(database, Folder(tmp_path / "files"), hands.clock, floor=0)


@pytest.fixture
def shelf(database: Database, files: Files, hands: Hands) -> Shelf:
    return Shelf(database, files, hands.clock)


def titles(found: tuple[Song, ...]) -> list[str]:
    return [song.title for song in found]


def search(shelf: Shelf, query: str, owner: str | None = None) -> list[str]:
    return sorted(titles(shelf.songs.page(Wanted(query=query), owner).songs))


# Each title is found by its words, whole or in part, and by nothing else here.
LANGUAGES = {
    "夏の音楽": ("音楽", "夏", "の音", "夏の音楽"),
    "我爱中国音乐": ("中国", "音乐", "爱", "我爱 音乐"),
    "사랑해 서울": ("사랑", "서울", "울", "사랑해 서"),
    "שָׁלוֹם עולם": ("שלום", "לום", "עולם", "שָׁלוֹם"),
    "أغنية الصيف": ("اغنية", "الصيف", "صيف"),
    "Déjà vu à l'été": ("deja", "ÉTÉ", "l'été", "vu"),
    "Straße №5": ("strasse", "STRASSE", "№5", "no5"),
    "ＦＵＬＬ width": ("full", "ull", "width"),
    "100% _under\\score": ("100%", "%", "_", "_under\\", "\\"),
    "Привет, мир": ("привет", "МИР", "вет"),
    "हिन्दी गीत": ("हिन्दी", "गीत"),
}


@pytest.mark.parametrize("title", LANGUAGES)
def test_a_song_is_found_by_any_part_of_a_word_in_any_language(shelf: Shelf, title: str) -> None:
    for one in LANGUAGES:
        shelf.make(one)
    for query in LANGUAGES[title]:
        assert search(shelf, query) == [title], query
    assert search(shelf, "zzz") == search(shelf, title + " zzz") == []


def test_words_are_looked_for_in_title_caption_lyrics_and_tags(shelf: Shelf) -> None:
    one = shelf.make("Rain", caption="a slow waltz", lyrics="[Verse]\nover the\u2028hills\n")
    two = shelf.make("Sun", caption="a fast waltz")
    shelf.songs.change(one.id, Change(tags=("evening", "집")))
    assert search(shelf, "WALTZ") == ["Rain", "Sun"]
    for query in ("rain hills", "hill eveni", "집", "waltz 집 rain", "verse"):
        assert search(shelf, query) == ["Rain"], query
    assert search(shelf, "fast rain") == search(shelf, "waltzrain") == []
    shelf.songs.change(two.id, Change(title="Thunder"))
    assert search(shelf, "sun") == [] and search(shelf, "thunder") == ["Thunder"]
    shelf.songs.change(one.id, Change(tags=()))
    assert search(shelf, "집") == []
    assert search(shelf, " \t\u3000") == ["Rain", "Thunder"]
    with pytest.raises(InvalidRequest, match="200 characters"):
        search(shelf, "a" * 201)


def test_a_query_is_never_a_language_of_its_own(shelf: Shelf) -> None:
    shelf.make("Plain")
    shelf.make("quote's \\" + '"AND" NEAR(x) NOT y*')
    for query in ('"', "'", "AND", "NEAR(x)", "y*", "\\", '"AND"', "quote's"):
        assert len(search(shelf, query)) == 1, query
    for query in ("a OR b:", "title:Plain", "' OR 1=1 --", "a\0b", "\ud800", "-", "(a", "*a"):
        assert search(shelf, query) == [], query


def test_letters_have_to_stand_together(shelf: Shelf) -> None:
    """The index knows pairs of letters: what has all pairs of a word need not have the word."""
    shelf.make("abca 音楽音")
    assert search(shelf, "cabc") == search(shelf, "楽音楽") == []
    assert search(shelf, "bca 音楽音") == ["abca 音楽音"]


def test_folding_is_stable_and_grams_are_plain() -> None:
    for title in LANGUAGES:
        assert folded(folded(title)) == folded(title)
        assert all(one.isascii() and one.isalnum() for one in grams(folded(title)))
    assert folded("a\0b\ud800\u200d c\u200e") == "a b? c"
    assert grams("") == set()


def test_sorted_by_anything_and_turned_page_by_page(shelf: Shelf, hands: Hands) -> None:
    made = [("b", 3.0, 4), ("É", 1.0, None), ("A", 3.0, 5), ("d", None, 4), ("c", 2.0, 1)]
    for title, seconds, rating in made:
        song = shelf.make(title, seconds=seconds)
        shelf.songs.change(song.id, Change(rating=rating))
        hands.pass_by(1)
    orders = {"date": "bÉAdc", "name": "AbcdÉ", "rating": "ÉcbdA", "length": "dÉcbA"}
    for sort, order in orders.items():
        for rising, expected in (True, order), (False, order[::-1]):
            wanted = Wanted(sort=sort, rising=rising)  # type: ignore[arg-type]
            assert "".join(titles(shelf.songs.page(wanted).songs)) == expected
            for most in 1, 2, 4:
                assert "".join(titles(shelf.turned(wanted, most))) == expected


def test_a_page_goes_on_where_it_was_though_songs_come_and_go(shelf: Shelf) -> None:
    made = [shelf.make(title) for title in "abcd"]
    page = shelf.songs.page(Wanted(), most=2)
    assert titles(page.songs) == ["d", "c"]
    shelf.songs.delete(made[2].id)
    shelf.make("e")
    assert titles(shelf.songs.page(Wanted(), cursor=page.next, most=9).songs) == ["b", "a"]


def test_a_cursor_is_not_taken_from_anywhere(shelf: Shelf) -> None:
    shelf.make("a")
    given: list[object] = [
        ["name", "a\0", 1], ["name", "\ud800", 1], ["name", 1, 1], ["date", "x", 1], ["date", 1],
        ["date", 1, 1 << 60], ["date", 1, True], ["date", float("inf"), 1], ["date", 1, 1.5], {},
        ["name", None, 1], ["date", [1], 1], ["rating", 1, 1],
    ]  # fmt: skip
    cursors = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in given]
    for cursor in [*cursors, "", "x", "é", "=" * 5000, "////", "\0"]:
        for sort in "date", "name":
            with pytest.raises(InvalidRequest, match="cursor"):
                shelf.songs.page(Wanted(sort=sort), cursor=cursor)  # type: ignore[arg-type]


def test_ratings_names_and_tags(shelf: Shelf) -> None:
    song = shelf.make("Sea", key="a")
    assert shelf.songs.change(song.id, Change(rating=5), "a").rating == 5
    changed = shelf.songs.change(song.id, Change(title="Sea\0 ${alert(1)}"))
    assert (changed.title, changed.rating) == ("Sea\\x00 ${alert(1)}", 5)
    assert shelf.songs.change(song.id, Change(rating=0)).rating is None
    tags = shelf.songs.change(song.id, Change(tags=(" b", "a", "b ", "${x}"))).tags
    assert tags == ("${x}", "a", "b")
    assert shelf.songs.tags("a") == (("${x}", 1), ("a", 1), ("b", 1)) != shelf.songs.tags("b")
    assert titles(shelf.songs.page(Wanted(tags=("a", "b"))).songs) == [changed.title]
    assert shelf.songs.page(Wanted(tags=("a", "c"))).songs == ()
    for change in (Change(rating=6), Change(tags=("",)), Change(tags=("a\nb",)),
                   Change(tags=tuple(map(str, range(21)))), Change(tags=("x" * 51,)),
                   Change(title="new", tags=("\ud800",))):  # fmt: skip
        with pytest.raises(InvalidRequest):
            shelf.songs.change(song.id, change)
    assert shelf.songs.get(song.id).title == changed.title
    with pytest.raises(UnknownId):
        shelf.songs.change(song.id, Change(rating=1), "b")


@pytest.mark.parametrize(
    "id", ["", "x", ".1", "x.0", "x.1", "x.1.1", "x.99999999999", "a\0.1", "é.1"]
)
def test_an_id_that_is_none(shelf: Shelf, id: str) -> None:
    shelf.make("a")
    for call in (shelf.songs.get, shelf.songs.delete, shelf.songs.restore, shelf.songs.versions):
        with pytest.raises(UnknownId):
            call(id)


def test_rated_at_least(shelf: Shelf) -> None:
    for rating in range(1, 6):
        shelf.songs.change(shelf.make(str(rating)).id, Change(rating=rating))
    shelf.make("none")
    assert sorted(titles(shelf.songs.page(Wanted(rating=4)).songs)) == ["4", "5"]


def test_versions_are_a_tree(shelf: Shelf) -> None:
    first = shelf.make("first")
    cover = shelf.make("cover", parent=first.file)
    repaint = shelf.make("repaint", parent=cover.file)
    second = shelf.make("second", parent=first.file)
    shelf.make("another")
    again = shelf.make("again", again=cover.job, parent="an upload")
    expected = [("first", 0), ("cover", 1), ("repaint", 2), ("again", 2), ("second", 1)]
    for song in (first, cover, repaint, second, again):
        found = shelf.songs.versions(song.id)
        assert [(one.title, depth) for one, depth in found] == expected
    assert [one.parent for one, _ in found] == [None, first.id, cover.id, cover.id, first.id]


def test_covers_of_one_upload_are_versions_of_each_other(shelf: Shelf) -> None:
    upload = shelf.upload()
    one, two = (shelf.make(title, parent=upload.id) for title in "ab")
    shelf.make("theirs", key="b", parent=upload.id)
    assert [(v.title, d) for v, d in shelf.songs.versions(two.id, "")] == [("a", 0), ("b", 0)]
    assert one.parent is None


def test_a_tree_is_cut_where_it_would_go_round_or_on_for_ever(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.jobs.songs.MOST_VERSIONS", 5)
    song = shelf.make("0")
    for number in range(1, 12):
        song = shelf.make(str(number), parent=song.file)
    assert len(shelf.songs.versions(song.id)) == 5
    looped = shelf.make("loop")
    with shelf.database.write() as connection:
        change = "UPDATE outputs SET parent = file WHERE job = :job"
        connection.execute(text(change), {"job": looped.job})
    assert [one.title for one, _ in shelf.songs.versions(looped.id)] == ["loop"]


def test_a_deleted_song_can_be_had_back_for_a_while(
    shelf: Shelf, hands: Hands, database: Database, files: Files
) -> None:
    kept, gone = shelf.make("kept", data=b"1"), shelf.make("gone", data=b"2")
    retention = Retention(database, files, hands.clock)
    assert shelf.songs.delete(gone.id).deleted == hands.wall
    hands.pass_by(10)
    again = shelf.songs.delete(gone.id)
    assert (again.deleted, again.removed) == (hands.wall - 10, hands.wall - 10 + UNDO_SECONDS)
    assert titles(shelf.songs.page(Wanted()).songs) == ["kept"] == search(shelf, "e")
    assert titles(shelf.songs.page(Wanted(deleted=True)).songs) == ["gone"]
    assert shelf.songs.restore(gone.id).deleted is None
    assert len(shelf.songs.page(Wanted()).songs) == 2
    shelf.songs.delete(gone.id)
    hands.pass_by(UNDO_SECONDS - 1)
    assert retention.sweep() == Swept()
    hands.pass_by(1)
    assert retention.sweep() == Swept(songs=1)
    for call in (shelf.songs.get, shelf.songs.restore):
        with pytest.raises(UnknownId):
            call(gone.id)
    with pytest.raises(UnknownId):
        Queue(database).get(gone.job)
    assert [b"".join(files.storage.read(one.key)) for one in files.storage.stored()] == [b"1"]
    assert shelf.songs.get(kept.id) == kept


def test_a_song_goes_without_the_others_of_its_job(
    shelf: Shelf, hands: Hands, database: Database, files: Files, queue: Queue, worker: Worker
) -> None:
    job = queue.submit(Asked("{}"))
    claim = worker.claim()
    assert claim is not None
    uploads = [shelf.upload(bytes([n])) for n in range(2)]
    worker.finish(claim, made=[Made(one.id, str(n)) for n, one in enumerate(uploads)])
    shelf.songs.delete(f"{job.id}.1")
    hands.pass_by(UNDO_SECONDS)
    assert Retention(database, files, hands.clock).sweep() == Swept(songs=1)
    assert [o.number for o in Library(database, files).of_job(job.id)] == [2]
    assert titles(shelf.songs.page(Wanted()).songs) == ["1"]


def test_where_space_is_short_deleted_songs_go_first(
    shelf: Shelf, hands: Hands, database: Database, files: Files
) -> None:
    shelf.make("old", data=bytes(100))
    gone = shelf.make("gone", data=bytes([1]) * 100)
    shelf.songs.delete(gone.id)
    assert Retention(database, files, hands.clock, quota=150).sweep() == Swept(songs=1)
    assert titles(shelf.songs.page(Wanted()).songs) == ["old"]


def test_many_deleted_songs_are_removed(
    shelf: Shelf, hands: Hands, database: Database, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.jobs.retention._AT_ONCE", 2)
    for title in "abcd":
        shelf.songs.delete(shelf.make(title).id)
    hands.pass_by(UNDO_SECONDS)
    assert Retention(database, files, hands.clock).sweep().songs == 4
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(file_rows)) == 0


def test_nothing_of_a_job_stays_in_the_library(shelf: Shelf, database: Database) -> None:
    song = shelf.make("Sea")
    playlists = Playlists(database)
    playlist = playlists.create("", "mine", [song.id])
    shelf.songs.change(song.id, Change(tags=("a",)))
    Library(database, shelf.files).delete(song.job)
    assert search(shelf, "sea") == [] and shelf.songs.tags() == ()
    assert playlists.get(playlist.id)[1] == ()
    with database.read() as connection:
        for table in (songs, entries):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
        if database.is_sqlite:
            query = text("SELECT count(*) FROM song_grams WHERE song_grams MATCH 'g73'")
            assert connection.scalar(query) == 0


def test_the_index_is_sound_after_many_changes(shelf: Shelf, database: Database) -> None:
    for n in range(20):
        song = shelf.make(f"song {n}")
        shelf.songs.change(song.id, Change(title=f"other {n}"))
        if n % 3 == 0:
            Library(database, shelf.files).delete(song.job)
    if database.is_sqlite:
        with database.write() as connection:
            check = "INSERT INTO song_grams(song_grams, rank) VALUES ('integrity-check', 1)"
            connection.execute(text(check))
    assert len(search(shelf, "other")) == 13 and search(shelf, "song") == []


def test_playlists_keep_an_order(shelf: Shelf, database: Database, hands: Hands) -> None:
    playlists = Playlists(database, hands.clock)
    a, b, c = (shelf.make(title) for title in "abc")
    made = playlists.create("", "Evening", [c.id, a.id, c.id])
    assert (made.name, made.songs, made.created) == ("Evening", 2, hands.wall)
    assert titles(playlists.get(made.id)[1]) == ["c", "a"]
    hands.pass_by(5)
    changed = playlists.change(made.id, "Night", [b.id, a.id, c.id])
    assert (changed.name, changed.songs, changed.changed) == ("Night", 3, hands.wall)
    assert titles(playlists.get(made.id)[1]) == ["b", "a", "c"]
    shelf.songs.delete(a.id)
    found, inside = playlists.get(made.id)
    assert (titles(inside), found.songs) == (["b", "c"], 2)
    shelf.songs.restore(a.id)
    assert titles(playlists.get(made.id)[1]) == ["b", "a", "c"]
    for ids in ["x.1"], [a.id, "nothing"]:
        with pytest.raises(UnknownId):
            playlists.change(made.id, "Gone", ids)
    assert playlists.all() == (changed,)
    for name in "", "a\nb", "x" * 201:
        with pytest.raises(InvalidRequest, match="name"):
            playlists.change(made.id, name)
    playlists.delete(made.id)
    assert playlists.all() == () and len(shelf.songs.page(Wanted()).songs) == 3


def test_each_key_sees_only_its_own(shelf: Shelf, database: Database) -> None:
    playlists = Playlists(database)
    mine, theirs = shelf.make("mine", key="a"), shelf.make("theirs", key="b")
    playlist = playlists.create("b", "theirs", [theirs.id], "b")
    assert titles(shelf.songs.page(Wanted(), "a").songs) == ["mine"]
    assert search(shelf, "theirs", "a") == []
    for call in (shelf.songs.get, shelf.songs.delete, shelf.songs.restore, shelf.songs.versions):
        with pytest.raises(UnknownId):
            call(theirs.id, "a")
    with pytest.raises(UnknownId):
        playlists.create("a", "with theirs", [mine.id, theirs.id], "a")
    for deed in (playlists.get, playlists.delete, playlists.change):
        with pytest.raises(UnknownId):
            deed(playlist.id, owner="a")
    assert playlists.all("a") == () and len(playlists.all()) == 1
    assert len(shelf.songs.page(Wanted()).songs) == 2


def test_too_many_playlists_and_songs(
    shelf: Shelf, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.jobs.playlists.MOST_PLAYLISTS", 1)
    monkeypatch.setattr("headroom.jobs.playlists.MOST_SONGS", 1)
    playlists, ids = Playlists(database), [shelf.make(title).id for title in "ab"]
    made = playlists.create("", "one")
    with pytest.raises(InvalidRequest, match="at most 1"):
        playlists.change(made.id, ids=ids)
    with pytest.raises(Exception, match="one above 1"):
        playlists.create("", "two")
    playlists.create("another key", "two")


def test_outputs_of_an_older_database_are_entered(empty: str, tmp_path: Path) -> None:
    old = connect(empty)
    sidecar = {"provenance": {"requests": [{"values": {"caption": "Fado 夜", "lyrics": "a\0b"}}]}}
    with old.write() as connection:
        migrate(connection, "v0001")
        for number, tags in enumerate([json.dumps(sidecar), "{}", "[]", '{"provenance": 1}']):
            connection.execute(
                text(
                    "INSERT INTO jobs (id, key, request, digest, priority, state, attempt, deaths, "
                    "beat, stop, told, created, ended) VALUES (:id, '', '{}', '', 0, 'done', 1, 0, "
                    "0, false, 0, 0, 0)"
                ),
                {"id": f"job{number}"},
            )
            connection.execute(
                text(
                    "INSERT INTO files (id, blob, hash, size, name, kind, owner, created) "
                    "VALUES (:id, 'b', 'h', 1, 'n', 'audio/flac', '', 0)"
                ),
                {"id": f"file{number}"},
            )
            connection.execute(
                text(
                    "INSERT INTO outputs (job, number, file, title, tags) "
                    "VALUES (:job, 1, :file, :title, :tags)"
                ),
                {"job": f"job{number}", "file": f"file{number}", "title": f"T{number}",
                 "tags": tags},
            )  # fmt: skip
    old.close()
    database = open_database(empty)
    library = Songs(database)
    assert titles(library.page(Wanted(sort="name", rising=True)).songs) == ["T0", "T1", "T2", "T3"]
    found = library.page(Wanted(query="夜 fad")).songs
    assert [(one.title, one.caption, one.lyrics) for one in found] == [("T0", "Fado 夜", "a\\x00b")]
    database.close()
