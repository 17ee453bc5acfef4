"""`acestep.inference` as programs written for ACE-Step know it, over one engine.

Nothing here raises for what a user said: results say `success` and `error`.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from acestep.inference_types import (
    CreateSampleResult,
    FormatSampleResult,
    GenerationConfig,
    GenerationParams,
    GenerationResult,
    UnderstandResult,
)
from acestep.lyric_alignment import alignment_inputs
from headroom.audio.claims import check_folder
from headroom.engine.names import Wanted
from headroom.errors import HeadroomError, InvalidOutput
from headroom.memory.footprint import DECODE
from headroom.models.acestep.codes_text import codes_to_text
from headroom.models.acestep.parts import CONDITION, DENOISE
from headroom.models.acestep.requests import TASKS, AnyMusicRequest, request_from
from headroom.models.acestep.thinking_cost import THINK, WRITE
from headroom.models.base import SheetWish, SongSheet
from headroom.params.clamp import Note
from headroom.runtime.events import Event, Progress

if TYPE_CHECKING:
    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler
    from headroom.audio.encode import Format
    from headroom.engine.result import Result

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
NOT_READY, EMPTY = "LLM not initialized", "Empty metadata returned"
SHEET = ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")


R = TypeVar("R", bound=UnderstandResult)


def generate_music(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | None = None,
    progress: Tell | None = None,
) -> GenerationResult:
    """The songs of a request, saved below `save_dir` where one is named."""
    began = time.perf_counter()
    try:
        ready = llm_handler is not None and llm_handler.llm_initialized
        request = _request(params, config, ready)
        engine = dit_handler.engine_for(llm_handler)
        if save_dir is not None:
            check_folder(Path(save_dir), "save_dir")
        if ready and llm_handler is not None:
            llm_handler.share(engine)
        result = engine.generate(request, _listener(progress))
    except HeadroomError as error:
        return GenerationResult(status_message=f"error: {error}", success=False, error=str(error))
    _write_back(params, result)
    audios = [_audio(result, i, params, config) for i in range(len(result.audios))]
    said = list(result.notes)
    if save_dir is not None:
        said += _write(result, audios, Path(save_dir), config, engine.settings.output_dir)
    notes = "; ".join(note.sentence() for note in said)
    return GenerationResult(
        audios=audios,
        status_message=notes or "done",
        extra_outputs={
            **_extra(result, time.perf_counter() - began),
            **alignment_inputs(engine, result),
        },
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
    """What codes are; no codes: an example is invented."""
    wish = SheetWish("understand", audio_codes)
    drawn = _Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return _sheet(UnderstandResult(), llm_handler, wish, drawn)


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
    """A song out of a line of text."""
    known = vocal_language not in (None, "", "unknown")
    given = {"language": vocal_language} if known else {}
    wish = SheetWish("inspire", query, "", instrumental, given)
    drawn = _Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return _sheet(CreateSampleResult(), llm_handler, wish, drawn)


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
    """A caption and lyrics said better; metadata that are given are kept."""
    wish = SheetWish("format", caption, lyrics, given=dict(user_metadata or {}))
    drawn = _Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
    return _sheet(FormatSampleResult(), llm_handler, wish, drawn)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """How a text is drawn."""

    temperature: float
    top_k: int | None
    top_p: float | None
    penalty: float
    constrained: bool


def _sheet(result: R, handler: LLMHandler, wish: SheetWish, drawn: _Drawn) -> R:
    if not handler.llm_initialized:
        return _failed(result, NOT_READY)
    seed = random.SystemRandom().getrandbits(32)
    try:
        sheet = handler.engine().write(replace(wish, seed=seed, **asdict(drawn)))
    except HeadroomError as error:
        return _failed(result, str(error))
    if not any(getattr(sheet, name) for name in SHEET):
        return _failed(result, EMPTY)
    _fill(result, sheet)
    return result


def _failed(result: R, why: str) -> R:
    result.success, result.error, result.status_message = False, why, why
    return result


def _fill(result: UnderstandResult, sheet: SongSheet) -> None:
    result.caption, result.lyrics = sheet.caption, sheet.lyrics
    result.bpm = sheet.bpm
    result.duration = None if sheet.duration is None else float(sheet.duration)
    result.keyscale, result.language = sheet.keyscale or "", sheet.language or ""
    result.timesignature = sheet.timesignature or ""
    result.status_message = "; ".join(note.sentence() for note in sheet.notes) or "done"
    if isinstance(result, CreateSampleResult):
        result.instrumental = sheet.instrumental


# --- from params to a request and back ------------------------------------------------------

_SAME = (
    "caption", "lyrics", "instrumental", "vocal_language", "bpm", "inference_steps",
    "guidance_scale", "cfg_interval_start", "cfg_interval_end", "shift", "infer_method",
    "audio_cover_strength", "audio_codes",
)  # fmt: skip
_LM = (
    "lm_temperature", "lm_cfg_scale", "lm_top_k", "lm_top_p", "lm_negative_prompt",
    "use_cot_metas", "use_cot_caption", "use_cot_language", "use_constrained_decoding",
)  # fmt: skip


def _request(params: GenerationParams, config: GenerationConfig, ready: bool) -> AnyMusicRequest:
    """The request these mean. Raises InvalidRequest."""
    task = params.task_type
    if task == "cover" and not (params.src_audio or params.reference_audio or params.audio_codes):
        task = "text2music"
    said: dict[str, Any] = {"task": task}
    plain = GenerationParams()
    known = TASKS[task].model_fields if task in TASKS else {}
    for name in _SAME:
        value = getattr(params, name)
        if name in known and value != getattr(plain, name):
            said[name] = value
    for name in ("keyscale", "timesignature"):
        if getattr(params, name):
            said[name] = getattr(params, name)
    if params.duration > 0 and "duration" in known:
        said["duration"] = params.duration
    if params.timesteps is not None:
        said["timesteps"] = tuple(params.timesteps)
    if params.use_adg:
        said["guidance_variant"] = "adg"
    if params.instruction != plain.instruction:
        said["instruction"] = params.instruction
    if params.src_audio and "source_audio" in known:
        said["source_audio"] = params.src_audio
    if params.reference_audio:
        said["reference_audio"] = (params.reference_audio,)
    if task in ("repaint", "lego"):
        said["start"] = params.repainting_start
        if params.repainting_end > 0:
            said["end"] = params.repainting_end
    # Without thinking the reference still fills in the sheet, where any of it is asked for.
    cot = params.use_cot_metas or params.use_cot_caption or params.use_cot_language
    if ready and "plan_metadata" in known and (params.thinking or cot):
        said["thinking" if params.thinking else "plan_metadata"] = True
        said |= {name: getattr(params, name) for name in _LM}
    said |= {"audio_format": config.audio_format, "seeds": _seeds(params, config)}
    return request_from(said)


def _seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    """A seed for each song: those that were said, and others drawn."""
    drawn = random.SystemRandom()
    said: Sequence[int] = ()
    if isinstance(config.seeds, int):
        said = (config.seeds,)
    elif config.seeds is not None:
        said = config.seeds
    elif not config.use_random_seed and params.seed >= 0:
        said = (params.seed,)
    found = [seed for seed in said if seed >= 0][: config.batch_size]
    while len(found) < max(1, config.batch_size):
        found.append(drawn.getrandbits(32))
    return tuple(found)


def _write_back(params: GenerationParams, result: Result) -> None:
    """What the language model decided, where ACE-Step's programs look for it."""
    if result.thought is None:
        return
    song = result.songs[0]
    metas = getattr(song, "metas", None)
    if metas is None:
        return
    params.cot_bpm, params.cot_keyscale = metas.bpm, metas.keyscale or ""
    params.cot_timesignature = metas.timesignature or ""
    params.cot_duration = metas.seconds
    params.cot_vocal_language = getattr(song, "language", "unknown")
    params.cot_caption = getattr(song, "caption", "")


