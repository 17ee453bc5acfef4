"""The requests that a language model answers with a song sheet or a score, told apart by `task`. No
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import model_validator

from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import SEED, Fields, File
from headroom.models.acestep.requests.language_fields import CALM, SamplingFields, Temperature
from headroom.models.acestep.requests.regions import MOST_SECONDS
from headroom.models.acestep.requests.song_fields import (
    CaptionFields,
    DurationFields,
    LyricsFields,
    MetadataFields,
    VoiceFields,
)
from headroom.models.acestep.requests.source_fields import SOURCE, CodesFields
from headroom.models.acestep.text.codes_text import CODE_RATE, CODEBOOK, codes_in
from headroom.params.knob import Knob, Limit, refuse
from headroom.params.request import Request, Unread, Wording

METADATA = ("bpm", "keyscale", "timesignature", "duration", "vocal_language")
MOST_CODES = MOST_SECONDS * CODE_RATE
_GROUP = "Language model"
_DECIDES = "the language model decides"
_READ = "a recording, or audio codes"


def _open(words: str) -> dict[str, Mapping[str, Any]]:
    """How the fields of a sheet are worded where `words` says who decides those left open."""
    return {name: {"left_open": words, "stand_in": None} for name in METADATA}


class WritingFields(SamplingFields):
    """How a text is drawn."""

    uses_language_model: ClassVar[bool] = True
    makes: ClassVar[str] = "song_sheet"
    wording: ClassVar[Wording] = MappingProxyType(
        {
            "lm_repetition_penalty": {
                "help": "Makes tokens that were written less likely; 1: not at all."
            }
        }
    )
    seed: Annotated[
        int | None,
        SEED,
        Knob(
            _GROUP,
            "The same seed writes the same.",
            left_open="drawn at random",
            old=("lm_seed",),
            open_values=(-1,),
        ),
    ] = None


class SheetFields(DurationFields, MetadataFields):
    """The values of a song sheet, where they are known."""

    genres: Annotated[
        str | None, Knob("Song", "Genres, separated by commas.", left_open=_DECIDES)
    ] = None


class HeardFields(CodesFields):
    """A recording, or the audio codes of one."""

    source_audio: Annotated[File | None, replace(SOURCE, left_open="codes are read")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.source_audio is not None and self.audio_codes.strip():
            raise refuse(
                f"{_READ}, and one of them", field="source_audio", value=str(self.source_audio)
            )
        check_codes(self.audio_codes)
        return self


class Understand(WritingFields, HeardFields):
    """A song sheet that describes a recording or audio codes; without either, an invented one."""

    task: Literal["understand"] = "understand"
    lm_temperature: Temperature = CALM


class NewSheetFields(WritingFields, SheetFields, VoiceFields, CaptionFields):
    """A text to make a song sheet of, and what the sheet must say."""

    wording: ClassVar[Wording] = MappingProxyType(
        {**WritingFields.wording, **_open(_DECIDES), "caption": {"old": ("prompt", "query")}}
    )
    sheet_caption: Annotated[
        str | None,
        Limit(0, 512, reason("caption_length")),
        Knob("Song", "The caption that the sheet must have.", left_open=_DECIDES, lines=3),
    ] = None


class CreateSample(NewSheetFields):
    """A song sheet invented from a line of text, the caption."""

    task: Literal["create_sample"] = "create_sample"


class FormatSample(NewSheetFields, LyricsFields):
    """A caption and lyrics rewritten in the form of a song sheet."""

    task: Literal["format_sample"] = "format_sample"
    wording: ClassVar[Wording] = MappingProxyType(
        {
            **NewSheetFields.wording,
            "lyrics": {"help": "Put these and the caption into the form of a song sheet."},
        }
    )


class Score(HeardFields, SheetFields, LyricsFields, CaptionFields):
    """How well a recording or audio codes fit words; at least one value is needed to score against.

    A value beyond its limits is refused: what is scored is exactly what was asked.
    """

    task: Literal["score"] = "score"
    makes: ClassVar[str] = "score"
    uses_language_model: ClassVar[bool] = True
    clamps: ClassVar[bool] = False
    unread: ClassVar[Mapping[str, Unread]] = MappingProxyType(
        {
            **Fields.unread,
            **{
                name: Unread(reason("nothing_drawn"))
                for name in ("seed", "lm_seed", *SamplingFields.model_fields)
            },
        }
    )
    wording: ClassVar[Wording] = MappingProxyType(
        {**_open("it is not scored"), "genres": {"left_open": "they are not scored"}}
    )

    @model_validator(mode="after")
    def _something_to_score(self) -> Self:
        if self.source_audio is None and not codes_in(self.audio_codes):
            raise refuse("audio codes", field="audio_codes", value=self.audio_codes)
        values = [getattr(self, name) for name in (*METADATA, "genres") if name != "vocal_language"]
        if (
            not self.caption.strip()
            and not self.lyrics.strip()
            and self.vocal_language == "unknown"
            and all(value is None for value in values)
        ):
            raise refuse(
                "a caption, lyrics or other values to score against", field="caption", value=""
            )
        return self


AnySheetRequest: TypeAlias = Understand | CreateSample | FormatSample


def check_codes(text: str) -> None:
    """Raise a validation error for text without codes, codes beyond the codebook, and too many."""
    if not text.strip():
        return
    codes = codes_in(text)
    if not codes:
        allowed = "<|audio_code_N|> one after another, or numbers with commas"
        raise refuse(allowed, field="audio_codes", value=text[:60])
    if max(codes) >= CODEBOOK:
        allowed = f"codes from 0 to {CODEBOOK - 1}"
        raise refuse(allowed, field="audio_codes", value=max(codes))
    if len(codes) > MOST_CODES:
        allowed = f"at most {MOST_CODES} ({MOST_SECONDS} s)"
        raise refuse(allowed, field="audio_codes", value=f"{len(codes)} codes")


LANGUAGE_TASKS: Mapping[str, type[Request]] = {
    "understand": Understand,
    "create_sample": CreateSample,
    "format_sample": FormatSample,
    "score": Score,
}
