"""Prompts of Step1: cloning a voice, and editing a recording. No torch.

Source: Step-Audio-EditX, published prompts. Three variants of the same frame exist:

    template  the chat template of 2026; the usual one, and what the model was published with later
    intended  each part encoded for itself, as the program of December 2025 means it
    released  the same with the id 1 in front of every part, as that program in effect writes it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from headroom.models.stepaudio.text.vocabulary import BOS, BOT, EOT, Vocabulary

Variant: TypeAlias = Literal["template", "intended", "released"]
EditKind: TypeAlias = Literal["emotion", "style", "speed", "denoise", "vad", "paralinguistic"]
USUAL: Variant = "template"
SPEAKER = "debug"  # the name that later versions give every speaker
REMOVE = "remove"

_EDITING = """\
As a highly skilled audio editing and tuning specialist, you excel in interpreting user \
instructions and applying precise adjustments to meet their needs. Your expertise spans a wide \
range of enhancement capabilities, including but not limited to:
# Emotional Enhancement
# Speaking Style Transfer
# Non-linguistic Adjustments
# Audio Tuning & Editing
Note: You will receive instructions in natural language and are expected to accurately interpret \
and execute the most suitable audio edits and enhancements.
"""
# A space ends the lines `text:` and `tokens:`.
_CLONING = (
    "Generate audio with the following timbre, prosody and speaking style\n\n"
    "[speaker_start]\n"
    "speaker name: {speaker}\n"
    "speaker prompt text: \n"
    "{text}\n"
    "speaker audio tokens: \n"
    "{audio}\n"
    "[speaker_end]\n"
)
_MAKE = "Make the following audio more {info}. The text corresponding to the audio is: {text}\n"
_STYLE = (
    "Make the following audio more {info} style. The text corresponding to the audio is: {text}\n"
)
_NO_EMOTION = "Remove any emotion in the following audio and the reference text is: {text}\n"
_NO_STYLE = "Remove any speaking styles in the following audio and the reference text is: {text}\n"
_CLEAN = (
    "Remove any {what} from the given audio while preserving the voice content clearly. "
    "Ensure that the speech quality remains intact with minimal distortion, and eliminate all "
    "{rest} from the audio.\n"
)
_SOUNDS = (
    "Add some non-verbal sounds to make the audio more natural, the new text is : {target}\n"
    "  The text corresponding to the audio is: {text}\n"
)


@dataclass(frozen=True, slots=True)
class Edit:
    """What to change.

    info    the emotion, style or speed
    target  the text with sounds in it
    """

    kind: EditKind
    info: str = ""
    target: str = ""

    def instruction(self, text: str) -> str:
        """The instruction for a recording with this transcript, which may be empty."""
        text = text.strip()
        if self.kind == "denoise":
            return _CLEAN.format(what="noise", rest="noise")
        if self.kind == "vad":
            return _CLEAN.format(what="silent portions", rest="silence")
        if self.kind == "paralinguistic":
            return _SOUNDS.format(target=self.target, text=text)
        if self.info == REMOVE:
            return (_NO_STYLE if self.kind == "style" else _NO_EMOTION).format(text=text)
        return (_STYLE if self.kind == "style" else _MAKE).format(info=self.info, text=text)


def edit_prompt(
    words: Vocabulary, edit: Edit, text: str, audio: str, variant: Variant = USUAL
) -> tuple[int, ...]:
    """Ids of a prompt that edits a recording; `audio` are its codes as text."""
    asked = f"{edit.instruction(text)}\n{audio}\n"
    if variant == "template":
        return _frame(words, _EDITING, words.encode(f"human\n{asked}"), variant)
    human = _part(words, "human\n", variant) + _part(words, asked, variant)
    return _frame(words, _EDITING, human, variant)


def clone_prompt(
    words: Vocabulary,
    target: str,
    text: str,
    audio: str,
    variant: Variant = USUAL,
    speaker: str = SPEAKER,
) -> tuple[int, ...]:
    """Ids of a prompt that speaks `target` like a recording of `text` with the codes `audio`."""
    system = _CLONING.format(speaker=speaker, text=text, audio=audio)
    if variant == "template":
        return _frame(words, system, words.encode(f"human\n{target}"), variant)
    human = _part(words, "human\n", variant) + words.encode(target, prefix=False)
    return _frame(words, system, human, variant)


def _frame(
    words: Vocabulary, system: str, human: tuple[int, ...], variant: Variant
) -> tuple[int, ...]:
    system_turn = _part(words, f"system\n{system}", variant)
    answer = _part(words, "assistant\n", variant)
    return (BOS, BOT, *system_turn, EOT, BOT, *human, EOT, BOT, *answer)


def _part(words: Vocabulary, text: str, variant: Variant) -> tuple[int, ...]:
    ids = words.encode(text)
    return (BOS, *ids) if variant == "released" else ids
