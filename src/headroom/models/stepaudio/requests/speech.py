"""The requests: to clone a voice, and to edit speech."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, get_args

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
from headroom.models.stepaudio.text.sentences import parts_of, unread_letters
from headroom.params.knob import Choices, Knob, Limit, Many, refuse
from headroom.params.request import Request
from headroom.reasons import reason as shared

LONGEST_TEXT = 1000  # characters, of what is spoken in a recording
LONGEST_SPOKEN = 10_000  # characters, of what is to be spoken
MOST_SECONDS = 60.0  # of what is written
MOST_VERSIONS = 8  # at once
SEED = Limit(0, 2**64 - 1, shared("seed_bits"), least=0, most=2**64 - 1)
COUNT = reason("versions_at_once", most=MOST_VERSIONS)
TEXT = Limit(0, LONGEST_TEXT, reason("text_in_parts"))
EditType: TypeAlias = Literal["emotion", "style", "speed", "denoise", "vad", "paralinguistic"]
_ADDS: EditType = "paralinguistic"
OF_CLONES = tuple(kind for kind in get_args(EditType) if kind != _ADDS)
"""Kinds of edits of a clone: sounds stand in its text."""

_CHANGED = (
    "What is changed: noise is removed by denoise, silence by vad, sounds are added by "
    "paralinguistic; in a clone afterwards, whose sounds stand in its text."
)

EditInfo: TypeAlias = Annotated[
    str | None,
    Choices(tuple(dict.fromkeys((*EMOTIONS, *STYLES, *SPEEDS)))),
    Knob("Speech", "The emotion, style or speed.", left_open="the kind of change has none",
         basic=True),
]  # fmt: skip
Passes: TypeAlias = Annotated[
    int,
    Limit(1, 4, reason("passes_change_nothing"), least=1),
    Knob("Speech", "How often it is changed, each time from the last result.",
         old=("n_edit_iter", "n_iter")),
]  # fmt: skip
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
        Knob(
            "Speech",
            "The most that is spoken, of each part of a long text.",
            unit="s",
            step=1,
            role="seconds",
        ),
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
        str,
        Limit(0, LONGEST_SPOKEN, reason("text_in_parts")),
        Knob("Speech", "What is spoken; a long text is cut at sentences.", lines=4, basic=True,
             file=True, role="words", old=("input", "target_text", "generated_text")),
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
    edit_type: Annotated[
        EditType | None, Knob("Speech", _CHANGED, left_open="nothing, in a clone", basic=True)
    ] = None
    edit_info: EditInfo = None
    passes: Passes = 1

    @model_validator(mode="after")
    def _texts(self) -> Self:
        for field in ("text", "prompt_text"):
            _check_text(field, getattr(self, field), needed=True)
        if self.edit_type == _ADDS:
            raise refuse(", ".join(OF_CLONES), field="edit_type", value=self.edit_type)
        _check_change(self.edit_type, self.edit_info)
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """The text in parts, each with the mark of its language in front."""
        marks = tuple(f"[{language}]" for language in LANGUAGES)
        mark = next((one for one in marks if self.text.startswith(one)), "")
        text = self.text.removeprefix(mark)
        mark = mark if self.language is None else f"[{self.language}]"
        return tuple(mark + part for part in parts_of(text)) or (self.text,)


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
    edit_type: Annotated[EditType, Knob("Speech", _CHANGED, basic=True)]
    edit_info: EditInfo = None
    text: Annotated[
        str, TEXT, Knob("Speech", "The text with sounds in it, such as [Laughter].", lines=4,
                        file=True, role="words", old=("generated_text",)),
    ] = ""  # fmt: skip
    passes: Passes = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field in ("text", "source_text"):
            _check_text(field, getattr(self, field), needed=False)
        _check_change(self.edit_type, self.edit_info)
        if self.edit_type == _ADDS and not sounds_in(self.text):
            why = "a text with at least one of " + ", ".join(f"[{sound}]" for sound in SOUNDS)
            raise refuse(why, field="text", value=self.text)
        return self


def _check_change(kind: EditType | None, info: str | None) -> None:
    """Refuse what no edit of this kind is towards."""
    allowed = None if kind is None else CHANGES.get(kind)
    if allowed is None and info is not None:
        why = "nothing: nothing is changed" if kind is None else f"nothing: {kind} has no choice"
        raise refuse(why, field="edit_info", value=info)
    if allowed is not None and info not in allowed:
        raise refuse(", ".join(allowed), field="edit_info", value=info)


def _check_text(field: str, text: str, needed: bool) -> None:
    """Refuse a text that is empty where one is needed, or that holds what no text may."""
    if needed and not text.strip():
        raise refuse("a text", field=field, value=text)
    tag = unknown_tag(text)
    if tag is not None:
        known = ", ".join((*SOUNDS, *LANGUAGES))
        raise refuse(f"in brackets only {known}", field=field, value=f"[{tag}]")
    letters = unread_letters(text)
    if letters:
        raise refuse("a text in Chinese, Latin, Japanese or Korean script", field=field,
                     value=letters[:20])  # fmt: skip
    piece = smuggled(text)
    if piece is not None:
        raise refuse("a text without pieces of prompts", field=field, value=piece)


REQUESTS: Mapping[str, type[SpeechFields]] = MappingProxyType({"clone": Clone, "edit": Edit})
