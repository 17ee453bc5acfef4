"""The output of a request that makes no songs, of the kind that a test expects."""

from __future__ import annotations

from headroom import Engine
from headroom.models.outputs import FitScore, SongSheet
from headroom.params.request import Request


def sheet(engine: Engine, request: Request) -> SongSheet:
    """The song sheet of a request."""
    output = engine.perform(request).output
    assert isinstance(output, SongSheet)
    return output


def score(engine: Engine, request: Request) -> FitScore:
    """The score of a request."""
    output = engine.perform(request).output
    assert isinstance(output, FitScore)
    return output
