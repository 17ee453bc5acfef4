"""Every door that reads a text or JSON file of the user's: one sentence, whatever the file is."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headroom.cli.generate import read_requests
from headroom.engine.provenance import check_sources, differences, read
from headroom.errors import HeadroomError, InvalidFile, InvalidRequest, InvalidSource
from headroom.hardware.bandwidth import FILE, _rates, _read
from headroom.models.acestep.language.folder import read_genres
from headroom.models.acestep.requests import examples
from headroom.params.flags import text_of
from headroom.profiler import compare

PROVENANCE: dict[str, Any] = {
    "format": 1,
    "family": "acestep",
    "model": "acestep-v15-nano",
    "requests": [{"kind": "Text2Music", "values": {"caption": "a"}, "set_fields": ["caption"]}],
    "song": 0,
    "seed": 7,
    "numerics": {
        "dtype": "float32",
        "compiled": False,
        "threads": 2,
        "matmul": "highest",
        "cuts": [{"stage": "decode", "pieces": 2, "tile": 128}],
        "converted": {"dit": "int8"},
        "on_host": ["text_encoder"],
    },
    "device": "cpu",
    "device_kind": "cpu",
    "isa": "AVX2",
    "versions": {"torch": "2.13.0"},
    "weights": [{"folder": "vae", "name": "config.json", "size": 3, "sha256": "00"}],
    "sources": [],
}

DOORS: dict[str, Callable[[Path], object]] = {
    "a text behind @": lambda path: text_of("lyrics", f"@{path}"),
    "requests": read_requests,
    "example": examples.fields,
    "genres": read_genres,
    "replay": read,
    "compare": compare.read,
}
TEXTS = ("a text behind @", "genres")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_text_is_refused_at_every_door(door: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    contents = {
        "not UTF-8 text": "é".encode("latin-1"),
        "a NUL at character 1": b"a\0b",
        "is a git-lfs pointer": LFS,
    }
    if door not in TEXTS:
        contents["nested too deeply"] = b"[" * 200_000
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.json")
    for why, data in contents.items():
        path.write_bytes(data)
        with pytest.raises(HeadroomError) as error:
            DOORS[door](path)
        said = str(error.value)
        assert "\n" not in said and len(said) < 600
        assert why in said or door == "replay", said
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(HeadroomError, match="is larger than"):
        DOORS[door](path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has named pipes")
@pytest.mark.parametrize("door", [name for name in DOORS if name != "example"])
def test_nobody_waits_for_a_pipe_or_reads_a_device(door: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name, kind in (("pipe", "pipe"), ("zero", "device")):
        with pytest.raises(HeadroomError, match=f"is a {kind}, not a file"):
            DOORS[door](tmp_path / f"{name}.json")


def test_a_byte_order_mark_is_no_part_of_any_text(tmp_path: Path) -> None:
    mark, path = b"\xef\xbb\xbf", tmp_path / "x.json"
    path.write_bytes(mark + b"rock\n")
    assert text_of("lyrics", f"@{path}") == "rock\n" and read_genres(path) == ("rock",)
    path.write_bytes(mark + b'{"caption": "a"}')
    assert read_requests(path)[0].caption == "a" and examples.fields(path)["caption"] == "a"
    path.write_bytes(mark + json.dumps({"provenance": PROVENANCE}).encode())
    assert read(path).seed == PROVENANCE["seed"]


def test_a_plain_at_sign_and_a_home_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text_of("lyrics", "@@home") == "@home" and text_of("lyrics", "a@b") == "a@b"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "words.txt").write_text("la", "utf-8")
    assert text_of("lyrics", "@~/words.txt") == "la"
    for odd in ("@", "@\0", "@" + "x" * 9000, "@~nobody-of-that-name/x"):
        with pytest.raises(InvalidRequest, match="lyrics: "):
            text_of("lyrics", odd)


def test_separators_inside_a_json_text_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    words = "one\u2028two\u2029three\x85four"
    lines = [json.dumps({"caption": words}, ensure_ascii=False)] * 3
    path.write_text(f"{lines[0]}\r\n{lines[1]}\n\n{lines[2]}", "utf-8", newline="")
    assert [request.caption for request in read_requests(path)] == [words] * 3


def test_a_file_has_no_more_lines_than_can_be_made_use_of(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"\n" * 10_001)
    with pytest.raises(InvalidRequest, match="at most 10000 lines"):
        read_requests(path)
    path.write_bytes(b"\n" * 500_002)
    with pytest.raises(InvalidFile, match="up to 500000 are read"):
        read_genres(path)


def test_a_line_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text('{"caption": "a"}\n' + "[" * 100_000, "utf-8")
    with pytest.raises(InvalidRequest, match=r"many\.jsonl line 2: .* nested too deeply"):
        read_requests(path)


ODD: tuple[object, ...] = (
    None, True, -1, 0, 1, 10**30, 1e308, float("nan"), "", "x", "\ud800", "../../x", "a\0b", [], {},
    [[]], [None], {"a": 1}, [{}], "x" * 3000,
)  # fmt: skip


def places(value: object) -> list[tuple[dict[str, object] | list[object], object]]:
    """Every container and key within a value of JSON."""
    found: list[tuple[dict[str, object] | list[object], object]] = []
    keys: Iterable[object] = value if isinstance(value, dict) else ()
    if isinstance(value, list):
        keys = range(len(value))
    for key in keys:
        found.append((value, key))  # type: ignore[arg-type]
        found += places(value[key])  # type: ignore[index]
    return found


def test_any_sidecar_is_read_or_refused_in_our_words(tmp_path: Path) -> None:
    chance = random.Random(23)
    path = tmp_path / "song.json"
    refused = 0
    for _ in range(250):
        odd = json.loads(json.dumps({"provenance": PROVENANCE}))
        for _ in range(chance.randint(1, 3)):
            container, key = chance.choice(places(odd)) if places(odd) else (odd, "provenance")
            container[key] = chance.choice(ODD)  # type: ignore[index]
        path.write_text(json.dumps(odd), "utf-8")
        try:
            found = read(path)
            check_sources(found)
            found.wished()
        except InvalidSource:
            refused += 1
    assert 80 < refused < 250


def test_half_a_letter_in_a_sidecar_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "song.json"
    weights = [{"folder": "vae", "name": "\ud83d", "size": 3, "sha256": "\udc00"}]
    path.write_text(json.dumps(PROVENANCE | {"weights": weights}), "utf-8")
    found = read(path)
    assert list(differences(found, found)) == []
    whole = found.model_copy(update={"weights": ()})
    assert [what for what, *_ in differences(found, whole)] == ["weights"]


def numerics(**changed: object) -> dict[str, object]:
    return {"numerics": PROVENANCE["numerics"] | changed}


@pytest.mark.parametrize(
    "change",
    [
        {"song": -1},
        {"requests": []},
        numerics(threads=0),
        numerics(threads=10**9),
        numerics(converted={"dit": "int3"}),
        numerics(cuts=[{"stage": "a", "pieces": 0, "tile": 1}]),
        numerics(cuts=[{"stage": "a", "pieces": 1, "tile": -1}]),
    ],
)
def test_a_sidecar_that_no_song_has_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "song.json"
    path.write_text(json.dumps(PROVENANCE), "utf-8")
    assert read(path).song == 0
    path.write_text(json.dumps(PROVENANCE | change), "utf-8")
    with pytest.raises(InvalidSource, match="1 fields are missing or wrong"):
        read(path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has named pipes")
def test_a_source_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "song.wav")
    source = {"field": "source_audio", "path": str(tmp_path / "song.wav"), "sha256": "0" * 64}
    path = tmp_path / "song.json"
    path.write_text(json.dumps(PROVENANCE | {"sources": [source]}), "utf-8")
    with pytest.raises(InvalidSource, match="is a pipe, not a file"):
        check_sources(read(path))


@pytest.mark.parametrize(
    "found",
    [
        {"format": compare.FORMAT},
        {"format": compare.FORMAT, "mode": "profile", "profile": []},
        {"format": compare.FORMAT, "mode": "profile", "machine": 3},
        {"format": compare.FORMAT, "mode": "profile", "profile": {"wall": "x", "parts": {}}},
        {"format": compare.FORMAT, "mode": "benchmark", "benchmark": {"rows": [{}]}},
        {"format": compare.FORMAT, "mode": "tier-test", "results": [1]},
    ],
)
def test_a_file_of_the_profiler_without_its_figures_is_refused(
    tmp_path: Path, found: dict[str, object]
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(found), "utf-8")
    with pytest.raises(InvalidRequest, match="compare: "):
        compare.read(path)


@pytest.mark.parametrize(
    "text", ["[", "[" * 100_000, "[]", '{"card": 3}', '{"card": {"copy": "fast"}}', '{"card": {}}',
             '{"card": {"copy": 1.0, "memory": -1.0, "matrix": 2.0}}', "\0"],
)  # fmt: skip
def test_remembered_rates_that_nobody_measured_are_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, "utf-8")
    assert _rates(_read(tmp_path / FILE).get("card")) is None
