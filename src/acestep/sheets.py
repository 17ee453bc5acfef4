"""Returns the language model's song sheets to ACE-Step's programs, as results and as dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from acestep.asked import drawn_seed
from acestep.inference_types import CreateSampleResult, UnderstandResult
from headroom.errors import HeadroomError
from headroom.models.base import SheetWish, SongSheet

if TYPE_CHECKING:
    from acestep.llm_inference import LLMHandler

NOT_READY, EMPTY = "LLM not initialized", "Empty metadata returned"
SHEET = ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")
R = TypeVar("R", bound=UnderstandResult)


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a text is sampled."""

    temperature: float
    top_k: int | None
    top_p: float | None
    penalty: float
    constrained: bool


def understanding(codes: str) -> SheetWish:
    """A description of codes; without codes, an invented example."""
    return SheetWish("understand", codes)


def inspiring(query: str, instrumental: bool, vocal_language: str | None) -> SheetWish:
    """A song sheet made from one line of text."""
    known = vocal_language not in (None, "", "unknown")
    return SheetWish(
        "inspire", query, "", instrumental, {"language": vocal_language} if known else {}
    )


def formatting(caption: str, lyrics: str, given: Mapping[str, Any] | None) -> SheetWish:
    """An improved caption and lyrics; given metadata are kept."""
    return SheetWish("format", caption, lyrics, given=dict(given or {}))


def as_result(result: R, handler: LLMHandler, wish: SheetWish, drawn: Drawn) -> R:
    """The result filled with what the model wrote; failures are stored in it, not raised."""
    sheet = _written(handler, wish, drawn)
    if isinstance(sheet, str):
        result.success, result.error, result.status_message = False, sheet, sheet
        return result
    result.caption, result.lyrics = sheet.caption, sheet.lyrics
    result.bpm = sheet.bpm
    result.duration = None if sheet.duration is None else float(sheet.duration)
    result.keyscale, result.language = sheet.keyscale or "", sheet.language or ""
    result.timesignature = sheet.timesignature or ""
    result.status_message = _said(sheet)
    if isinstance(result, CreateSampleResult):
        result.instrumental = sheet.instrumental
    return result


def as_dict(handler: LLMHandler, wish: SheetWish, drawn: Drawn) -> tuple[dict[str, Any], str]:
    """What the model wrote, with the names of a song sheet, and a message; empty on failure."""
    sheet = _written(handler, wish, drawn)
    if isinstance(sheet, str):
        return {}, f"error: {sheet}"
    found = {name: value for name in SHEET if (value := getattr(sheet, name)) is not None}
    found["lyrics"] = sheet.lyrics
    if wish.act == "inspire":
        found["instrumental"] = sheet.instrumental
    return found, _said(sheet)


def _written(handler: LLMHandler, wish: SheetWish, drawn: Drawn) -> SongSheet | str:
    """The sheet, or the reason there is none."""
    if not handler.llm_initialized:
        return NOT_READY
    try:
        sheet = handler.engine().write(replace(wish, seed=drawn_seed(), **asdict(drawn)))
    except HeadroomError as error:
        return str(error)
    return sheet if any(getattr(sheet, name) for name in SHEET) else EMPTY


def _said(sheet: SongSheet) -> str:
    return "; ".join(note.sentence() for note in sheet.notes) or "done"
