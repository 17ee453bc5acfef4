"""The pipe by which a child process learns that its parent wants it to end, or has died.

The parent writes what the child is to do, and keeps the pipe open. The system closes it when the
parent ends, however it ends; on every system, and also after kill -9.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from threading import Event, Thread

GRACE = 15.0  # seconds a child has to end its work after the pipe was closed
_SIZE = struct.Struct("<Q")


def spawn(module: str, start: object) -> subprocess.Popen[bytes]:
    """Start `python -m module`, which gets the value `start`. Raises OSError.

    It is in a process group of its own: Ctrl-C in a terminal reaches the parent alone, also while
    the child is still importing.
    """
    command = [sys.executable, "-m", module]
    if sys.platform == "win32":
        group = subprocess.CREATE_NEW_PROCESS_GROUP
        process = subprocess.Popen(command, stdin=subprocess.PIPE, creationflags=group)
    else:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    message = pickle.dumps(start)
    with suppress(OSError):  # it has died already, which its exit code tells
        process.stdin.write(_SIZE.pack(len(message)) + message)
        process.stdin.flush()
    return process


def release(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, by closing its pipe."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()


def attached(stop: Event) -> object:
    """In the child: the value from the parent.

    `stop` is set when the parent closes the pipe or dies, and by SIGTERM; a process that then lasts
    for longer than GRACE is ended. SIGINT is ignored. Raises EOFError if the parent has already
    died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    # Children of this process get an empty standard input, not the pipe.
    pipe = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    head = pipe.read(_SIZE.size)
    message = pipe.read(_SIZE.unpack(head)[0]) if len(head) == _SIZE.size else b""

    def wait() -> None:
        pipe.read()
        stop.set()

    def limit() -> None:
        stop.wait()
        time.sleep(GRACE)
        os._exit(1)

    for work in (wait, limit):
        Thread(target=work, name=f"lifeline {work.__name__}", daemon=True).start()
    return pickle.loads(message)
