"""Checks the arguments an engine is opened with, before anything is probed. No torch."""

from __future__ import annotations

from headroom.engine.options import EngineOptions, check_kind, check_option, check_word
from headroom.errors import InvalidRequest
from headroom.log import log
from headroom.memory.limits import Choices
from headroom.memory.plan import Wishes
from headroom.settings import (
    LM_PROMPTS,
    POLICIES,
    Settings,
    declared,
    load,
)
from headroom.settings.declaration import amount, count


def options_said(
    device: object,
    dtype: object,
    model: object,
    checkpoint_dir: object,
    family: object,
    compile: object,
    threads: object,
    policy: object,
) -> EngineOptions:
    """The options of an engine: passed as one object in place of `device`, or one by one.

    Raises InvalidRequest for a value of the wrong kind, and for an option passed in addition to
    the one object.
    """
    said = {
        "dtype": dtype,
        "model": model,
        "checkpoint_dir": checkpoint_dir,
        "family": family,
        "compile": compile,
        "threads": threads,
        "policy": policy,
    }
    if not isinstance(device, EngineOptions):
        return EngineOptions.model_validate({"device": device, **said})
    for name, value in said.items():
        if value != EngineOptions.model_fields[name].default:
            raise InvalidRequest(name, value, "nothing beside EngineOptions, which say it")
    return device


def check_terms(policy: object, choices: object, wishes: object) -> None:
    """Raise InvalidRequest for an invalid policy, choice or wish."""
    check_word("policy", policy, POLICIES)
    check_kind("choices", choices, (Choices,), "a Choices")
    check_kind("wishes", wishes, (Wishes,), "a Wishes")
    assert isinstance(choices, Choices)
    for name in ("quantization", "lm_backend", "offload", "offload_dit", "compile", "init_lm"):
        check_option(name, getattr(choices, name))
    check_option("lm_model", choices.lm)


def settings_in_force(settings: object) -> Settings:
    """The settings that were passed, else those of this process; a warning names those of the
    latter that are not used. Raises InvalidRequest for settings that `headroom.settings.load`
    would not have returned."""
    if settings is None:
        settings = load()
        for sentence in settings.warnings:
            log.warning(sentence)
    check_kind(
        "settings", settings, (Settings,), "a Settings, as `headroom.settings.load` makes it"
    )
    assert isinstance(settings, Settings)
    check_word("lm_prompt", settings.lm_prompt, LM_PROMPTS)
    for name, setting in declared():
        value = getattr(settings, name)
        if setting.read in (amount, count) and value is not None:
            try:
                setting.read(str(value))
            except ValueError as error:
                raise InvalidRequest(name, value, setting.allowed) from error
    return settings
