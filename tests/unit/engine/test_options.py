"""Options of an engine: declared once; flags, checks and variables follow."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from headroom.cli.parser import Parser, add_engine_flags, engine_flags
from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.settings import AUTO, GIVEN, Settings, declared, example, load, settings_of

OPTIONS = settings_of(EngineOptions)


def test_every_option_is_a_flag_with_its_help_and_most_are_a_variable() -> None:
    parser = Parser("acestep x")
    add_engine_flags(parser)
    actions = {flag: action for action in parser._actions for flag in action.option_strings}
    for name, option in OPTIONS.items():
        action = actions[f"--{option.dest.replace('_', '-')}"]
        assert (name, str(action.help)[: len(option.help)]) == (option.field, option.help)
        assert option.left_open in str(action.help)
    assert {*OPTIONS} == {*EngineOptions.model_fields}
    assert [name for name, option in OPTIONS.items() if not option.name] == [
        "dtype",
        "checkpoint_dir",
        "threads",
        "family",
    ]


def test_an_option_is_the_same_on_every_face() -> None:
    """One declaration: a word that the options take is a flag's, a variable's and a row's."""
    variables = dict(declared())
    for name, option in OPTIONS.items():
        if not option.name:
            continue
        assert variables[name] == option
        assert f"# {option.name}=\n" in example() and option.sentence in example()
        for word in option.takes.words:
            given = EngineOptions.model_validate({name: word})
            assert getattr(load({option.name: word.upper()}), name) == getattr(given, name)
            parser = Parser("acestep x")
            add_engine_flags(parser)
            flag = f"--{option.dest.replace('_', '-')}={word.upper()}"
            assert engine_flags(parser.parse_args([flag])) == given


def test_what_is_open_is_not_given() -> None:
    nothing = EngineOptions()
    for name, option in OPTIONS.items():
        assert name not in nothing.given
        if option.default != AUTO:
            assert EngineOptions.model_validate({name: None}) == nothing
    for name in ("device", "dtype", "quantization", "lm_backend"):
        assert EngineOptions.model_validate({name: "auto"}) == nothing
    assert EngineOptions(lm_model="auto").given == {"lm_model": "auto"}  # a model of that name


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        (
            {"device": 7},
            "a word, as in cuda:1, or up to 8 different cards of one kind, as cuda:0,cuda:1",
        ),
        ({"dtype": "int8"}, "one of auto, float32, bfloat16, float16"),
        ({"model": 7}, "the name of a model folder"),
        ({"checkpoint_dir": 7}, "the path of a folder"),
        ({"compile": 1}, "True, False or None"),
        ({"policy": "free"}, "one of published, adaptive"),
        ({"lm_model": 7}, "the name of a model folder, or none"),
        ({"lm_backend": "onnx"}, "one of auto, vllm, pt, mlx"),
        ({"gpu_idle_timeout": -1}, "a number of seconds above 0"),
        ({"threads": 1025}, "a whole number, at least 1 and at most 1024"),
        ({"family": "none"}, "one of acestep, stepaudio, tone"),
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
    assert (engine.policy.name, engine.policy.lm_loop) == ("adaptive", "pt")
    assert not engine.policy.init_lm
    assert engine.settings.gpu_management and engine.settings.gpu_idle_timeout == 5
    apart = Engine(
        "simulated", "float32", policy="adaptive", lm_backend="pt", init_lm=False, family="tone",
        settings=settings,
    )  # fmt: skip
    assert apart.policy == engine.policy
    assert list(signature(Engine).parameters)[:-3] == list(EngineOptions.model_fields)
    assert Engine(device=said, settings=settings).settings == engine.settings
    with pytest.raises(InvalidRequest, match="one value, not two"):
        Engine("simulated", device="cuda", settings=settings)
    with pytest.raises(TypeError, match="device, dtype, model, checkpoint_dir"):
        Engine("simulated", "float32", None, None, "tone", settings=settings)
    with pytest.raises(InvalidRequest, match="dtype: 'float16'"):
        Engine(said, "float16", settings=settings)


def test_what_is_left_open_is_as_the_settings_say() -> None:
    settings = Settings(policy="adaptive", lm_backend="pt", offload=True)
    said = EngineOptions(offload=False)
    force = settings.under(said)
    assert (force.policy, force.lm_backend, force.offload) == ("adaptive", "pt", False)
    assert force.source("offload") == GIVEN
