"""The words that Step-Audio-EditX knows: emotions, styles, speeds, sounds, languages. No torch.

Source: Step-Audio-EditX, published lists.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

Emotion: TypeAlias = Literal[
    "happy", "angry", "sad", "humour", "confusion", "disgusted", "empathy", "embarrass", "fear",
    "surprised", "excited", "depressed", "coldness", "admiration", "remove",
]  # fmt: skip
Style: TypeAlias = Literal[
    "serious", "arrogant", "child", "older", "girl", "pure", "sister", "sweet", "ethereal",
    "whisper", "gentle", "recite", "generous", "act_coy", "warm", "shy", "comfort", "authority",
    "chat", "radio", "soulful", "story", "vivid", "program", "news", "advertising", "roar",
    "murmur", "shout", "deeply", "loudly", "exaggerated", "remove",
]  # fmt: skip
Speed: TypeAlias = Literal["faster", "slower", "more faster", "more slower"]
Sound: TypeAlias = Literal[
    "Breathing", "Laughter", "Surprise-oh", "Confirmation-en", "Uhm", "Surprise-ah", "Surprise-wa",
    "Sigh", "Question-ei", "Dissatisfaction-hnn",
]  # fmt: skip
Language: TypeAlias = Literal["Sichuanese", "Cantonese", "Japanese", "Korean"]

EMOTIONS: tuple[str, ...] = get_args(Emotion)
STYLES: tuple[str, ...] = get_args(Style)
SPEEDS: tuple[str, ...] = get_args(Speed)
SOUNDS: tuple[str, ...] = get_args(Sound)
LANGUAGES: tuple[str, ...] = get_args(Language)  # Mandarin and English are not marked

_TAG = re.compile(r"\[([A-Za-z][A-Za-z-]*)\]")
_PIECE = re.compile(r"<\|[^<>|]*\|>|<audio_\d+>|<user_defined_symbol_\d+>|<audio_start>")


def sounds_in(text: str) -> tuple[str, ...]:
    """The sounds in a text, in order."""
    return tuple(tag for tag in _TAG.findall(text) if tag in SOUNDS)


def unknown_tag(text: str) -> str | None:
    """The first word in brackets that is neither a sound nor a language; None: there is none."""
    known = (*SOUNDS, *LANGUAGES)
    return next((tag for tag in _TAG.findall(text) if tag not in known), None)


def smuggled(text: str) -> str | None:
    """The first piece of a prompt within a text, such as an audio code; None: there is none."""
    found = _PIECE.search(text)
    return found[0] if found else None
