"""The position of a repaint or lego region in its source, in seconds. No torch."""

from __future__ import annotations

from headroom.errors import InvalidRequest
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.songs import Lego, Repaint
from headroom.params.clamp import Note

MOST_SECONDS = 600
"""The longest song the models were trained on; what a recording has beyond it is left out."""


def growth(request: Repaint | Lego, seconds: float) -> tuple[float, float, tuple[Note, ...]]:
    """Seconds by which the song grows before and after a source of this length, and notes.

    Raises InvalidRequest for a region outside the source, and for one that makes the song too long.
    """
    before = max(0.0, -request.start)
    end = seconds if request.end is None else request.end
    after = max(0.0, end - seconds)
    if request.end is None and request.start >= seconds:
        allowed = f"less than the length of the source ({seconds:.2f} s), or an end beyond it"
        raise InvalidRequest("start", request.start, allowed)
    if round(before + seconds + after, 4) > MOST_SECONDS:
        allowed = f"a region with which the song stays within {MOST_SECONDS} s"
        field, value = ("end", request.end) if after else ("start", request.start)
        raise InvalidRequest(field, value, allowed)
    if request.start <= seconds:
        return before, after, ()
    why = reason("region_after_source")
    return before, after, (Note("start", request.start, round(seconds, 3), why),)
