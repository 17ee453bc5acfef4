"""Builds the language model's prompts as ACE-Step's programs do, and parses its answers.

The literal texts are in `headroom.models.acestep.text.lm_prompts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from headroom.models.acestep.language.sheet import read_sheet
from headroom.models.acestep.text import lm_prompts as texts
from headroom.models.acestep.text.codes_text import codes_in, codes_to_text
from headroom.models.acestep.text.lm_prompts import NOTHING
from headroom.models.acestep.text.plain_text import unescaped
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.models.acestep.text.vocabulary import METAS


class Prompts:
    """Methods of `LLMHandler` that build prompts and parse text. Building a prompt raises
    ValueError if no model has been initialised."""

    llm_initialized: bool

    def build_formatted_prompt(
        self,
        caption: str,
        lyrics: str = "",
        is_negative_prompt: bool = False,
        generation_phase: str = "cot",
        negative_prompt: str = NOTHING,
    ) -> str:
        """The prompt with caption and lyrics, after which metadata are written; or the one that
        guidance steers away from: the negative prompt in place of the caption, or no caption."""
        self._check_ready()
        if not is_negative_prompt:
            return unescaped(texts.generating_prompt(caption, lyrics))
        if generation_phase != "cot":
            return unescaped(texts.frame(texts.GENERATE, caption))
        if texts.is_said(negative_prompt):
            return unescaped(texts.generating_prompt(negative_prompt, lyrics))
        return unescaped(texts.frame(texts.GENERATE, f"# Lyric\n{lyrics}\n"))

    def build_formatted_prompt_with_cot(
        self,
        caption: str,
        lyrics: str,
        cot_text: str,
        is_negative_prompt: bool = False,
        negative_prompt: str = NOTHING,
    ) -> str:
        """The same with metadata (`<think>` … `</think>`), after which codes are written; or the
        one that guidance steers away from."""
        self._check_ready()
        if is_negative_prompt:
            return unescaped(texts.away_from(negative_prompt))
        return unescaped(f"{texts.generating_prompt(caption, lyrics)}{cot_text}\n\n")

    def build_formatted_prompt_for_understanding(
        self,
        audio_codes: str,
        is_negative_prompt: bool = False,
        negative_prompt: str = NOTHING,
    ) -> str:
        """The prompt with codes to describe."""
        self._check_ready()
        if is_negative_prompt:
            return unescaped(
                texts.frame(texts.UNDERSTAND, negative_prompt.strip() and negative_prompt)
            )
        return unescaped(texts.frame(texts.UNDERSTAND, audio_codes))

    def build_formatted_prompt_for_inspiration(
        self,
        query: str,
        instrumental: bool = False,
        is_negative_prompt: bool = False,
        negative_prompt: str = NOTHING,
    ) -> str:
        """The prompt with a line of text to make a song sheet from."""
        self._check_ready()
        if is_negative_prompt:
            return unescaped(
                texts.frame(texts.INSPIRE, negative_prompt.strip() and negative_prompt)
            )
        return unescaped(texts.inspiring_prompt(query, instrumental))

    def build_formatted_prompt_for_format(
        self,
        caption: str,
        lyrics: str,
        is_negative_prompt: bool = False,
        negative_prompt: str = NOTHING,
    ) -> str:
        """The prompt with a caption and lyrics to improve."""
        self._check_ready()
        if is_negative_prompt:
            return unescaped(texts.frame(texts.FORMAT, negative_prompt.strip() and negative_prompt))
        return unescaped(texts.formatting_prompt(caption, lyrics, INSTRUMENTAL))

    def parse_lm_output(self, output_text: str) -> tuple[dict[str, Any], str]:
        """The metadata in a text the model wrote, and its audio codes as written.

        `bpm` and `duration` are whole numbers; unknown fields, and invalid values, are absent.
        """
        sheet = read_sheet(output_text)
        values = {field.name: getattr(sheet, field.name) for field in fields(sheet)}
        codes = codes_in(output_text) if "<|audio_code_" in output_text else ()
        return {n: v for n, v in values.items() if v is not None}, codes_to_text(codes)

    def has_all_metas(self, user_metadata: Mapping[str, object] | None) -> bool:
        """Whether tempo, key, time signature and length are all given."""
        return user_metadata is not None and set(METAS) <= set(user_metadata)

    def _check_ready(self) -> None:
        if not self.llm_initialized:
            raise ValueError("no language model is initialised: call initialize first")
