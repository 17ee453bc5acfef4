"""The library over HTTP: songs, versions, playlists, archives and waveforms."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from headroom.audio.lrc import TimedText
from headroom.audio.tags import read_tags
from headroom.jobs.values import Made
from headroom.service import export, waveforms
from headroom.service.export import Archive, Names, safe
from headroom.service.timeline import sections
from support.web import Engine, Service, Start

SONGS = "/v1/library/songs"


def flac(seconds: float = 1.0, level: float = 0.1, rate: int = 48000) -> bytes:
    out = io.BytesIO()
    tone = level * np.sin(np.arange(int(rate * seconds)) / 8)
    soundfile.write(out, np.stack([tone, tone], axis=1), rate, format="FLAC")
    return out.getvalue()


def record(lyrics: str = "", **values: Any) -> dict[str, Any]:
    values = {"caption": "a song", "lyrics": lyrics, **values}
    return {"song": 0, "requests": [{"kind": "x", "values": values, "set_fields": []}]}


def made(
    service: Service,
    title: str = "Sea",
    data: bytes | None = None,
    lines: list[dict[str, Any]] | None = None,
    name: str = "song.flac",
    client: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """A song that a job has just made, as the library shows it."""
    client = client or service.client
    job = client.post("/v1/jobs", json={"task": "text2music", "caption": "a song"}).json()["id"]
    engine = Engine(service.doors)
    claim = engine.claim()
    with service.doors.files.receive(claim.key, name) as incoming:
        incoming.write(data or flac())
        file = incoming.keep("audio/flac", 1.0)
    values = {name: more.pop(name) for name in ("bpm",) if name in more}
    known = record(more.get("lyrics", ""), **values)
    song = {"seed": 1, "seconds": 1.0, "provenance": known, "lines": lines or []}
    result = json.dumps({"output": {"kind": "songs", "songs": [song]}})
    tags = json.dumps({"provenance": known})
    engine.worker.finish(claim, result, [Made(file.id, title, tags, caption="a song", **more)])
    answer = client.get(f"{SONGS}/{job}.1")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def titles(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [song["title"] for song in answer.json()["songs"]]


def test_a_song_is_listed_shown_changed_and_found(service: Service) -> None:
    song = made(service, "夏の音楽", lyrics="[Verse]\nover the hills")
    assert (song["title"], song["caption"], song["rating"], song["tags"]) == (
        "夏の音楽", "a song", None, [],
    )  # fmt: skip
    assert song["made"]["provenance"]["song"] == 0
    assert service.client.get(song["url"]).content == flac()
    changed = service.client.patch(f"{SONGS}/{song['id']}", json={"rating": 4, "tags": ["calm"]})
    assert (changed.json()["rating"], changed.json()["tags"]) == (4, ["calm"])
    for query in ("q=音", "q=HILL+song", "tag=calm", "rating=4", "q=calm&sort=rating&order=asc"):
        assert titles(service.client.get(f"{SONGS}?{query}")) == ["夏の音楽"], query
    for query in ("q=valley", "tag=loud", "rating=5", "deleted=true"):
        assert titles(service.client.get(f"{SONGS}?{query}")) == [], query
    renamed = service.client.patch(f"{SONGS}/{song['id']}", json={"title": "Sea", "rating": None})
    assert (renamed.json()["title"], renamed.json()["rating"]) == ("Sea", None)
    assert renamed.json()["tags"] == ["calm"]
    assert service.client.get("/v1/library/tags").json() == {"tags": [{"tag": "calm", "songs": 1}]}


def test_songs_are_there_after_a_restart(start: Start) -> None:
    song = made(start())
    assert titles(start().client.get(SONGS)) == [song["title"]]


def test_pages_follow_each_other(service: Service) -> None:
    for title in "abc":
        made(service, title)
    first = service.client.get(SONGS, params={"most": 2, "sort": "name", "order": "asc"})
    assert titles(first) == ["a", "b"]
    more = {"most": 2, "sort": "name", "order": "asc", "cursor": first.json()["next"]}
    second = service.client.get(SONGS, params=more)
    assert (titles(second), second.json()["next"]) == (["c"], None)
    assert service.client.get(SONGS, params=more | {"sort": "date"}).status_code == 422


def test_a_deleted_song_comes_back(service: Service) -> None:
    song = made(service)
    gone = service.client.delete(f"{SONGS}/{song['id']}").json()
    assert gone["removed"] > gone["deleted"] > song["created"]
    assert titles(service.client.get(SONGS)) == []
    assert titles(service.client.get(f"{SONGS}?deleted=true")) == ["Sea"]
    assert service.client.post(f"{SONGS}/{song['id']}/restore").json()["deleted"] is None
    assert titles(service.client.get(SONGS)) == ["Sea"]


def test_a_replay_is_a_version_of_what_it_repeats(service: Service) -> None:
    song = made(service, "first")
    again = service.client.post(f"/v1/jobs/{song['job']}/replay").json()["id"]
    Engine(service.doors).finish(Engine(service.doors).claim())
    found = service.client.get(f"{SONGS}/{again}.1/versions").json()["versions"]
    assert [(one["id"], one["depth"], one["parent"]) for one in found] == [
        (song["id"], 0, None), (f"{again}.1", 1, song["id"]),
    ]  # fmt: skip


def test_playlists(service: Service) -> None:
    songs = [made(service, title)["id"] for title in "ab"]
    answer = service.client.post("/v1/library/playlists", json={"name": "Night", "songs": songs})
    assert answer.status_code == 201
    place = answer.headers["location"]
    assert titles(service.client.get(place)) == ["a", "b"]
    turned = service.client.patch(place, json={"songs": songs[::-1]}).json()
    assert (turned["name"], turned["count"]) == ("Night", 2)
    assert titles(service.client.get(place)) == ["b", "a"]
    assert service.client.get("/v1/library/playlists").json()["playlists"] == [turned]
    assert service.client.delete(place).status_code == 204
    assert service.client.get(place).status_code == 404
    assert len(titles(service.client.get(SONGS))) == 2


def test_each_key_has_a_library_of_its_own(start: Start) -> None:
    service = start(key="x" * 16)
    clients = [
        service.client_at("10.0.0.1", authorization=f"Bearer {service.key('use')[1]}")
        for _ in range(2)
    ]
    song = made(service, client=clients[0])
    playlist = clients[0].post("/v1/library/playlists", json={"name": "a"}).headers["location"]
    assert titles(clients[0].get(SONGS)) == ["Sea"] and titles(clients[1].get(SONGS)) == []
    place = f"{SONGS}/{song['id']}"
    refused = [
        clients[1].get(place),
        clients[1].patch(place, json={"title": "mine"}),
        clients[1].delete(place),
        clients[1].post(f"{place}/restore"),
        clients[1].get(f"{place}/versions"),
        clients[1].get(song["peaks"]),
        clients[1].get(f"/v1/library/export?song={song['id']}"),
        clients[1].get(f"/v1/library/export?playlist={playlist.split('/')[-1]}"),
        clients[1].post("/v1/library/export", json={"songs": [song["id"]]}),
        clients[1].post("/v1/library/playlists", json={"name": "b", "songs": [song["id"]]}),
        clients[1].get(playlist),
        clients[1].patch(playlist, json={"name": "mine"}),
        clients[1].delete(playlist),
    ]
    assert [one.status_code for one in refused] == [404] * len(refused)
    assert clients[1].get("/v1/library/tags").json() == {"tags": []}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "{song}", {"rating": 6}),
        ("PATCH", "{song}", {"rating": True}),
        ("PATCH", "{song}", {"rating": 10**30}),
        ("PATCH", "{song}", {"title": "\ud800" * 1001}),
        ("PATCH", "{song}", {"title": 5}),
        ("PATCH", "{song}", {"tags": ["a\0"]}),
        ("PATCH", "{song}", {"tags": ["x" * 51]}),
        ("PATCH", "{song}", {"other": 1}),
        ("PATCH", "{song}", [1]),
        ("POST", "/v1/library/playlists", {"name": ""}),
        ("POST", "/v1/library/playlists", {"name": "\ud800"}),
        ("POST", "/v1/library/playlists", {}),
        ("POST", "/v1/library/export", {"songs": ["x"] * 1001}),
        ("GET", SONGS + "?most=0", None),
        ("GET", SONGS + "?rating=9", None),
        ("GET", SONGS + "?sort=size", None),
        ("GET", SONGS + "?tag=%00", None),
        ("GET", SONGS + "?cursor=%00", None),
        ("GET", SONGS + "?q=" + "a" * 201, None),
        ("GET", "{peaks}?buckets=0", None),
        ("GET", "/v1/library/export", None),
        ("GET", "/v1/library/export?song=a&playlist=b", None),
    ],
)
def test_what_is_refused_names_its_field(
    service: Service, method: str, path: str, body: Any
) -> None:
    song = made(service)
    path = path.format(song=f"{SONGS}/{song['id']}", peaks=song["peaks"])
    kind = {} if body is None else {"content-type": "application/json"}
    text = None if body is None else json.dumps(body)
    answer = service.client.request(method, path, content=text, headers=kind)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_request" and answer.json()["values"]["field"]


@pytest.mark.parametrize(
    "path",
    [
        f"{SONGS}/x.1",
        f"{SONGS}/%F0%9F.1",
        "/v1/library/playlists/%E2%80%AE",
        "/v1/library/export?playlist=%00",
        "/v1/library/export?song=%00",
        "/v1/jobs/x/outputs/1/peaks",
        f"/v1/jobs/x/outputs/{10**30}/peaks",
    ],
)
def test_what_is_not_there(service: Service, path: str) -> None:
    assert service.client.get(path).status_code == 404


# Archives


def archive(answer: Any) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_songs_as_an_archive(service: Service, tmp_path: Path) -> None:
    line = {"text": "over the hills", "start": 0.25, "end": 0.5}
    one = made(service, "Sea/Side: 夏?", lines=[line], lyrics="over the hills")
    two = made(service, "sea side 夏", flac(level=0.3))
    place = f"{SONGS}/{one['id']}"
    service.client.patch(place, json={"rating": 5, "tags": ["calm", "白"]})
    query = {"song": [one["id"], two["id"], one["id"]]}
    whole = archive(service.client.get("/v1/library/export", params=query))
    assert whole.testzip() is None
    assert whole.namelist() == [
        "Sea Side 夏.flac", "Sea Side 夏.json", "Sea Side 夏.lrc",
        "sea side 夏 (2).flac", "sea side 夏 (2).json", "songs.json",
    ]  # fmt: skip
    path = Path(whole.extract("Sea Side 夏.flac", tmp_path))
    tags = read_tags(path)
    assert (tags["title"], tags["KEYWORDS"], tags["RATING"]) == ("Sea/Side: 夏?", "calm, 白", "5")
    assert np.array_equal(soundfile.read(path)[0], soundfile.read(io.BytesIO(flac()))[0])
    assert json.loads(whole.read("Sea Side 夏.json"))["provenance"]["song"] == 0
    assert whole.read("Sea Side 夏.lrc").decode() == "[00:00.25]over the hills\n"
    told = json.loads(whole.read("songs.json"))["songs"]
    assert [(song["file"], song["rating"], song["id"]) for song in told] == [
        ("Sea Side 夏.flac", 5, one["id"]), ("sea side 夏 (2).flac", None, two["id"]),
    ]  # fmt: skip
    assert told[0]["asked"]["request"]["caption"] == "a song"
    same = archive(service.client.post("/v1/library/export", json={"songs": query["song"]}))
    assert same.namelist() == whole.namelist()
    assert service.client.get(one["url"]).content == flac()  # what is kept stays as it is


def test_a_playlist_as_an_archive_in_its_order(service: Service) -> None:
    songs = [made(service, title)["id"] for title in "ab"]
    given = {"name": "x", "songs": songs[::-1]}
    id = service.client.post("/v1/library/playlists", json=given).json()["id"]
    whole = archive(service.client.get(f"/v1/library/export?playlist={id}"))
    assert [name for name in whole.namelist() if name.endswith("flac")] == ["b.flac", "a.flac"]


def test_an_archive_is_sent_while_it_is_made(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PIECE", 1000)
    data = flac(2.0)
    songs = [made(service, title, data)["id"] for title in "ab"]
    doors = service.doors
    pieces = Archive(doors.queue, doors.files, doors.library).of(doors.songs.some(songs))
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) < 4000 and len(sizes) > 2 * len(data) // 1000


def test_a_song_that_goes_meanwhile_and_one_without_tags(service: Service) -> None:
    gone, odd = made(service, "gone"), made(service, "odd", b"no sound", name="odd.xyz")
    doors = service.doors
    chosen = doors.songs.some([gone["id"], odd["id"]])
    doors.library.delete(gone["job"])

    def pieces() -> Iterator[bytes]:
        yield from Archive(doors.queue, doors.files, doors.library).of(chosen)

    whole = zipfile.ZipFile(io.BytesIO(b"".join(pieces())))
    assert whole.namelist() == ["odd.xyz", "odd.json", "songs.json"]
    assert whole.read("odd.xyz") == b"no sound"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("a/b\\c:d*e?f\"g<h>i|j", "a b c d e f g h i j"),
        ("../../etc/passwd", "etc passwd"),
        ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("Com1", "_Com1"), ("lpt².x", "_lpt².x"),
        ("console", "console"), ("trailing. . ", "trailing"), ("\x00\x1f", "song"), ("...", "song"),
        ("", "song"), ("夏" * 200, "夏" * 53), ("a" * 200, "a" * 80), ("${x(1)}", "${x(1)}"),
    ],
)  # fmt: skip
def test_names_are_good_on_every_system(title: str, name: str) -> None:
    assert safe(title) == name


def test_names_are_given_once_whatever_their_case() -> None:
    names = Names()
    given = [names.new(title, ".flac") for title in ("A", "a", "a (2)", "songs", "x")]
    assert given == ["A.flac", "a (2).flac", "a (2) (2).flac", "songs (2).flac", "x.flac"]
    assert names.new("x", "/../y") == "x (2).audio"


# Waveforms


def test_the_waveform_of_an_output(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    lyrics = "[Verse 1]\nover the hills\n\n[Chorus]\nfar away\nfar away\n[Outro]"
    lines = [
        {"text": text, "start": start, "end": start + 0.1}
        for text, start in (("over the hills", 0.1), ("far away", 0.4), ("far away", 0.6))
    ]
    song = made(service, lines=lines, lyrics=lyrics, bpm=96)
    found = service.client.get(f"{song['peaks']}?buckets=20").json()
    assert len(found["top"]) == len(found["bottom"]) == 20
    assert max(found["top"]) == pytest.approx(0.1, abs=2e-3) and found["seconds"] == 1.0
    assert found["loudness"] == pytest.approx(-20.0, abs=1.5)
    assert (found["tempo"], found["lines"]) == (96.0, lines)
    assert found["sections"] == [
        {"text": "Verse 1", "start": 0.1, "end": 0.4}, {"text": "Chorus", "start": 0.4, "end": 1.0},
    ]  # fmt: skip
    monkeypatch.setattr(waveforms, "waveform", None)  # it is measured once
    assert service.client.get(f"{song['peaks']}?buckets=20").json() == found
    assert len(service.client.get(song["peaks"]).json()["top"]) == 1000


def test_a_waveform_that_cannot_be_kept_or_read_is_measured_again(service: Service) -> None:
    song = made(service)
    folder = service.doors.config.settings.cache_dir / "waveforms"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    assert service.client.get(song["peaks"]).status_code == 200
    folder.unlink()
    first = service.client.get(song["peaks"]).json()
    (kept,) = folder.iterdir()
    for torn in (b"", b"{}", b'{"seconds": 1, "top": [1], "bottom": [], "loudness": 1}'):
        kept.write_bytes(torn)
        assert service.client.get(song["peaks"]).json() == first


def test_few_waveforms_are_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveforms, "_KEPT", 2)
    for level in 0.1, 0.2, 0.3:
        service.client.get(made(service, data=flac(0.5, level))["peaks"])
    assert len(list((service.doors.config.settings.cache_dir / "waveforms").iterdir())) == 2


def test_what_has_no_waveform(service: Service) -> None:
    answer = service.client.get(made(service, data=b"no sound")["peaks"])
    assert (answer.status_code, answer.json()["code"]) == (409, "no_waveform")


@pytest.mark.parametrize(
    ("lyrics", "expected"),
    [
        ("", []),
        ("one\ntwo", []),
        ("[A]\none\n[B]\ntwo\nthree", [("A", 1, 2), ("B", 2, 9)]),
        ("【サビ】\nONE?\none\n[B]\n[C]\ntwo", [("サビ", 1, 2), ("C", 2, 9)]),
        ("[A]\nnever sung\n[B]\none", [("B", 1, 9)]),
    ],
)
def test_sections_begin_with_their_first_line(
    lyrics: str, expected: list[tuple[str, float, float]]
) -> None:
    lines = [TimedText(text, n, n + 0.5) for n, text in enumerate(("one", "two", "three"), 1)]
    assert [(s.text, s.start, s.end) for s in sections(lyrics, lines, 9)] == expected


def test_a_result_of_another_form_has_no_timeline(service: Service) -> None:
    song = made(service, lines=[{"text": 1}, 5, {"text": "x", "start": None, "end": 1}])  # type: ignore[list-item]
    found = service.client.get(song["peaks"]).json()
    assert (found["lines"], found["sections"], found["tempo"]) == ([], [], None)
