"""Compatible `acestep.inference`: makes songs and texts through one engine.

Nothing here raises for invalid input: results have `success` and `error`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.answers import audio_of, check_output, extra_outputs, write_back, write_songs
from acestep.asked import asked
from acestep.inference_types import (
    CreateSampleResult,
    FormatSampleResult,
    GenerationConfig,
    GenerationParams,
    GenerationResult,
    UnderstandResult,
)
from acestep.sheets import Drawn, as_result, formatting, inspiring, understanding
from headroom.errors import HeadroomError
from headroom.runtime.events import Event, Progress

if TYPE_CHECKING:
    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler

__all__ = [
    "CreateSampleResult",
    "FormatSampleResult",
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "UnderstandResult",
    "create_sample",
    "format_sample",
    "generate_music",
    "understand_music",
]
Tell = Callable[..., object]


def generate_music(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | None = None,
    progress: Tell | None = None,
) -> GenerationResult:
    """Make the songs of a request, and save them in `save_dir` if it is given."""
    began = time.perf_counter()
    folder = None if save_dir is None else Path(save_dir)
    try:
        ready = llm_handler is not None and llm_handler.llm_initialized
        wanted = asked(params, config, ready)
        engine = dit_handler.engine_for(llm_handler)
        check_output(config, folder)
        if ready and llm_handler is not None:
            llm_handler.share(engine)
        result = engine.generate(wanted.request, listener(progress))
    except HeadroomError as error:
        return GenerationResult(status_message=f"error: {error}", success=False, error=str(error))
    write_back(params, result)
    audios = [audio_of(result, i, params) for i in range(len(result.audios))]
    notes = [*wanted.notes, *result.notes]
    if folder is not None:
        notes += write_songs(result, audios, folder, config, engine.settings.output_dir)
    return GenerationResult(
        audios=audios,
        status_message="; ".join(note.sentence() for note in dict.fromkeys(notes)) or "done",
        extra_outputs=extra_outputs(engine, result, time.perf_counter() - began),
    )


def understand_music(
    llm_handler: LLMHandler,
    audio_codes: str,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
) -> UnderstandResult:
    """A description of codes; without codes, an invented example."""
    drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return as_result(UnderstandResult(), llm_handler, understanding(audio_codes), drawn)


def create_sample(
    llm_handler: LLMHandler,
    query: str,
    instrumental: bool = False,
    vocal_language: str | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
) -> CreateSampleResult:
    """A song sheet made from one line of text."""
    wish = inspiring(query, instrumental, vocal_language)
    drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return as_result(CreateSampleResult(), llm_handler, wish, drawn)


def format_sample(
    llm_handler: LLMHandler,
    caption: str,
    lyrics: str,
    user_metadata: Mapping[str, Any] | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
) -> FormatSampleResult:
    """An improved caption and lyrics; given metadata are kept."""
    wish = formatting(caption, lyrics, user_metadata)
    drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return as_result(FormatSampleResult(), llm_handler, wish, drawn)


def listener(progress: Tell | None) -> Callable[[Event], None]:
    """A listener that passes a run's events to a callback `progress(share, desc=…)`, or None."""

    def hear(event: Event) -> None:
        if progress is not None and isinstance(event, Progress) and event.total:
            progress(event.done / event.total, desc=event.stage)

    return hear
