"""Splits the seconds of a run into components that add up to its wall-clock time.

A component's time is the work of its stages, without the wait for their weights; that wait belongs
to the remainder. The language model's time runs from its first stage to its last and has three
parts: the grammar (timed around each of its calls), the cost of guidance (compared with the same
codes written without it), and the rest, which is token generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headroom.memory.footprint import DECODE, DENOISE, THINK, WRITE
from headroom.profiler.trace import Span

LANGUAGE = (THINK, WRITE)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Seconds. `generation`, `grammar` and `guidance` are the language model's and add up to `lm`;
    `loading`, `conditioning` and `rest` are outside the components and add up to `other`.

    guided        whether codes were written with guidance
    guidance      None: they were, but there was no run to compare them with
    steps         of denoising, all passes together
    conditioning  stages that prepare the DiT's inputs: sources, codes, text
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
        """The language model's time without grammar and guidance."""
        return self.lm - self.grammar - (self.guidance or 0.0)

    @property
    def per_step(self) -> float:
        """Seconds per denoising step; 0 if there was none."""
        return self.dit / self.steps if self.steps else 0.0

    @property
    def other(self) -> float:
        """The time that belongs to no component."""
        return self.wall - self.lm - self.dit - self.vae - self.save

    @property
    def rest(self) -> float:
        """The rest of `other`: planning, tokenizing the prompt, freeing memory, this tool."""
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
    """The breakdown of a run that took `wall` seconds, `save` of them to write files.

    guidance  the share of the codes' time spent on it, from `guidance_share`
    """
    lm_spans = [span for span in spans if span.stage in LANGUAGE]
    lm = 0.0
    if lm_spans:
        lm = lm_spans[-1].ended - lm_spans[0].began - _sum(s.loading for s in lm_spans)
    guided = is_guided(spans)
    seconds: float | None = 0.0
    if guided:
        seconds = None if guidance is None else guidance * codes(spans)[1]
    component_stages = (*LANGUAGE, DENOISE, DECODE)
    return Breakdown(
        wall=wall,
        lm=lm,
        grammar=_sum(one.grammar for span in lm_spans for one in span.wrote),
        guidance=seconds,
        guided=guided,
        dit=_working(spans, DENOISE),
        steps=steps,
        vae=_working(spans, DECODE),
        save=save,
        loading=_sum(span.loading for span in spans),
        conditioning=_sum(span.working for span in spans if span.stage not in component_stages),
    )


def is_guided(spans: Sequence[Span]) -> bool:
    """Whether a language model wrote codes with guidance."""
    return any(one.guided for span in spans if span.stage == WRITE for one in span.wrote)


def guidance_share(guided: Sequence[Span], plain: Sequence[Span]) -> float | None:
    """The share of the time for codes with guidance that is saved when the same codes are written
    without it; None where there are no codes.

    Never negative, whatever the clock measured in two short runs.
    """
    (many, long), (few, short) = codes(guided), codes(plain)
    if not (many and few and long):
        return None
    return max(0.0, 1 - (short / few) / (long / many))


def codes(spans: Sequence[Span]) -> tuple[int, float]:
    """The number of codes written for all songs, and the seconds to read and write them."""
    written = [one for span in spans if span.stage == WRITE for one in span.wrote]
    return sum(one.drawn for one in written), _sum(one.reading + one.writing for one in written)


def _working(spans: Sequence[Span], stage: str) -> float:
    return _sum(span.working for span in spans if span.stage == stage)


def _sum(seconds: Iterable[float]) -> float:
    return sum(seconds, 0.0)
