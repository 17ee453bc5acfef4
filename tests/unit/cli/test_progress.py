from __future__ import annotations

import io
import signal
import threading

import pytest
import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from headroom.audio.wave import Audio
from headroom.cli import progress
from headroom.cli.progress import Bar, Lines, memory, shown, stoppable, times
from headroom.reasons import reason_of
from headroom.runtime.events import (
    AudioReady,
    Loading,
    Progress,
    Queued,
    Replanned,
    StageDone,
    StageStarted,
    Tell,
)

EVENTS = (
    StageStarted("denoise", 1 << 20),
    Progress("denoise", 3, 8),
    Replanned("denoise", reason_of("2.1 GiB are missing"), same_output=False),
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


def test_without_a_terminal_a_long_stage_says_every_ten_seconds_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = 0.0
    lines = Lines(lambda: seconds)
    lines(StageStarted("denoise", 1 << 20))
    for second in range(1, 66):
        seconds = float(second)
        if second >= 15 and second % 5 == 0:  # the first step is slow
            lines(Progress("denoise", second // 5 - 2, 100))
        lines.remind()
    lines(StageDone("denoise", 1 << 20, 3 << 20, 65.0, 0.0))
    assert capsys.readouterr().err.splitlines() == [
        "denoise: after 10 s",
        "denoise: 2/100 after 20 s, about 8:10 left",
        "denoise: 4/100 after 30 s, about 8:00 left",
        "denoise: 6/100 after 40 s, about 7:50 left",
        "denoise: 8/100 after 50 s, about 7:40 left",
        "denoise: 10/100 after 1:00, about 7:30 left",
        "denoise: 1:05, 3 MiB (1 MiB planned)",
    ]
    seconds = 100.0
    lines.remind()  # between two stages there is nothing to say
    assert capsys.readouterr().err == ""


def test_a_silent_stage_is_watched_by_a_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    monkeypatch.setattr(progress, "LOOK", 0.01)
    said = ""
    with shown(quiet=False) as tell:
        tell(StageStarted("decode", 0))
        for _ in range(500):
            threading.Event().wait(0.01)
            said += capsys.readouterr().err
            if said.count("decode: after") >= 2:
                break
    assert said.count("decode: after") >= 2
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_times_are_called_by_their_names() -> None:
    assert times(None, None) == "after 0.0 s"
    assert times(12, None) == "after 12 s"
    assert times(12, 30.2) == "after 12 s, about 30 s left"
    assert times(70, 3 * 3600) == "after 1:10, about 180:00 left"


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
        assert isinstance(tell, Lines)
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
    for event, words in (
        (Queued(2), ("waiting: number 2 in the queue", 0, "")),
        (StageStarted("decode", 0), ("decode", 0, "")),
        (Loading("vae", 3 << 20), ("decode", 0, "loading vae (3 MiB)")),
        (Progress("decode", 1, 4), ("decode", 1, "1/4")),
    ):
        bar(event)
        task = bars.tasks[0]
        assert (task.description, task.completed, task.fields["steps"]) == words


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


def test_of_a_host_only_what_can_be_compared_is_shown() -> None:
    """What a process grows by holds threads and libraries, which no plan of tensors has."""
    assert memory(1 << 30, 2 << 30, counted=True) == "2.00 GiB (1.00 GiB planned)"
    assert memory(1 << 30, 2 << 30, counted=False) == "1.00 GiB planned"
    assert memory(0, 2 << 30, counted=False) == "2.00 GiB"  # a plan says nothing of it


def test_a_queue_and_a_part_that_loads_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0
    lines = Lines(lambda: seconds)
    lines(Queued(2))
    lines(Queued(1))
    lines(StageStarted("denoise", 1 << 20))
    lines(Loading("dit", 3 << 30))
    seconds = 11.0
    lines.remind()
    lines(Progress("denoise", 1, 8))
    lines(AudioReady(0, 0, Audio(torch.zeros(2, 8), 48_000)))  # which is not for the eye
    seconds = 22.0
    lines.remind()
    assert capsys.readouterr().err.splitlines() == [
        "waiting: number 2 in the queue",
        "waiting: number 1 in the queue",
        "denoise: loading dit (3.00 GiB) after 11 s",
        "denoise: 1/8 after 22 s",
    ]