def _audio(
    result: Result, index: int, params: GenerationParams, config: GenerationConfig
) -> dict[str, Any]:
    """A song as ACE-Step's programs know it; its `path` is empty until it is written."""
    import torch

    audio, seed = result.audios[index], result.seeds[index]
    codes = codes_to_text(getattr(result.songs[index], "codes", ()))
    told = {**params.to_dict(), "seed": seed, "audio_codes": codes}
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, repr(sorted(told.items(), key=lambda x: x[0]))))
    tensor = torch.as_tensor(audio.samples).clone()
    return {
        "path": "",
        "tensor": tensor,
        "key": key,
        "sample_rate": audio.rate,
        "params": told,
        "silent": bool(tensor.abs().max() == 0),
    }


def _write(
    result: Result,
    audios: Sequence[dict[str, Any]],
    folder: Path,
    config: GenerationConfig,
    spare: Path,
) -> list[Note]:
    """Write each song that is not silent, where it can be; notes of what went elsewhere.

    Where no place takes a song its `path` stays empty: the sound is in its tensor all the same.
    """
    from headroom.engine.save import Page, rescue, save

    notes = []
    kind = cast("Format", config.audio_format)  # the request was read with it
    for audio, made, told in zip(result.audios, result.provenance, audios, strict=True):
        if told["silent"]:
            continue
        page = Page(audio, made, {})
        target = folder / f"{told['key']}.{'wav' if kind.startswith('wav') else kind}"

        def to(path: Path, page: Page = page) -> tuple[Path, ...]:
            return save((page,), Wanted(path, given=False, field="save_dir"), kind)

        try:
            try:
                paths = to(target)
            except InvalidOutput as error:
                paths, note = rescue(target, (spare,), error, to)
                notes.append(note)
            told["path"] = str(paths[0])
        except InvalidOutput as error:
            notes.append(Note("save_dir", str(folder), None, f"the file {error.why}"))
    return notes


