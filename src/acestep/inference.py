"""Compatible `acestep.inference`: makes songs and texts through one engine.

Nothing here raises for invalid input: results have `success` and `error`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acestep.handler_protocols import (
    LanguageHandler,
    MusicHandler,
    ProgressCallback,
    event_listener,
)
from acestep.inference_types import (
    CreateSampleResult,
    FormatSampleResult,
    GenerationConfig,
    GenerationParams,
    GenerationResult,
    UnderstandResult,
)
from acestep.request_conversion import to_request
from acestep.result_conversion import (
    audio_entry,
    check_output,
    extra_outputs,
    write_back,
    write_songs,
)
from acestep.sheet_results import (
    SamplingOptions,
    create_sample_request,
    format_sample_request,
    understand_request,
    write_result,
)
from headroom.errors import HeadroomError

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


def generate_music(
    dit_handler: MusicHandler,
    llm_handler: LanguageHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | None = None,
    progress: ProgressCallback | None = None,
) -> GenerationResult:
    """Make the songs of a request, and save them in `save_dir` if it is given."""
    began = time.perf_counter()
    folder = None if save_dir is None else Path(save_dir)
    try:
        lm_ready = llm_handler is not None and llm_handler.llm_initialized
        converted = to_request(params, config, lm_ready)
        engine = dit_handler.engine_for(llm_handler)
        check_output(config, folder)
        if lm_ready and llm_handler is not None:
            llm_handler.share(engine)
        result = engine.generate(converted.request, event_listener(progress))
    except HeadroomError as error:
        return GenerationResult(status_message=f"error: {error}", success=False, error=str(error))
    write_back(params, result)
    audios = [audio_entry(result, i, params) for i in range(len(result.audios))]
    notes = [*converted.notes, *result.notes]
    if folder is not None:
        notes += write_songs(result, audios, folder, config, engine.settings.output_dir)
    return GenerationResult(
        audios=audios,
        status_message="; ".join(note.sentence() for note in dict.fromkeys(notes)) or "done",
        extra_outputs=extra_outputs(engine, result, time.perf_counter() - began),
    )


def understand_music(
    llm_handler: LanguageHandler,
    audio_codes: str,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
) -> UnderstandResult:
    """A description of codes; without codes, an invented example."""
    sampling = SamplingOptions(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
    )
    return write_result(UnderstandResult(), llm_handler, understand_request(audio_codes), sampling)


def create_sample(
    llm_handler: LanguageHandler,
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
    request = create_sample_request(query, instrumental, vocal_language)
    sampling = SamplingOptions(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
    )
    return write_result(CreateSampleResult(), llm_handler, request, sampling)


def format_sample(
    llm_handler: LanguageHandler,
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
    request = format_sample_request(caption, lyrics, user_metadata)
    sampling = SamplingOptions(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
    )
    return write_result(FormatSampleResult(), llm_handler, request, sampling)
