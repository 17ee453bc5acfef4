"""One logger for the whole program: plain words, one line an event, on standard error."""

from __future__ import annotations

import logging

from headroom.terminal import visible

log = logging.getLogger("headroom")


def _visible(record: logging.LogRecord) -> bool:
    """Lines that reach a terminal by any handler hold no control characters."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True


log.addFilter(_visible)


def show(level: str = "WARNING") -> None:
    """Send log lines to standard error from `level` up. The command line calls this once."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log.handlers = [handler]
    log.setLevel(level)
    log.propagate = False
