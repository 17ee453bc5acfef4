"""Returns the language model's song sheets to ACE-Step's programs, as results and as dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from acestep.handler_protocols import LanguageHandler
from acestep.inference_types import CreateSampleResult, UnderstandResult
from acestep.seeds import random_seed
from headroom.errors import HeadroomError
from headroom.models.acestep.language.sheet import sheet_fields
from headroom.models.acestep.requests.language_requests import (
    AnySheetRequest,
    CreateSample,
    FormatSample,
    Understand,
)
from headroom.models.outputs import SongSheet
from headroom.params.note import Note

LM_NOT_INITIALIZED, NO_METADATA = "LLM not initialized", "Empty metadata returned"
SHEET_FIELDS = ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")
R = TypeVar("R", bound=UnderstandResult)


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How a text is sampled; None: as the request has it."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    constrained: bool

    def fields(self) -> dict[str, object]:
        """The same by the names of a request."""
        values = {
            "lm_temperature": self.temperature,
            "lm_top_k": self.top_k,
            "lm_top_p": self.top_p,
            "lm_repetition_penalty": self.repetition_penalty,
            "use_constrained_decoding": self.constrained,
            "seed": random_seed(),
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SheetRequest:
    """The type and fields of a request for a song sheet. `notes`: values that were left out."""

    kind: type[AnySheetRequest]
    fields: Mapping[str, object]
    notes: tuple[Note, ...] = ()


def understand_request(codes: str) -> SheetRequest:
    """A description of codes; without codes, an invented example."""
    return SheetRequest(Understand, {"audio_codes": codes})


def create_sample_request(
    query: str, instrumental: bool, vocal_language: str | None
) -> SheetRequest:
    """A song sheet made from one line of text."""
    return SheetRequest(
        CreateSample,
        {"caption": query, "instrumental": instrumental, "vocal_language": vocal_language},
    )


def format_sample_request(
    caption: str, lyrics: str, metadata: Mapping[str, Any] | None
) -> SheetRequest:
    """An improved caption and lyrics; given metadata are kept. Those that no request takes are left
    out, with a note."""
    fields, notes = sheet_fields(metadata or {})
    return SheetRequest(FormatSample, {"caption": caption, "lyrics": lyrics, **fields}, notes)


def write_result(
    result: R, handler: LanguageHandler, request: SheetRequest, sampling: SamplingOptions
) -> R:
    """The result filled with what the model wrote; failures are stored in it, not raised."""
    sheet = _run(handler, request, sampling)
    if isinstance(sheet, str):
        result.success, result.error, result.status_message = False, sheet, sheet
        return result
    result.caption, result.lyrics = sheet.caption, sheet.lyrics
    result.bpm = sheet.bpm
    result.duration = None if sheet.duration is None else float(sheet.duration)
    result.keyscale, result.language = sheet.keyscale or "", sheet.language or ""
    result.timesignature = sheet.timesignature or ""
    result.status_message = _status_message(sheet)
    if isinstance(result, CreateSampleResult):
        result.instrumental = sheet.instrumental
    return result


def write_dict(
    handler: LanguageHandler, request: SheetRequest, sampling: SamplingOptions
) -> tuple[dict[str, Any], str]:
    """What the model wrote, with the names of a song sheet, and a message; empty on failure."""
    sheet = _run(handler, request, sampling)
    if isinstance(sheet, str):
        return {}, f"error: {sheet}"
    values = {name: value for name in SHEET_FIELDS if (value := getattr(sheet, name)) is not None}
    values["lyrics"] = sheet.lyrics
    if request.kind is CreateSample:
        values["instrumental"] = sheet.instrumental
    return values, _status_message(sheet)


def _run(
    handler: LanguageHandler, request: SheetRequest, sampling: SamplingOptions
) -> SongSheet | str:
    """The sheet, or the reason there is none."""
    if not handler.llm_initialized:
        return LM_NOT_INITIALIZED
    try:
        validated = request.kind.model_validate({**request.fields, **sampling.fields()})
        engine = handler.engine()
        result = engine.perform(validated)
    except HeadroomError as error:
        return str(error)
    sheet = result.output
    if not isinstance(sheet, SongSheet) or not any(getattr(sheet, name) for name in SHEET_FIELDS):
        return NO_METADATA
    new_notes = (note for note in result.notes if note not in engine.model.notes)
    return replace(sheet, notes=tuple(dict.fromkeys((*request.notes, *new_notes))))


def _status_message(sheet: SongSheet) -> str:
    return "; ".join(note.sentence() for note in sheet.notes) or "done"
