"""Options of an engine: declared once; flags, checks and variables follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headroom.cli.parser import Parser, add_engine_flags
from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions, options
from headroom.errors import InvalidRequest
from headroom.settings import Settings, declared, load


def test_every_option_is_a_flag_with_its_help_and_most_are_a_setting() -> None:
    parser = Parser("acestep x")
    add_engine_flags(parser)
    actions = {flag: action for action in parser._actions for flag in action.option_strings}
    helps = {f"--{option.dest.replace('_', '-')}": option.help for option in options()}
    assert {flag: actions[flag].help for flag in helps} == helps
    assert {option.name for option in options()} == set(EngineOptions.model_fields)
    assert [option.name for option in options() if option.setting is None] == [
        "dtype",
        "family",
        "threads",
    ]


def test_an_option_and_its_setting_take_the_same_words() -> None:
    settings = dict(declared())
    for option in options():
        if option.setting is None or option.takes is None:
            continue
        for word in option.takes.words:
            if isinstance(word, str):
                assert option.setting.read(word) == word
        if option.name != "checkpoint_dir":
            assert settings[option.name] is option.setting


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({"device": 7}, "a word, as in cuda:1"),
        ({"dtype": "int8"}, "one of auto, float32, bfloat16, float16"),
        ({"model": 7}, "the name of a model folder"),
        ({"checkpoint_dir": 7}, "the path of a folder"),
        ({"compile": 1}, "True, False or None"),
        ({"policy": "free"}, "one of published, adaptive"),
        ({"lm_model": 7}, "the name of a model folder, or none"),
        ({"lm_backend": "onnx"}, "one of auto, vllm, pt, mlx"),
        ({"gpu_idle_timeout": -1}, "a number of seconds above 0"),
        ({"threads": 1025}, "a whole number, at least 1 and at most 1024"),
        ({"family": "none"}, "one of acestep, tone"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(said: dict[str, Any], allowed: str) -> None:
    for make in (lambda: EngineOptions(**said), lambda: EngineOptions().model_copy(update=said)):
        with pytest.raises(InvalidRequest) as caught:
            make()
        assert (caught.value.field, caught.value.allowed) == (next(iter(said)), allowed)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="lm_backend"):
        EngineOptions.model_validate({"lm_backends": "pt"})


def test_an_engine_takes_its_options_whole_or_one_by_one(tmp_path: Path) -> None:
    settings = load({"HEADROOM_CACHE_DIR": str(tmp_path)})
    said = EngineOptions(
        device="simulated", dtype="float32", policy="adaptive", lm_backend="pt", init_lm=False,
        family="tone", gpu_management=True, gpu_idle_timeout=5,
    )  # fmt: skip
    engine = Engine(said, settings=settings)
    assert (engine.device.name, engine.family) == ("a simulated card", "tone")
    assert (engine.terms.policy, engine.terms.lm_backend) == ("adaptive", "pt")
    assert not engine.terms.init_lm
    assert engine.settings.gpu_management and engine.settings.gpu_idle_timeout == 5
    apart = Engine(
        "simulated", dtype="float32", policy="adaptive", choices=said.choices, family="tone",
        settings=settings,
    )  # fmt: skip
    assert apart.terms == engine.terms
    with pytest.raises(InvalidRequest, match="dtype: 'float16'"):
        Engine(said, "float16", settings=settings)


def test_what_is_left_open_is_as_the_settings_say() -> None:
    settings = Settings(policy="adaptive", lm_backend="pt", offload=True)
    said = EngineOptions(offload=False)
    assert said.policy_in(settings) == "adaptive"
    choices = said.choices_in(settings)
    assert (choices.lm_backend, choices.offload) == ("pt", False)
