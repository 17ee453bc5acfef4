"""What an engine may be opened with, checked before anything is looked at. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType
from headroom.log import log
from headroom.memory.limits import Choices
from headroom.memory.plan import Wishes
from headroom.settings import (
    BACKENDS,
    LM_PROMPTS,
    POLICIES,
    QUANTIZATIONS,
    Settings,
    declared,
    load,
)
from headroom.settings.declaration import amount, count

DTYPES: Mapping[str, DType | None] = {
    "auto": None,
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}
MOST_THREADS = 1024  # of the host; torch makes as many as it is told, until the system has no more
_SWITCH = (True, False, None)


def check_threads(threads: object) -> None:
    """Raise InvalidRequest for a number of threads that no host has."""
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):  # type: ignore[operator]
        raise InvalidRequest(
            "threads", threads, f"a whole number, at least 1 and at most {MOST_THREADS}"
        )


def check_names(
    device: object,
    dtype: object,
    model: object,
    checkpoint_dir: object,
    compile: object,
    threads: object,
) -> None:
    """Raise InvalidRequest for a value of another kind than the engine takes there."""
    _check_kind("device", device, str, "a word, as in cuda:1")
    _check_word("dtype", dtype, DTYPES)
    check_threads(threads)
    if model is not None:
        _check_kind("model", model, str, "the name of a model folder")
    if checkpoint_dir is not None:
        _check_kind("checkpoint_dir", checkpoint_dir, (str, Path), "the path of a folder")
    _check_word("compile", compile, _SWITCH, "True, False or None")


def check_terms(policy: object, choices: object, wishes: object) -> None:
    """Raise InvalidRequest for a policy, a choice or wishes that are none."""
    _check_word("policy", policy, POLICIES)
    _check_kind("choices", choices, Choices, "a Choices")
    _check_kind("wishes", wishes, Wishes, "a Wishes")
    assert isinstance(choices, Choices)
    _check_word("quantization", choices.quantization, (None, *QUANTIZATIONS))
    _check_word("lm_backend", choices.lm_backend, (None, *BACKENDS))
    for name in ("offload", "offload_dit", "compile", "init_lm"):
        _check_word(name, getattr(choices, name), _SWITCH, "True, False or None")
    if choices.lm is not None:
        _check_kind("lm_model", choices.lm, str, "the name of a model folder, or none")


def settings_in_force(settings: object) -> Settings:
    """Those that were handed over, else those of this process; a warning says what of the latter
    is not used. Raises InvalidRequest for what `headroom.settings.load` would not have made."""
    if settings is None:
        settings = load()
        for sentence in settings.warnings:
            log.warning(sentence)
    _check_kind("settings", settings, Settings, "a Settings, as `headroom.settings.load` makes it")
    assert isinstance(settings, Settings)
    _check_word("lm_prompt", settings.lm_prompt, LM_PROMPTS)
    for name, setting in declared():
        value = getattr(settings, name)
        if setting.read in (amount, count) and value is not None:
            try:
                setting.read(str(value))
            except ValueError as error:
                raise InvalidRequest(name, value, setting.allowed) from error
    return settings


def _check_kind(name: str, value: object, kind: type | tuple[type, ...], allowed: str) -> None:
    if not isinstance(value, kind):
        raise InvalidRequest(name, value, allowed)


def _check_word(name: str, value: object, words: Iterable[object], allowed: str = "") -> None:
    # Not `in`: 1 is True to it, and what cannot be compared raises.
    if not any(type(value) is type(word) and value == word for word in words):
        named = ", ".join(str(word) for word in words if word is not None)
        raise InvalidRequest(name, value, allowed or f"one of {named}")
