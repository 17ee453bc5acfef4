"""The logger of the program: one plain line per event, on standard error."""

from __future__ import annotations

import logging

from headroom.terminal import visible

log = logging.getLogger("headroom")


def _visible(record: logging.LogRecord) -> bool:
    """Escape control characters in a record, so that no handler sends them to a terminal."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True


log.addFilter(_visible)


def show(level: str = "WARNING") -> None:
    """Send log lines of `level` and above to standard error. The command line calls this once."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log.handlers = [handler]
    log.setLevel(level)
    log.propagate = False
