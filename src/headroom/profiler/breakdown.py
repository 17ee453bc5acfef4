"""Where the seconds of a run went: parts that add up to its wall-clock time.

A component is the work of its stages, without the time until their weights were there; that is
part of what is left. The language model's time is what went by from its first stage to its last,
and falls into three: the grammar (timed around each of its calls), what guidance costs (held
against the same codes written without it), and the rest, which is token generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headroom.memory.footprint import DECODE, DENOISE, THINK, WRITE
from headroom.profiler.trace import Span

LANGUAGE = (THINK, WRITE)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Seconds. `generation`, `grammar` and `guidance` are the language model's, `lm` in all;
    `loading`, `conditioning` and `rest` are what is beside the components, `other` in all.

    guided        whether codes were written with guidance
    guidance      None: they were, and nothing was there to hold them against
    steps         of denoising, all passes together
    conditioning  stages that make what the DiT is given: sources, codes, text
    """

    wall: float
    lm: float
    grammar: float
    guidance: float | None
    guided: bool
    dit: float
    steps: int
    vae: float
    save: float
    loading: float
    conditioning: float

    @property
    def generation(self) -> float:
        """The language model's time but grammar and guidance."""
        return self.lm - self.grammar - (self.guidance or 0.0)

    @property
    def per_step(self) -> float:
        """Seconds of a denoising step; 0 where there was none."""
        return self.dit / self.steps if self.steps else 0.0

    @property
    def other(self) -> float:
        """What is no component's."""
        return self.wall - self.lm - self.dit - self.vae - self.save

    @property
    def rest(self) -> float:
        """Of `other`: planning, reading the prompt's words, memory given back, this tool."""
        return self.other - self.loading - self.conditioning

    @property
    def parts(self) -> dict[str, float]:
        """The components that add up to the wall-clock time."""
        return {
            "lm": self.lm,
            "dit": self.dit,
            "vae": self.vae,
            "save": self.save,
            "other": self.other,
        }


def breakdown(
    spans: Sequence[Span],
    wall: float,
    save: float = 0.0,
    steps: int = 0,
    guidance: float | None = None,
) -> Breakdown:
    """Of the stages of a run that took `wall` seconds, `save` of them to write files.

    guidance  the share of the time of codes that goes to it, as `guidance_share` has it
    """
    speaking = [span for span in spans if span.stage in LANGUAGE]
    lm = 0.0
    if speaking:
        lm = speaking[-1].ended - speaking[0].began - _sum(s.loading for s in speaking)
    guided = is_guided(spans)
    seconds: float | None = 0.0
    if guided:
        seconds = None if guidance is None else guidance * codes(spans)[1]
    known = (*LANGUAGE, DENOISE, DECODE)
    return Breakdown(
        wall=wall,
        lm=lm,
        grammar=_sum(one.grammar for span in speaking for one in span.wrote),
        guidance=seconds,
        guided=guided,
        dit=_working(spans, DENOISE),
        steps=steps,
        vae=_working(spans, DECODE),
        save=save,
        loading=_sum(span.loading for span in spans),
        conditioning=_sum(span.working for span in spans if span.stage not in known),
    )


def is_guided(spans: Sequence[Span]) -> bool:
    """Whether a language model wrote codes with guidance."""
    return any(one.guided for span in spans if span.stage == WRITE for one in span.wrote)


def guidance_share(guided: Sequence[Span], plain: Sequence[Span]) -> float | None:
    """The share of the time of codes, read and written with guidance, that the same codes take
    less without it; None where there are none.

    Never less than nothing, whatever the clock says of two short runs.
    """
    (many, long), (few, short) = codes(guided), codes(plain)
    if not (many and few and long):
        return None
    return max(0.0, 1 - (short / few) / (long / many))


def codes(spans: Sequence[Span]) -> tuple[int, float]:
    """Codes that were written, of all songs, and seconds for reading and writing them."""
    written = [one for span in spans if span.stage == WRITE for one in span.wrote]
    return sum(one.drawn for one in written), _sum(one.reading + one.writing for one in written)


def _working(spans: Sequence[Span], stage: str) -> float:
    return _sum(span.working for span in spans if span.stage == stage)


def _sum(seconds: Iterable[float]) -> float:
    return sum(seconds, 0.0)
