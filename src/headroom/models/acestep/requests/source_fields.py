"""The request fields for a recording or a part of one, each declared once. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import PRESET, SHARE, Fields, File
from headroom.models.acestep.text.vocabulary import TRACK_WORDS, TRACKS
from headroom.params.knob import Choices, Knob, Limit, refuse

SOURCE = Knob(
    "Source",
    "Recording to work on.",
    flag="source",
    old=(
        "source",
        "src_audio",
        "src_audio_path",
        "source_audio_path",
        "ctx_audio",
        "ctx_audio_path",
    ),
    basic=True,
)
CODES = Knob(
    "Source",
    "Melody and form as audio codes, <|audio_code_N|> one after another.",
    lines=3,
    file=True,
    old=("audio_code_string",),
)


class CodesFields(Fields):
    """Audio codes."""

    audio_codes: Annotated[str, CODES] = ""


class SourceFields(Fields):
    """A recording to work on."""

    source_audio: Annotated[File, SOURCE]


class CoverStrengthFields(Fields):
    """How strongly a song follows the melody it is given."""

    audio_cover_strength: Annotated[
        float,
        Limit(0, 1, SHARE, least=0),
        Knob(
            "Cover",
            "Share of the steps that hear the source; the rest hear only the caption.",
            step=0.01,
            old=("cover_strength",),
            basic=True,
        ),
    ] = 1.0


class RegionFields(Fields):
    """A section of the source. An end of None is the end of the source."""

    start: Annotated[
        float,
        Limit(-600, 600, reason("song_length")),
        Knob(
            "Source",
            "Where the region begins; below 0 the song grows at its beginning.",
            unit="s",
            step=0.1,
            old=("repainting_start",),
            basic=True,
        ),
    ] = 0.0
    end: Annotated[
        float | None,
        Limit(-600, 600, reason("song_length")),
        Knob(
            "Source",
            "Where the region ends; beyond the source the song grows at its end.",
            unit="s",
            step=0.1,
            left_open="the end of the source",
            old=("repainting_end",),
            open_values=(-1, 0),
            basic=True,
        ),
    ] = None
    chunk_mask_mode: Annotated[
        Literal["explicit", "auto"],
        Knob(
            "Source",
            "auto lets the model find the region; explicit marks it for the model.",
            idle=("auto", "explicit"),
        ),
    ] = "auto"

    @model_validator(mode="after")
    def _region_in_order(self) -> RegionFields:
        if self.end is not None and self.end <= 0:
            raise refuse("a time after 0, where the source begins", field="end", value=self.end)
        if self.end is not None and self.start >= self.end:
            raise refuse(f"below the end ({self.end:g} s)", field="start", value=self.start)
        return self

    @property
    def has_region(self) -> bool:
        """Whether the request selects a part of the source rather than all of it."""
        return self.start != 0 or self.end is not None


class EdgeFields(Fields):
    """How a region joins its surroundings, for requests that keep the rest of the source."""

    repaint_mode: Annotated[
        Literal["conservative", "balanced", "aggressive"],
        Knob("Repaint", "How firmly the rest of the recording is kept as it is."),
    ] = "balanced"
    repaint_strength: Annotated[
        float,
        Limit(0, 1, SHARE, least=0),
        Knob(
            "Repaint", "Between conservative (0) and aggressive (1), in mode balanced.", step=0.01
        ),
    ] = 0.5
    repaint_latent_crossfade_frames: Annotated[
        int | None,
        Limit(0, 250, reason("crossfade_length"), least=0),
        Knob(
            "Repaint",
            "Blend outside each side of the region, at 25 frames a second.",
            idle=(10,),
            unit="frames",
            step=1,
            left_open=PRESET,
        ),
    ] = None
    repaint_wav_crossfade_sec: Annotated[
        float | None,
        Limit(0, 10, reason("splice_length"), least=0),
        Knob(
            "Repaint",
            "Cross-fade to the samples of the recording on each side of the region.",
            idle=(0,),
            unit="s",
            step=0.01,
            left_open=PRESET,
        ),
    ] = None


class TrackFields(Fields):
    """One instrument of the song."""

    track: Annotated[
        str | None,
        Choices(TRACKS),
        Knob(
            "Source",
            "Instrument the task is about.",
            left_open="not named",
            old=("track_name",),
            old_words=TRACK_WORDS,
            basic=True,
        ),
    ] = None
