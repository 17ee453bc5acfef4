"""The requests about a recording that make neither a song nor a text: its audio codes, and when its
words are sung. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from headroom.models.acestep.requests.song_fields import (
    CaptionFields,
    LyricsFields,
    MetadataFields,
)
from headroom.models.acestep.requests.source_fields import SourceFields
from headroom.models.acestep.text.lyric_text import has_voice
from headroom.params.knob import refuse
from headroom.params.request import Request


class EncodeAudio(SourceFields):
    """The audio codes of a recording, five a second."""

    task: Literal["encode_audio"] = "encode_audio"
    makes: ClassVar[str] = "codes"


class AlignLyrics(SourceFields, MetadataFields, LyricsFields, CaptionFields):
    """When each line of the lyrics is sung in a recording. What is known of the music helps."""

    task: Literal["align_lyrics"] = "align_lyrics"
    makes: ClassVar[str] = "timestamps"

    @model_validator(mode="after")
    def _words_to_align(self) -> Self:
        if not has_voice(self.lyrics):
            raise refuse("the words that are sung", field="lyrics", value=self.lyrics)
        return self


RECORDING_TASKS: Mapping[str, type[Request]] = {
    "encode_audio": EncodeAudio,
    "align_lyrics": AlignLyrics,
}
