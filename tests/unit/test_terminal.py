"""What reaches a terminal cannot steer it."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.table import Table

from headroom import terminal
from headroom.audio.lrc import TimedText, lrc
from headroom.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nand \u00fc \u2713 \U0001f3b5", None),
        ("\u0645\u0631\u062d\u0628\u0627 \u200f\u05e9\u05dc\u05d5\u05dd", None),
        ("line\r\n", None),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("over\rwritten", r"over\x0dwritten"),
        ("\x00\x08\x7f\x9b", r"\x00\x08\u007f\u009b"),
        ("a\u202eb\u2066c\u2028", r"a\u202eb\u2066c\u2028"),
        ("\ud800\udcff", r"\ud800\udcff"),
    ],
)
def test_control_characters_are_shown_and_letters_are_left(text: str, shown: str | None) -> None:
    assert visible(text) == (text if shown is None else shown)


def test_json_text_stays_json_of_the_same_value() -> None:
    value = {"caption": "".join(map(chr, range(0x200))) + "\u202e\ud800"}
    for ascii_only in (True, False):
        text = visible(json.dumps(value, ensure_ascii=ascii_only))
        assert json.loads(text) == value
        assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in text)


def test_both_streams_are_guarded_for_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with terminal.guarded(), terminal.guarded():
        assert sys.stdout.write("\x1b") == 1
        sys.stderr.writelines(["\x07", "b"])
        assert sys.stdout.encoding == before[0].encoding
        assert sys.stdout.isatty() is False
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("\\x1b", "\\x07b")


def test_without_streams_there_is_nothing_to_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with terminal.guarded():
        assert sys.stdout is None


def test_a_console_draws_and_shows_texts_as_they_are() -> None:
    stream = io.StringIO()
    console = terminal.console(stream)
    table = Table(box=None)
    table.add_column("[b]model")
    table.add_row("[red]x[/red] :smile: \x1b[2J")
    console.print(table)
    console.print("[bold]\x9b")
    assert stream.getvalue().split() == [
        "[b]model", "[red]x[/red]", ":smile:", r"\x1b[2J", r"[bold]\u009b",
    ]  # fmt: skip


def test_what_a_console_draws_itself_passes_a_guarded_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal.guarded():
        console = terminal.console(sys.stderr)
    assert console.file is stream


def test_lines_of_lyrics_hold_no_control_characters() -> None:
    assert lrc([TimedText("a\x1b[1m\x00b", 1, 2)]) == "[00:01.00]a\\x1b[1m\\x00b\n"
