"""Profiler modes understand, create_sample and format_sample: a measured language-model text."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from headroom.engine.engine import Engine
from headroom.errors import InvalidRequest
from headroom.models.outputs import AudioCodes, SongSheet
from headroom.params.note import Note
from headroom.params.read import validate
from headroom.params.request import Request
from headroom.profiler.breakdown import Breakdown, breakdown
from headroom.profiler.console import Console
from headroom.profiler.options import SEED, Options, length_of
from headroom.profiler.report import title
from headroom.profiler.trace import Overhead, Span, Trace, overhead

LETTERS = 100  # of a caption and of lyrics, as shown
CODES_OF = 30.0  # seconds of the song that codes are made for, where none are given


@dataclass(frozen=True, slots=True)
class MeasuredText:
    """A measured text. `hearing`: seconds to convert a recording to codes."""

    request: Request
    sheet: SongSheet
    spans: tuple[Span, ...]
    wall: float
    overhead: Overhead
    notes: tuple[Note, ...]
    hearing: float | None = None

    @property
    def parts(self) -> Breakdown:
        """Where its seconds went."""
        return breakdown(self.spans, self.wall)


def run(engine: Engine, options: Options, console: Console) -> MeasuredText:
    """Write the text once to warm up, and once measured. Raises what `Engine.perform` raises."""
    hearing: float | None = None
    codes = ""
    if options.mode == "understand":
        codes, hearing = _codes(engine, options, Options.request(options), console)
    request = sheet_request(options, codes)
    if options.warmup:
        began = time.perf_counter()
        engine.perform(request, console.tell, console.stop)
        console.say(f"warm-up: {time.perf_counter() - began:.2f} s")
    trace = Trace()
    began = time.perf_counter()
    result = engine.perform(request, trace, console.stop)
    wall = time.perf_counter() - began
    sheet = result.output
    if not isinstance(sheet, SongSheet):
        raise TypeError(f"{options.mode} gave no song sheet")
    console.notes(result.notes)
    return MeasuredText(
        result.request, sheet, trace.spans, wall, overhead(trace), result.notes, hearing
    )


def result_table(text: MeasuredText) -> str:
    """The text that was written, shortened where it is long."""
    sheet = text.sheet
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


def sheet_request(options: Options, codes: str) -> Request:
    """The request of the mode, with the fields that were given and that it has."""
    family = options.family
    kind = family.requests.get(options.mode)
    if kind is None:
        raise InvalidRequest("family", family.name, f"a family that answers {options.mode}")
    song = Options.request(options)
    given = {name: getattr(song, name) for name in options.fields if name in kind.model_fields}
    given.setdefault("seed", SEED)
    of_mode: dict[str, dict[str, object]] = {
        "understand": {"audio_codes": codes, "source_audio": None},
        "create_sample": {"caption": options.query},
    }
    from_example: dict[str, object] = {
        n: getattr(song, n) for n in ("caption", "lyrics") if n in kind.model_fields
    }
    return validate(kind, {**from_example, **given, **of_mode.get(options.mode, {})})


def _codes(
    engine: Engine, options: Options, request: Request, console: Console
) -> tuple[str, float | None]:
    """The codes to understand: given ones, a recording's, or those of a song that the language
    model plans first."""
    if options.audio_codes is not None:
        return options.audio_codes, None
    if options.source is not None:
        began = time.perf_counter()
        output = engine.perform(_encoding(options), console.tell, console.stop).output
        if not isinstance(output, AudioCodes):
            raise TypeError("a recording gave no codes")
        return output.text, time.perf_counter() - began
    seconds = min(length_of(request) or CODES_OF, CODES_OF)
    first = {"thinking": True, "inference_steps": 1, "duration": seconds, "batch_size": 1}
    result = engine.generate(request.model_copy(update=first), console.tell, console.stop)
    codec = options.family.codes
    codes = () if codec is None else codec.of(result.songs[0])
    if codec is None or not codes:
        raise InvalidRequest("audio_codes", "", "codes: no language model is here to make some")
    console.once(f"codes: {len(codes)}, of a song that was thought out first")
    return codec.text(codes), None


def _encoding(options: Options) -> Request:
    """The request for the codes of the recording."""
    kind = options.family.requests.get("encode_audio")
    if kind is None:
        raise InvalidRequest("family", options.family.name, "a family that encodes recordings")
    return validate(kind, {"source_audio": options.source})


def as_json(sheet: SongSheet) -> dict[str, object]:
    """The whole text that was written."""
    return {name: value for name, value in asdict(sheet).items() if name != "notes"}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LETTERS else line[: LETTERS - 1] + "…"
