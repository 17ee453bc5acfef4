from __future__ import annotations

import io
import signal
import threading

import pytest
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from headroom.cli import progress
from headroom.cli.progress import Bar, shown, stoppable
from headroom.runtime.events import Progress, Replanned, StageDone, StageStarted, Tell

EVENTS = (
    StageStarted("denoise", 1 << 20),
    Progress("denoise", 3, 8),
    Replanned("denoise", "2.1 GiB are missing", same_output=False),
    Progress("denoise", 8, 8),
    StageDone("denoise", 1 << 20, 3 << 20, 12.3, 0.5),
)


def tell_all(tell: Tell) -> None:
    for event in EVENTS:
        tell(event)


def test_without_a_terminal_there_is_one_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=False) as tell:
        tell_all(tell)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "denoise: out of memory, tried again (2.1 GiB are missing; the song will differ)",
        "denoise: 12 s, 0.5 s of it loading, 3 MiB (1 MiB planned)",
    ]


def test_who_wants_quiet_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=True) as tell:
        tell_all(tell)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_unless_the_settings_say_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with shown(quiet=False) as tell:
        assert isinstance(tell, Bar)
    with shown(quiet=False, bars=False) as tell:
        assert tell is progress.tell_lines
    assert capsys.readouterr().out == ""


def test_the_bar_follows_the_events() -> None:
    paper = io.StringIO()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"))
    bars = Bars(*columns, console=Console(file=paper, force_terminal=True), auto_refresh=False)
    bar = Bar(bars)
    seen = []
    with bars:
        for event in EVENTS:
            bar(event)
            task = bars.tasks[0]
            seen.append((task.description, task.completed, task.fields["steps"]))
    assert seen[0] == ("denoise", 0, "")
    assert seen[1] == ("denoise", 3, "3/8")
    assert seen[-1] == ("denoise", 8, "8/8")
    assert "out of memory" in paper.getvalue()


def test_ctrl_c_asks_to_stop_and_a_second_one_stops(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        assert "again stops at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_can_run_it_too() -> None:
    answers: list[bool] = []

    def work() -> None:
        with stoppable() as stop:
            answers.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
