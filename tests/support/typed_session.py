"""A program in a terminal of its own, typed into as a person would. POSIX only.

The child opens the terminal as the leader of a new session, so that Ctrl-C reaches its group as
it does from a keyboard.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

SECONDS = 120.0  # to wait for a text or an end on a machine that others load
CTRL_C = "\x03"


class Typed:
    """A program in a terminal, and what it has shown so far."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process, self._terminal, self.shown = process, terminal, ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until the pattern has been shown."""
        until = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.shown)) is None:
            assert time.monotonic() < until, f"no {pattern!r} in:\n{self.shown}"
            assert self._read() or self._read(), f"ended before {pattern!r}:\n{self.shown}"
        return found

    def type(self, text: str) -> None:
        """Type, with the key for a line's end after a text."""
        os.write(self._terminal, (text if text == CTRL_C else f"{text}\n").encode())

    def children(self) -> list[psutil.Process]:
        """The processes that it has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        until = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it goes on:\n{self.shown}"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def _read(self) -> bool:
        """Read what is there now, or will be soon; False: the terminal is closed."""
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            read = os.read(self._terminal, 1 << 16)
        except OSError:  # Linux's word for closed
            return False
        self.shown += read.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(read)


@contextmanager
def typed(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Iterator[Typed]:
    """Run a command in a terminal of its own, and end it with all of its processes."""
    terminal, inner = os.openpty()
    name = os.ttyname(inner)
    line = f"exec {shlex.join(command)} <>{shlex.quote(name)} >&0 2>&0"
    process = subprocess.Popen(
        ["sh", "-c", line],
        cwd=folder,
        env=dict(environ),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    # Held open here until the child has it, the terminal never looks closed before it begins.
    session = Typed(process, terminal)
    try:
        yield session
    finally:
        if process.poll() is None:
            for child in [*session.children(), psutil.Process(process.pid)]:
                with_it_gone(child)
            process.wait(SECONDS)
        os.close(inner)
        os.close(terminal)


def with_it_gone(process: psutil.Process) -> None:
    """End a process that may have ended."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        pass
