"""The literal prompts the planner language model was trained on, in its chat format. No torch.

Source: ACE-Step 1.5's `acestep/constants.py` and `acestep/llm_inference.py`. Whitespace matters,
and nothing is stripped. What users write is inserted as plain text, even if it spells special
tokens (`plain_text`).
"""

from __future__ import annotations

from headroom.models.acestep.text.plain_text import as_text
from headroom.settings import LMPrompt

GENERATE = "Generate audio semantic tokens based on the given conditions:"
UNDERSTAND = "Understand the given musical conditions and describe the audio semantics accordingly:"
INSPIRE = "Expand the user's input into a more detailed and specific musical description:"
FORMAT = "Format the user's input into a more detailed and specific musical description:"
NOTHING = "NO USER INPUT"

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
THINK, THOUGHT = "<think>", "</think>"


def frame(instruction: str, user: str) -> str:
    """The system and user turns, and the open start of the assistant's turn."""
    return (
        f"{START}system\n# Instruction\n{instruction}\n\n{END}\n"
        f"{START}user\n{user}{END}\n{START}assistant\n"
    )


def generating_prompt(caption: str, lyrics: str) -> str:
    """Write metadata, then codes, for a caption and lyrics (tasks A and B)."""
    return frame(GENERATE, as_text(f"# Caption\n{caption}\n\n# Lyric\n{lyrics}\n"))


def away_from(negative: str) -> str:
    """What codes are guided away from: an empty request with empty metadata (task C)."""
    user = negative if is_said(negative) else NOTHING
    return frame(GENERATE, as_text(user)) + thought("")


def against(negative: str, caption: str, lyrics: str, layout: LMPrompt) -> str:
    """What codes are guided away from, by layout. Older layouts include caption and lyrics as well,
    so that only the metadata is guided."""
    if layout == "current":
        return away_from(negative)
    text = negative if is_said(negative) else caption
    return generating_prompt(text, lyrics) + before_codes("", layout)


def before_codes(metadata: str, layout: LMPrompt) -> str:
    """Metadata before the first code, by layout: one of them closes the assistant's turn there."""
    closed = f"{END}\n" if layout == "closed" else ""
    return thought(metadata) + closed


def understanding_prompt(codes: str) -> str:
    """Describe codes (task D); without codes: invent any song (task E)."""
    return frame(UNDERSTAND, codes or NOTHING)


def inspiring_prompt(query: str, instrumental: bool) -> str:
    """Invent a song from a line of text (task F)."""
    text = query if query.strip() else NOTHING
    return frame(INSPIRE, f"{as_text(text)}\n\ninstrumental: {str(instrumental).lower()}")


def formatting_prompt(caption: str, lyrics: str, no_lyrics: str) -> str:
    """Rewrite a caption and lyrics (task G)."""
    described = caption if caption.strip() else NOTHING
    words = lyrics if lyrics.strip() else no_lyrics
    return frame(FORMAT, as_text(f"# Caption\n{described}\n\n# Lyric\n{words}"))


def thought(metadata: str) -> str:
    """Metadata in the form the assistant writes before the first code."""
    inside = f"{as_text(metadata)}\n" if metadata else "\n"
    return f"{THINK}\n{inside}{THOUGHT}\n\n"


def is_said(negative: str) -> bool:
    """Whether a negative prompt has any content."""
    return bool(negative.strip()) and negative.strip() != NOTHING
