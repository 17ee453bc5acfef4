"""Lets a process that computes on the processor give way to those that answer people.

Where nobody waits for the processor it changes nothing: an engine then has all of it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil

from headroom.log import log

NICE = 5  # of an engine on the processor: beside others that are busy it gets about a quarter
_ON_HOST = ("cpu", "simulated")  # kinds of devices that are the processor
# Linux may share time out by sessions first, and each engine process has one: this one's share.
_SESSION = Path("/proc/self/autogroup")


def give_way(device: str) -> None:
    """Lower the priority of this process, if its device is the processor. To be called before it
    starts the threads that compute. A system that refuses leaves it as it is."""
    if device.partition(":")[0] not in _ON_HOST:
        return
    process = psutil.Process()
    try:
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            process.nice(max(NICE, int(process.nice())))
        with suppress(FileNotFoundError):  # a system without such shares
            _SESSION.write_text(str(NICE))
    except (psutil.Error, OSError) as error:
        log.info("the priority of this process stays as it is: %s", error)
