"""The request fields that describe the music, each declared once. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import Fields, File
from headroom.models.acestep.requests.tasks import GENERATE
from headroom.models.acestep.text.language_names import known_language
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES, known_key
from headroom.params.knob import Choices, Knob, Limit, Many

_TRAINED = reason("length_trained")
_NOT_SAID = "not told to the model"


class CaptionFields(Fields):
    """The music in words."""

    caption: Annotated[
        str,
        Limit(0, 512, reason("caption_length")),
        Knob(
            "Song",
            "What the music should sound like.",
            lines=3,
            old=("prompt",),
            basic=True,
            role="words",
        ),
    ] = ""


class LyricsFields(Fields):
    """The words that are sung."""

    lyrics: Annotated[
        str,
        Limit(0, 4096, reason("lyrics_length")),
        Knob(
            "Song",
            "Words to sing, with section marks such as [Verse]; none, or [Instrumental], means no "
            "voice.",
            lines=10,
            file=True,
            basic=True,
        ),
    ] = ""


class VoiceFields(Fields):
    """Whether there is a voice."""

    instrumental: Annotated[
        bool,
        Knob(
            "Song",
            "No voice, whatever the lyrics say.",
            old=("is_instrumental",),
            basic=True,
        ),
    ] = False


class MetadataFields(Fields):
    """The language that is sung, and tempo, key and time signature."""

    vocal_language: Annotated[
        str,
        Choices(LANGUAGES),
        BeforeValidator(known_language),
        Knob(
            "Song",
            "Language that is sung, as a code.",
            old=("language",),
            basic=True,
        ),
    ] = "unknown"
    bpm: Annotated[
        int | None,
        Limit(30, 300, reason("tempo_range"), above=0),
        Knob(
            "Song",
            "Tempo.",
            unit="beats a minute",
            step=1,
            left_open=_NOT_SAID,
            old=("tempo",),
            open_values=(0, -1),
            units=("bpm", "beats a minute", "beats per minute"),
            basic=True,
        ),
    ] = None
    keyscale: Annotated[
        str | None,
        Choices(KEYS),
        BeforeValidator(known_key),
        Knob(
            "Song",
            "Key of the music.",
            left_open=_NOT_SAID,
            old=("key_scale", "key"),
            open_values=("unknown",),
            basic=True,
        ),
    ] = None
    timesignature: Annotated[
        Literal["2", "3", "4", "6"] | None,
        Knob(
            "Song",
            "Beats in a bar.",
            left_open=_NOT_SAID,
            old=("time_signature",),
            old_words=(("2/4", "2"), ("3/4", "3"), ("4/4", "4"), ("6/8", "6")),
            open_values=(0, -1, "unknown"),
            basic=True,
        ),
    ] = None


class DurationFields(Fields):
    """How long the music is."""

    duration: Annotated[
        float | None,
        Limit(10, 600, _TRAINED, above=0),
        Knob(
            "Song",
            "Length of the song.",
            unit="s",
            step=1,
            role="seconds",
            left_open="as long as the source",
            stand_in=30.0,
            old=("audio_duration", "target_duration"),
            open_values=(-1, 0),
            basic=True,
        ),
    ] = None


class SongFields(DurationFields, MetadataFields, VoiceFields, LyricsFields, CaptionFields):
    """What the music is, and what else the model reads of it."""

    global_caption: Annotated[
        str,
        Knob("Song", "The whole song in words, for models made for single stems.", lines=2),
    ] = ""
    instruction: Annotated[
        str | None,
        Knob(
            "Song",
            "Instruction to the model, word for word.",
            left_open="that of the task",
            open_values=(GENERATE,),
        ),
    ] = None
    reference_audio: Annotated[
        tuple[File, ...],
        Many(""),
        Knob(
            "Source",
            "Recordings whose sound the song should have.",
            old=("reference_audio_path", "ref_audio_path", "ref_audio"),
            basic=True,
        ),
    ] = ()
