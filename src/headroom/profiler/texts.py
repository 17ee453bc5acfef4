"""Profiler modes understand, create_sample and format_sample: a measured language-model text."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from headroom.engine.engine import Engine
from headroom.errors import InvalidRequest
from headroom.models.base import SheetWish, SongSheet
from headroom.params.request import Request
from headroom.profiler.breakdown import Breakdown, breakdown
from headroom.profiler.face import Face
from headroom.profiler.options import SEED, Options, length_of
from headroom.profiler.report import title
from headroom.profiler.trace import Overhead, Span, Trace, overhead

ACTS = {"understand": "understand", "create_sample": "inspire", "format_sample": "format"}
SHEET = {
    "bpm": "bpm",
    "keyscale": "keyscale",
    "timesignature": "timesignature",
    "duration": "duration",
    "vocal_language": "language",
}
LETTERS = 100  # of a caption and of lyrics, as shown
CODES_OF = 30.0  # seconds of the song that codes are made for, where none are given


@dataclass(frozen=True, slots=True)
class Sheeted:
    """A measured text. `hearing`: seconds to convert a recording to codes."""

    wish: SheetWish
    sheet: SongSheet
    spans: tuple[Span, ...]
    wall: float
    overhead: Overhead
    hearing: float | None = None

    @property
    def parts(self) -> Breakdown:
        """Where its seconds went."""
        return breakdown(self.spans, self.wall)


def run(engine: Engine, options: Options, face: Face) -> Sheeted:
    """Write the text once to warm up, and once measured. Raises what `Engine.write` raises."""
    request = Options.request(options)
    hearing: float | None = None
    text = ""
    if options.mode == "understand":
        text, hearing = _codes(engine, options, request, face)
    wish = _wish(options, request, text)
    if options.warmup:
        began = time.perf_counter()
        engine.write(wish, face.tell, face.stop)
        face.say(f"warm-up: {time.perf_counter() - began:.2f} s")
    trace = Trace()
    began = time.perf_counter()
    sheet = engine.write(wish, trace, face.stop)
    wall = time.perf_counter() - began
    face.notes(sheet.notes)
    return Sheeted(wish, sheet, trace.spans, wall, overhead(trace), hearing)


def result_table(found: Sheeted) -> str:
    """The text that was written, shortened where it is long."""
    sheet = found.sheet
    rows: list[tuple[str, object]] = [
        ("Caption", _short(sheet.caption)),
        ("BPM", sheet.bpm),
        ("Duration", None if sheet.duration is None else f"{sheet.duration} s"),
        ("Key", sheet.keyscale),
        ("Language", sheet.language),
        ("Time signature", sheet.timesignature),
        ("Instrumental", "yes" if sheet.instrumental else "no"),
        ("Lyrics", _short(sheet.lyrics)),
    ]
    lines = [title("RESULT")]
    lines += [f"  {name:<16}{'—' if value in (None, '') else value}" for name, value in rows]
    return "\n".join(lines)


def _wish(options: Options, asked: Request, codes: str) -> SheetWish:
    """The wish for the language model; sampling options that are not set stay the family's."""
    said = options.fields
    usual = options.family.usual_request
    request: Any = asked  # its fields, by the names a request for a song sheet has them under
    lm: Any = asked if isinstance(asked, usual) else usual()
    wish = SheetWish(
        ACTS[options.mode],
        codes,
        seed=SEED if request.seed is None else request.seed,
        temperature=lm.lm_temperature if "lm_temperature" in said else None,
        top_k=lm.lm_top_k if "lm_top_k" in said else None,
        top_p=lm.lm_top_p if "lm_top_p" in said else None,
        constrained=lm.use_constrained_decoding,
        given={ours: getattr(request, name) for name, ours in SHEET.items() if name in said},
    )
    if options.mode == "create_sample":
        return replace(wish, text=options.query, instrumental=request.instrumental)
    if options.mode == "format_sample":
        return replace(wish, text=request.caption, lyrics=request.lyrics)
    return wish


def _codes(
    engine: Engine, options: Options, request: Request, face: Face
) -> tuple[str, float | None]:
    """The codes to understand: given ones, a recording's, or those of a song that the language
    model plans first."""
    if options.audio_codes is not None:
        return options.audio_codes, None
    if options.source is not None:
        began = time.perf_counter()
        heard = engine.hear(options.source, face.tell, face.stop)
        return heard, time.perf_counter() - began
    seconds = min(length_of(request) or CODES_OF, CODES_OF)
    first = {"thinking": True, "inference_steps": 1, "duration": seconds, "batch_size": 1}
    result = engine.generate(request.model_copy(update=first), face.tell, face.stop)
    known = options.family.codes
    codes = () if known is None else known.of(result.songs[0])
    if known is None or not codes:
        raise InvalidRequest("audio_codes", "", "codes: no language model is here to make some")
    face.once(f"codes: {len(codes)}, of a song that was thought out first")
    return known.text(codes), None


def as_json(sheet: SongSheet) -> dict[str, object]:
    """The whole text that was written."""
    return {name: value for name, value in asdict(sheet).items() if name != "notes"}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LETTERS else line[: LETTERS - 1] + "…"