def _extra(result: Result, seconds: float) -> dict[str, Any]:
    """What is measured and drawn beside the sound."""
    thought: dict[str, float] = {}
    for stage in result.thought.stages if result.thought else ():
        thought[stage.stage] = thought.get(stage.stage, 0.0) + stage.seconds  # some come twice
    took = {s.stage: s.seconds for s in result.report.stages}
    return {
        "pred_latents": result.kept.get("latents"),
        "seed_value": ",".join(map(str, result.seeds)),
        "lm_metadata": _metadata(result),
        "time_costs": {
            "lm_phase1_time": thought.get(THINK, 0.0),
            "lm_phase2_time": thought.get(WRITE, 0.0),
            "lm_total_time": sum(thought.values()),
            "dit_encoder_time_cost": took.get(CONDITION, 0.0),
            "dit_model_time_cost": took.get(DENOISE, 0.0),
            "dit_vae_decode_time_cost": took.get(DECODE, 0.0),
            "dit_offload_time_cost": sum(s.loading for s in result.report.stages),
            "dit_total_time_cost": result.report.seconds,
            "pipeline_total_time": seconds,
        },
    }


def _metadata(result: Result) -> dict[str, Any] | None:
    metas = getattr(result.songs[0], "metas", None)
    if result.thought is None or metas is None:
        return None
    return {
        "bpm": metas.bpm,
        "keyscale": metas.keyscale,
        "timesignature": metas.timesignature,
        "duration": metas.seconds,
        "language": getattr(result.songs[0], "language", None),
        "caption": getattr(result.songs[0], "caption", None),
    }


def _listener(progress: Tell | None) -> Callable[[Event], None]:
    def hear(event: Event) -> None:
        if progress is not None and isinstance(event, Progress) and event.total:
            progress(event.done / event.total, desc=event.stage)

    return hear
