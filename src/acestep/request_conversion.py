"""Converts ACE-Step's `GenerationParams` and `GenerationConfig` to a headroom request. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from acestep.inference_types import GenerationConfig, GenerationParams
from acestep.seeds import parse_seeds, random_seed
from headroom.errors import InvalidRequest, written
from headroom.models.acestep.requests.songs import (
    TASKS,
    AnyMusicRequest,
    Cover,
    Text2Music,
    request_from,
)
from headroom.models.acestep.requests.tasks import GENERATE, SEMANTIC
from headroom.params.clamp import Note
from headroom.params.request import snake, spellings

MAX_SEEDS = 1000  # of one call; the request's own limit of songs is far below
# Converted separately below, or never read: what a language model wrote is an output.
_HANDLED_SEPARATELY = frozenset(
    "task_type seed instruction audio_codes reference_audio timesteps use_adg guidance_params "
    "retake_seed thinking use_cot_lyrics".split()
)
_LM_FIELDS = tuple(
    "lm_temperature lm_cfg_scale lm_top_k lm_top_p lm_negative_prompt use_cot_metas "
    "use_cot_caption use_cot_language use_constrained_decoding".split()
)
# ACE-Step derives these two from the repaint mode, whatever their values; here they count as set
# only if they differ from their defaults.
_SET_BY_REPAINT_MODE = ("repaint_latent_crossfade_frames", "repaint_wav_crossfade_sec")
_DEFAULTS: Mapping[str, object] = {f.name: f.default for f in fields(GenerationParams)}
_COVER_TASKS = ("cover", "cover_nofsq", "cover_no_fsq")


@dataclass(frozen=True, slots=True)
class ConvertedRequest:
    """A request, and a note for each value that was passed but has no meaning in its task."""

    request: AnyMusicRequest
    notes: tuple[Note, ...]


def to_request(
    params: GenerationParams, config: GenerationConfig, lm_ready: bool
) -> ConvertedRequest:
    """The request for these objects; `lm_ready` says whether a language model is initialised.

    Raises InvalidRequest.
    """
    task = _task(params)
    kind: type[AnyMusicRequest] = TASKS.get(task, Cover if task in _COVER_TASKS else Text2Music)
    fields_by_name = spellings(kind)
    values: dict[str, Any] = {"task": task}
    notes: list[Note] = []
    for name, value in _explicit_values(params):
        if name in fields_by_name:
            values[name] = value
        elif value != _DEFAULTS[name]:
            notes.append(Note(name, value, None, f"the task {task} does not have it"))
    values |= _converted_values(params, task, fields_by_name)
    if _audio_codes(params) and "audio_codes" not in fields_by_name:
        notes.append(Note("audio_codes", "codes", None, f"the task {task} does not have it"))
    # Without thinking ACE-Step still fills in the song sheet, if any part of it is requested.
    cot = params.use_cot_metas or params.use_cot_caption or params.use_cot_language
    if lm_ready and "plan_metadata" in fields_by_name and (params.thinking or cot):
        values["thinking" if params.thinking else "plan_metadata"] = True
        values |= {name: getattr(params, name) for name in _LM_FIELDS if name in fields_by_name}
    values |= {"audio_format": config.audio_format, "seeds": _song_seeds(params, config)}
    if written(config.audio_format).lower() == "mp3":
        values["bitrate"] = _kbit_per_second(config.mp3_bitrate)
    return ConvertedRequest(request_from(values), tuple(notes))


def _task(params: GenerationParams) -> str:
    """The task in effect: a cover with audio codes, or without any recording, is text2music."""
    task = snake(written(params.task_type or "text2music").strip())
    if task not in _COVER_TASKS:
        return task
    from_source = params.src_audio or params.reference_audio
    return "text2music" if _audio_codes(params) or not from_source else task


def _audio_codes(params: GenerationParams) -> str:
    return written(params.audio_codes or "").strip()


def _explicit_values(params: GenerationParams) -> Iterator[tuple[str, Any]]:
    """Fields that carry a value, each as it was passed."""
    for field in fields(params):
        name, value = field.name, getattr(params, field.name)
        if (
            name in _HANDLED_SEPARATELY
            or name in _LM_FIELDS
            or name.startswith(("cot_", "flow_edit_"))
        ):
            continue
        is_preset = name in _SET_BY_REPAINT_MODE and value == _DEFAULTS[name]
        if params.is_set(name) and not is_preset:
            yield name, value


def _converted_values(
    params: GenerationParams, task: str, fields_by_name: Mapping[str, str]
) -> dict[str, Any]:
    """Fields that need conversion rather than renaming. Raises InvalidRequest."""
    if params.flow_edit_morph:
        raise InvalidRequest("flow_edit_morph", True, "False: songs are not morphed here")
    if params.guidance_params:
        raise InvalidRequest(
            "guidance_params", params.guidance_params, "nothing: guidance_variant names the rule"
        )
    values: dict[str, Any] = {}
    codes = _audio_codes(params)
    if codes and "audio_codes" in fields_by_name:
        values["audio_codes"] = codes
    # ACE-Step replaces the instruction of a song whose task turns out to be a different one.
    replaced = (GENERATE, SEMANTIC) if task == "text2music" else ()
    if params.is_set("instruction") and params.instruction and params.instruction not in replaced:
        values["instruction"] = params.instruction
    if params.reference_audio:
        values["reference_audio"] = (params.reference_audio,)
    if params.timesteps:
        times = params.timesteps
        values["timesteps"] = tuple(times.split(",")) if isinstance(times, str) else times
    if params.use_adg:
        values["guidance_variant"] = "adg"
    retake = parse_seeds(params.retake_seed)
    if retake and retake[0] is not None:
        values["retake_seed"] = retake[0]
    return values


def _song_seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    """A seed for each song: the given ones, and random ones for the rest."""
    count = 1 if config.batch_size is None else config.batch_size
    if isinstance(count, bool) or not isinstance(count, int) or count > MAX_SEEDS:
        raise InvalidRequest("batch_size", count, "a whole number, at least 1")
    count = max(1, count)
    given: tuple[int | None, ...] = parse_seeds(config.seeds)
    wants_random = config.use_random_seed and config.is_set("use_random_seed")
    if not given and not wants_random:
        given = parse_seeds(params.seed)
    drawn = [random_seed() if seed is None else seed for seed in given[:count]]
    return (*drawn, *(random_seed() for _ in range(count - len(drawn))))


def _kbit_per_second(bitrate: object) -> int:
    """`128k`, `128` or 128 000 as kbit/s. Raises InvalidRequest."""
    text = written(bitrate).strip().lower().removesuffix("k")
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise InvalidRequest("mp3_bitrate", bitrate, "a bit rate such as 128k")
    number = int(text)
    return number // 1000 if number >= 8000 else number
