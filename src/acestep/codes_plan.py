"""Metadata and audio codes from caption and lyrics: `LLMHandler.generate_with_stop_condition`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from headroom.errors import HeadroomError, InvalidRequest
from headroom.memory.footprint import THINK, WRITE
from headroom.models.acestep.requests.songs import Text2Music, request_from
from headroom.models.acestep.text.codes_text import codes_in
from headroom.runtime.events import Event

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

INFER_TYPES = ("dit", "llm_dit")  # metadata alone; codes too
METADATA_FIELDS = ("bpm", "duration", "keyscale", "timesignature", "language", "caption")


@dataclass(frozen=True, slots=True)
class CodesPlan:
    """The arguments, with the names of a request; None: the request's default.

    infer_type  one of `INFER_TYPES`
    metadata    given from the user; a `duration` there, or `target_duration`, is the length
    """

    infer_type: str
    caption: str
    lyrics: str
    target_duration: float | None
    metadata: Mapping[str, Any]
    batch_size: int | None
    seeds: Sequence[int] | None
    lm_temperature: float
    lm_cfg_scale: float
    lm_negative_prompt: str
    lm_top_k: int | None
    lm_top_p: float | None
    lm_repetition_penalty: float
    use_constrained_decoding: bool
    use_cot_metas: bool
    use_cot_caption: bool
    use_cot_language: bool

    def request(self) -> Text2Music:
        """The plan as a request. Raises InvalidRequest."""
        if self.infer_type not in INFER_TYPES:
            raise InvalidRequest("infer_type", self.infer_type, " or ".join(INFER_TYPES))
        values: dict[str, Any] = {"caption": self.caption, "lyrics": self.lyrics}
        sampling_fields = (f.name for f in fields(self) if f.name.startswith(("lm_", "use_")))
        values |= {
            name: value for name in sampling_fields if (value := getattr(self, name)) is not None
        }
        values["thinking" if self.infer_type == "llm_dit" else "plan_metadata"] = True
        if self.target_duration is not None and self.target_duration > 0:
            values["duration"] = self.target_duration
        for name, value in self.metadata.items():
            if name in METADATA_FIELDS and value not in (None, "", "N/A"):
                values[name] = value
        if self.seeds:
            values["seeds"] = tuple(self.seeds)
        elif self.batch_size:
            values["batch_size"] = self.batch_size
        return cast("Text2Music", request_from(values))


def plan_codes(
    engine: Engine, plan: CodesPlan, listener: Callable[[Event], None]
) -> dict[str, Any]:
    """The answer: `metadata` and `audio_codes` (lists for more songs than one), `success`, `error`,
    `extra_outputs` with `time_costs` in seconds and the number of codes."""
    try:
        request = plan.request()
        planned_requests = engine.think(request, listener)
    except HeadroomError as error:
        return failure(str(error))
    report = planned_requests[0].thought
    stages = report.stages if report else ()
    first, second = (sum(s.seconds for s in stages if s.stage == name) for name in (THINK, WRITE))
    songs = [cast("Text2Music", one.request) for one in planned_requests]
    if report is None:  # one request for all its songs
        songs = songs[:1] * request.songs
    metadata = [_metadata(one) for one in songs]
    codes = (
        [one.audio_codes for one in songs] if plan.infer_type == "llm_dit" else [""] * len(songs)
    )
    counts = [len(codes_in(text)) for text in codes]
    costs = {"phase1_time": first, "phase2_time": second, "total_time": first + second}
    extra: dict[str, Any] = {"time_costs": costs}
    if len(songs) == 1:
        extra["codes_count"] = counts[0]
    else:
        extra |= {"codes_counts": counts, "total_codes": sum(counts)}
    return {
        "metadata": metadata[0] if len(songs) == 1 else metadata,
        "audio_codes": codes[0] if len(songs) == 1 else codes,
        "success": True,
        "error": None,
        "extra_outputs": extra,
    }


def failure(message: str) -> dict[str, Any]:
    """The answer for a failure."""
    costs = {"phase1_time": 0.0, "phase2_time": 0.0, "total_time": 0.0}
    return {
        "metadata": {},
        "audio_codes": "",
        "success": False,
        "error": message,
        "extra_outputs": {"time_costs": costs},
    }


def _metadata(request: Text2Music) -> dict[str, Any]:
    """The known metadata of a song, with the names of a song sheet."""
    seconds = request.duration
    if seconds is None and request.audio_codes:
        seconds = len(codes_in(request.audio_codes)) / 5
    values = {
        "bpm": request.bpm,
        "caption": request.caption or None,
        "duration": None if seconds is None else round(seconds),
        "keyscale": request.keyscale,
        "language": None if request.vocal_language == "unknown" else request.vocal_language,
        "timesignature": request.timesignature,
    }
    return {name: value for name, value in values.items() if value is not None}
