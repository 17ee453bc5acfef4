"""Flags: absent stays absent, old spellings are hidden, @FILE is read, strangers are refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated, Literal

import pytest

from headroom.errors import InvalidRequest
from headroom.params.describe import describe, union
from headroom.params.flags import add_flags, argv_of, given, is_basic, parse
from headroom.params.knob import Choices, Knob, Limit, Many
from headroom.params.narrow import narrow
from headroom.params.request import Request


class Song(Request):
    words: Annotated[str, Knob("Text", "Words, 100 % yours.", file=True, old=("the_text",))] = ""
    long_name: Annotated[
        float, Limit(0, 10, "so", least=0), Knob("Text", "A number.", unit="s", old=("former",))
    ] = 1.0
    loud: Annotated[bool, Knob("Sound", "Loud.")] = True
    mode: Annotated[
        Literal["soft", "hard"], Knob("Sound", "Mode.", old_switches=(("be_hard", "hard"),))
    ] = "soft"
    takes: Annotated[tuple[int, ...], Many(","), Knob("Sound", "Takes.")] = ()
    files: Annotated[tuple[Path, ...], Many(""), Knob("Sound", "Files.", flag="file")] = ()
    use_reverb: Annotated[
        bool, Knob("Sound", "Reverb.", off="no-reverb", basic=True, old=("reverb", "wet"))
    ] = True
    colour: Annotated[str, Choices(tuple("abcdefghi♯")), Knob("Sound", "Colour.")] = "a"


class Chord(Request):
    task: Literal["chord"] = "chord"
    notes: Annotated[int, Knob("Sound", "Notes.")] = 3


def help_of(model: type[Request]) -> str:
    parser = argparse.ArgumentParser(prog="x")
    add_flags(parser, describe(model))
    return " ".join(parser.format_help().split())


def test_an_absent_flag_is_absent() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, describe(Song))
    assert given(parser.parse_args([]), describe(Song)) == {}
    assert parse(Song, []).model_fields_set == set()


@pytest.mark.parametrize("flag", ["--long-name", "--long_name", "--former"])
def test_hyphen_underscore_and_old_spelling(flag: str) -> None:
    assert parse(Song, [flag, "2"]).long_name == 2.0


def test_help_shows_unit_limits_and_default_and_no_old_spelling() -> None:
    text = help_of(Song)
    assert "--long-name S A number. [0..10 s] (default: 1 s)" in text
    assert "--loud, --no-loud Loud. (default: on)" in text
    assert "100 % yours" in text and "TEXT|@FILE" in text and "--takes N,…" in text
    for hidden in ("--former", "--the-text", "--long_name", "--be-hard", "--files"):
        assert hidden not in text


def test_help_shows_narrowed_limits_and_accepts_beyond_them() -> None:
    shown = narrow(describe(Song), {"long_name": Limit(0, 4, "small")})
    parser = argparse.ArgumentParser()
    add_flags(parser, shown)
    assert "[0..4 s]" in parser.format_help()
    assert parse(Song, ["--long-name", "8"], shown).long_name == 8


def test_lists_switches_and_repeated_flags() -> None:
    request = parse(Song, ["--takes", "1,2", "--file", "a,b", "--files", "c", "--no-loud"])
    assert request == Song(takes=(1, 2), files=(Path("a,b"), Path("c")), loud=False)
    assert parse(Song, ["--be_hard"]).mode == "hard"
    assert parse(Song, ["--no-be-hard"]).mode == "soft"


def test_at_file_is_the_text_of_a_utf8_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffÄ line\nanother".encode())
    assert parse(Song, ["--words", f"@{path}"]).words == "Ä line\nanother"
    assert parse(Song, ["--the-text", f"@{path}"]).words == "Ä line\nanother"
    assert parse(Song, ["--words", "@@home"]).words == "@home"


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match=r"words: '@none.txt' is not there"):
        parse(Song, ["--words", "@none.txt"])
    (tmp_path / "latin.txt").write_bytes(b"\xe4\xff")
    with pytest.raises(InvalidRequest, match="not UTF-8 text"):
        parse(Song, ["--words", f"@{tmp_path / 'latin.txt'}"])


def test_an_unknown_flag_gets_the_nearest_known_one() -> None:
    with pytest.raises(InvalidRequest, match="did you mean --long-name"):
        parse(Song, ["--long-nmae", "3"])
    with pytest.raises(InvalidRequest, match="the flags --help lists"):
        parse(Song, ["--zzz"])


def test_a_flag_written_by_argv_of_may_start_with_an_at_sign() -> None:
    request = Song(words="@home")
    assert argv_of(request) == ["--words=@@home"]
    assert parse(Song, argv_of(request)) == request


def test_the_help_of_a_family_names_the_tasks_of_a_flag() -> None:
    family: dict[str, type[Request]] = {"song": Song, "chord": Chord}
    parser = argparse.ArgumentParser()
    params = union(family.values())
    add_flags(parser, params, family)
    text = " ".join(parser.format_help().split())
    assert "--task song|chord" in text
    assert "--notes N Notes. (default: 3) (only: chord)" in text
    assert given(parser.parse_args(["--task_type", "chord"]), params) == {"task": "chord"}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--use-reverb", True),
        ("--no-reverb", False),
        ("--no-use-reverb", False),
        ("--no_use_reverb", False),
        ("--reverb", True),
        ("--no_reverb", False),
        ("--wet", True),
        ("--no-wet", False),
    ],
)
def test_a_switch_has_one_name_for_off_in_the_help_and_takes_all(flag: str, value: bool) -> None:
    assert parse(Song, [flag]).use_reverb is value
    text = help_of(Song)
    assert "--use-reverb, --no-reverb Reverb. (default: on)" in text
    assert "--no-use-reverb" not in text and "--wet" not in text
    assert argv_of(Song(use_reverb=False)) == ["--no-reverb"]


def test_many_choices_are_listed_in_the_help_as_they_are_typed() -> None:
    assert "--colour WORD Colour. [one of: a, b, c, d, e, f, g, h, i] (default: a)" in help_of(Song)


def test_flags_that_most_people_need_are_marked() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, describe(Song))
    assert {a.dest for a in parser._actions if is_basic(a)} == {"use_reverb", "reverb", "wet"}


def test_hidden_flags_are_taken_and_not_shown() -> None:
    parser = argparse.ArgumentParser(prog="x")
    add_flags(parser, describe(Chord), shown=False)
    assert "--notes" not in parser.format_help()
    assert given(parser.parse_args(["--notes", "4"]), describe(Chord)) == {"notes": "4"}
