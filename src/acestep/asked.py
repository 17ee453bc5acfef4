"""Converts ACE-Step's `GenerationParams` and `GenerationConfig` to a headroom request. No torch."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from acestep.inference_types import GenerationConfig, GenerationParams
from headroom.engine.seeds import DRAWN_BITS
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

MOST_SEEDS = 1000  # of one call; the request's own limit of songs is far below
# Converted separately below, or never read: what a language model wrote is an output.
_ELSEWHERE = frozenset(
    "task_type seed instruction audio_codes reference_audio timesteps use_adg guidance_params "
    "retake_seed thinking use_cot_lyrics".split()
)
_LM = tuple(
    "lm_temperature lm_cfg_scale lm_top_k lm_top_p lm_negative_prompt use_cot_metas "
    "use_cot_caption use_cot_language use_constrained_decoding".split()
)
# ACE-Step derives these two from the repaint mode, whatever their values; here they count as set
# only if they differ from their defaults.
_PRESET = ("repaint_latent_crossfade_frames", "repaint_wav_crossfade_sec")
_DEFAULTS: Mapping[str, object] = {f.name: f.default for f in fields(GenerationParams)}
_COVERS = ("cover", "cover_nofsq", "cover_no_fsq")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and a note for each value that was passed but has no meaning in its task."""

    request: AnyMusicRequest
    notes: tuple[Note, ...]


def asked(params: GenerationParams, config: GenerationConfig, ready: bool) -> Asked:
    """The request for these objects; `ready` says whether a language model is initialised.

    Raises InvalidRequest.
    """
    task = _task(params)
    kind: type[AnyMusicRequest] = TASKS.get(task, Cover if task in _COVERS else Text2Music)
    known = spellings(kind)
    said: dict[str, Any] = {"task": task}
    notes: list[Note] = []
    for name, value in _told(params):
        if name in known:
            said[name] = value
        elif value != _DEFAULTS[name]:
            notes.append(Note(name, value, None, f"the task {task} does not have it"))
    said |= _special(params, task, known)
    if _codes(params) and "audio_codes" not in known:
        notes.append(Note("audio_codes", "codes", None, f"the task {task} does not have it"))
    # Without thinking ACE-Step still fills in the song sheet, if any part of it is requested.
    cot = params.use_cot_metas or params.use_cot_caption or params.use_cot_language
    if ready and "plan_metadata" in known and (params.thinking or cot):
        said["thinking" if params.thinking else "plan_metadata"] = True
        said |= {name: getattr(params, name) for name in _LM if name in known}
    said |= {"audio_format": config.audio_format, "seeds": _seeds(params, config)}
    if written(config.audio_format).lower() == "mp3":
        said["bitrate"] = _kilobits(config.mp3_bitrate)
    return Asked(request_from(said), tuple(notes))


def said_seeds(value: object) -> tuple[int | None, ...]:
    """Seeds in any form: a number, numbers, or text with commas; None: to be drawn.

    Raises InvalidRequest for anything that is not a number.
    """
    if value is None or isinstance(value, str):
        parts: Sequence[object] = (value or "").split(",") if (value or "").strip() else ()
    else:
        parts = value if isinstance(value, Sequence) else (value,)
    return tuple(_seed(part) for part in parts)


def drawn_seed() -> int:
    """A new random seed."""
    return secrets.randbits(DRAWN_BITS)


def _seed(value: object) -> int | None:
    text = written(value).strip()
    if value is None or text in ("", "-1"):
        return None
    try:
        number = int(text) if text.lstrip("+-").isdecimal() else int(float(text))
    except (ValueError, OverflowError) as error:
        allowed = "whole numbers, several of them with commas; -1 for one that is drawn"
        raise InvalidRequest("seeds", value, allowed) from error
    return None if number < 0 else number


def _task(params: GenerationParams) -> str:
    """The task in effect: a cover with audio codes, or without any recording, is text2music."""
    task = snake(written(params.task_type or "text2music").strip())
    if task not in _COVERS:
        return task
    from_source = params.src_audio or params.reference_audio
    return "text2music" if _codes(params) or not from_source else task


def _codes(params: GenerationParams) -> str:
    return written(params.audio_codes or "").strip()


def _told(params: GenerationParams) -> Iterator[tuple[str, Any]]:
    """Fields that carry a value, each as it was passed."""
    for field in fields(params):
        name, value = field.name, getattr(params, field.name)
        if name in _ELSEWHERE or name in _LM or name.startswith(("cot_", "flow_edit_")):
            continue
        usual = name in _PRESET and value == _DEFAULTS[name]
        if params.told(name) and not usual:
            yield name, value


def _special(params: GenerationParams, task: str, known: Mapping[str, str]) -> dict[str, Any]:
    """Fields that need conversion rather than renaming. Raises InvalidRequest."""
    if params.flow_edit_morph:
        raise InvalidRequest("flow_edit_morph", True, "False: songs are not morphed here")
    if params.guidance_params:
        raise InvalidRequest(
            "guidance_params", params.guidance_params, "nothing: guidance_variant names the rule"
        )
    said: dict[str, Any] = {}
    codes = _codes(params)
    if codes and "audio_codes" in known:
        said["audio_codes"] = codes
    # ACE-Step replaces the instruction of a song whose task turns out to be a different one.
    replaced = (GENERATE, SEMANTIC) if task == "text2music" else ()
    if params.told("instruction") and params.instruction and params.instruction not in replaced:
        said["instruction"] = params.instruction
    if params.reference_audio:
        said["reference_audio"] = (params.reference_audio,)
    if params.timesteps:
        times = params.timesteps
        said["timesteps"] = tuple(times.split(",")) if isinstance(times, str) else times
    if params.use_adg:
        said["guidance_variant"] = "adg"
    retake = said_seeds(params.retake_seed)
    if retake and retake[0] is not None:
        said["retake_seed"] = retake[0]
    return said


def _seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    """A seed for each song: the given ones, and random ones for the rest."""
    count = 1 if config.batch_size is None else config.batch_size
    if isinstance(count, bool) or not isinstance(count, int) or count > MOST_SEEDS:
        raise InvalidRequest("batch_size", count, "a whole number, at least 1")
    count = max(1, count)
    said: tuple[int | None, ...] = said_seeds(config.seeds)
    wants_random = config.use_random_seed and config.told("use_random_seed")
    if not said and not wants_random:
        said = said_seeds(params.seed)
    drawn = [drawn_seed() if seed is None else seed for seed in said[:count]]
    return (*drawn, *(drawn_seed() for _ in range(count - len(drawn))))


def _kilobits(bitrate: object) -> int:
    """`128k`, `128` or 128 000 as kbit/s. Raises InvalidRequest."""
    text = written(bitrate).strip().lower().removesuffix("k")
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise InvalidRequest("mp3_bitrate", bitrate, "a bit rate such as 128k")
    number = int(text)
    return number // 1000 if number >= 8000 else number
