"""The requests: to clone a voice, and to edit speech."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from headroom.models.stepaudio.reasons import reason
from headroom.models.stepaudio.requests.values import (
    EMOTIONS,
    LANGUAGES,
    SOUNDS,
    SPEEDS,
    STYLES,
    Language,
    smuggled,
    sounds_in,
    unknown_tag,
)
from headroom.models.stepaudio.text.audio_ids import USED_CODES
from headroom.params.knob import Choices, Knob, Limit, Many, refuse
from headroom.params.request import Request
from headroom.reasons import reason as shared

LONGEST_TEXT = 1000  # characters
MOST_SECONDS = 60.0  # of what is written
MOST_VERSIONS = 8  # at once
SEED = Limit(0, 2**64 - 1, shared("seed_bits"), least=0, most=2**64 - 1)
COUNT = reason("versions_at_once", most=MOST_VERSIONS)
TEXT = Limit(0, LONGEST_TEXT, reason("text_in_parts"))
CHANGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"emotion": EMOTIONS, "style": STYLES, "speed": SPEEDS}
)
"""What an edit may be towards, by its kind; other kinds have no such choice."""


class SpeechFields(Request):
    """What both requests share."""

    groups: ClassVar[tuple[str, ...]] = ("Speech", "Voice", "Output", "Sampling")

    max_seconds: Annotated[
        float,
        Limit(1, MOST_SECONDS, reason("speech_length"), above=0),
        Knob("Speech", "The most that is spoken.", unit="s", step=1, role="seconds"),
    ] = 30.0
    batch_size: Annotated[
        int,
        Limit(1, MOST_VERSIONS, COUNT, least=1),
        Knob("Output", "Versions at once.", role="count"),
    ] = 1
    seed: Annotated[
        int | None, SEED, Knob("Output", "Same seed, same speech.", left_open="drawn at random")
    ] = None
    seeds: Annotated[
        tuple[Annotated[int, SEED], ...],
        Many(","),
        Limit(0, MOST_VERSIONS, COUNT, follows="batch_size"),
        Knob("Output", "A seed for each version, instead of one."),
    ] = ()
    temperature: Annotated[
        float,
        Limit(0, 2, reason("words_dissolve"), least=0),
        Knob("Sampling", "How freely codes are drawn; 0: always the likeliest.", step=0.05),
    ] = 0.7
    top_k: Annotated[
        int,
        Limit(0, USED_CODES, reason("audio_codes_known"), least=0),
        Knob("Sampling", "Only from so many likeliest codes; 0: from all."),
    ] = 50
    top_p: Annotated[
        float,
        Limit(0.05, 1, shared("share"), above=0),
        Knob("Sampling", "Only from the likeliest codes of this share together.", step=0.01),
    ] = 1.0
    prompt_format: Annotated[
        Literal["template", "intended", "released"],
        Knob("Sampling", "Form of the prompt: that of 2026, or of December 2025 as meant or as "
             "released."),
    ] = "template"  # fmt: skip

    @property
    def songs(self) -> int:
        """Number of versions requested."""
        return max(self.batch_size, len(self.seeds))


class Clone(SpeechFields):
    """Speak a text in the voice of a recording."""

    task: Literal["clone"] = "clone"
    text: Annotated[
        str, TEXT, Knob("Speech", "What is spoken.", lines=4, basic=True, file=True, role="words",
                        old=("input", "target_text", "generated_text")),
    ]  # fmt: skip
    prompt_audio: Annotated[
        Path, Knob("Voice", "A recording of the voice.", basic=True,
                   old=("prompt_wav_path", "prompt_audio_path")),
    ]  # fmt: skip
    prompt_text: Annotated[
        str, TEXT, Knob("Voice", "What is spoken in the recording.", lines=2, basic=True, file=True)
    ]
    language: Annotated[
        Language | None,
        Knob("Speech", "Language or dialect, where it is neither Mandarin nor English.",
             left_open="Mandarin or English, as the text is"),
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _texts(self) -> Self:
        for field in ("text", "prompt_text"):
            _check_text(field, getattr(self, field), needed=True)
        return self

    @property
    def spoken(self) -> str:
        """The text with the mark of its language in front."""
        mark = "" if self.language is None else f"[{self.language}]"
        return self.text if self.text.startswith(mark) else mark + self.text


class Edit(SpeechFields):
    """Change how something is spoken in a recording."""

    task: Literal["edit"] = "edit"
    source_audio: Annotated[
        Path, Knob("Voice", "The recording to change.", basic=True, old=("input_audio_path",))
    ]
    source_text: Annotated[
        str, TEXT, Knob("Voice", "What is spoken in it; not needed for vad and denoise.", lines=2,
                        basic=True, file=True, old=("audio_text",)),
    ] = ""  # fmt: skip
    edit_type: Annotated[
        Literal["emotion", "style", "speed", "denoise", "vad", "paralinguistic"],
        Knob("Speech", "What is changed: noise is removed by denoise, silence by vad, sounds are "
             "added by paralinguistic.", basic=True),
    ]  # fmt: skip
    edit_info: Annotated[
        str | None,
        Choices(tuple(dict.fromkeys((*EMOTIONS, *STYLES, *SPEEDS)))),
        Knob("Speech", "The emotion, style or speed.", left_open="the kind of change has none",
             basic=True),
    ] = None  # fmt: skip
    text: Annotated[
        str, TEXT, Knob("Speech", "The text with sounds in it, such as [Laughter].", lines=4,
                        file=True, role="words", old=("generated_text",)),
    ] = ""  # fmt: skip
    passes: Annotated[
        int,
        Limit(1, 4, reason("passes_change_nothing"), least=1),
        Knob("Speech", "How often it is changed, each time from the last result.",
             old=("n_edit_iter", "n_iter")),
    ] = 1  # fmt: skip

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field in ("text", "source_text"):
            _check_text(field, getattr(self, field), needed=False)
        allowed = CHANGES.get(self.edit_type)
        if allowed is None and self.edit_info is not None:
            why = f"nothing: {self.edit_type} has no choice"
            raise refuse(why, field="edit_info", value=self.edit_info)
        if allowed is not None and self.edit_info not in allowed:
            raise refuse(", ".join(allowed), field="edit_info", value=self.edit_info)
        if self.edit_type == "paralinguistic" and not sounds_in(self.text):
            why = "a text with at least one of " + ", ".join(f"[{sound}]" for sound in SOUNDS)
            raise refuse(why, field="text", value=self.text)
        return self


def _check_text(field: str, text: str, needed: bool) -> None:
    """Refuse a text that is empty where one is needed, or that holds what no text may."""
    if needed and not text.strip():
        raise refuse("a text", field=field, value=text)
    tag = unknown_tag(text)
    if tag is not None:
        known = ", ".join((*SOUNDS, *LANGUAGES))
        raise refuse(f"in brackets only {known}", field=field, value=f"[{tag}]")
    piece = smuggled(text)
    if piece is not None:
        raise refuse("a text without pieces of prompts", field=field, value=piece)


REQUESTS: Mapping[str, type[SpeechFields]] = MappingProxyType({"clone": Clone, "edit": Edit})
