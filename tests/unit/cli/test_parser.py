from __future__ import annotations

import argparse

import pytest

from headroom.cli.model import offer_in_use
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.errors import InvalidRequest
from headroom.models.registry import family_named
from headroom.params.flags import mark_basic
from headroom.settings import Settings


def read(*words: str) -> object:
    parser = Parser("acestep generate", allow_abbrev=False)
    add_engine_flags(parser)
    return engine_flags(parser.parse_args(spelt(words)))


@pytest.mark.parametrize(
    ("words", "tied"),
    [
        (["--start", "-1e3"], ["--start=-1e3"]),
        (["--seeds", "-1,2"], ["--seeds=-1,2"]),
        (["--shift", "-inf"], ["--shift=-inf"]),
        (["--end", "-.5", "-o", "x"], ["--end=-.5", "-o", "x"]),
        (["--start=1", "-2"], ["--start=1", "-2"]),
        (["-o", "-1"], ["-o", "-1"]),
        (["--save_latents=a_b", "c_d"], ["--save-latents=a_b", "c_d"]),
        (["--", "-1"], ["--", "-1"]),
    ],
)
def test_negative_numbers_are_values_and_both_spellings_are_flags(
    words: list[str], tied: list[str]
) -> None:
    assert spelt(words) == tied


def test_what_is_left_out_is_left_to_the_engine() -> None:
    flags = read()
    assert flags == read("--device", "auto", "--dtype=auto")
    assert (flags.model, flags.checkpoint_dir, flags.compile, flags.threads) == (None,) * 4  # type: ignore[attr-defined]


def test_what_is_said_arrives(tmp_path: object) -> None:
    flags = read(
        "--device", "cuda:1", "--dtype", "bfloat16", "--model", "m", "--checkpoint_dir",
        str(tmp_path), "--no-compile", "--threads", "3",
    )  # fmt: skip
    found = [getattr(flags, n) for n in ("device", "dtype", "model", "compile", "threads")]
    assert found == ["cuda:1", "bfloat16", "m", False, 3]
    assert str(flags.checkpoint_dir) == str(tmp_path)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "field", "allowed"),
    [
        (["--device", "tpu"], "device", "auto, cuda, mps, xpu, cpu"),
        (["--device", "cuda:x"], "device", "auto, cuda, mps, xpu, cpu"),
        (["--device", "imagined"], "device", "auto, cuda, mps, xpu, cpu, simulated"),
        (["--policy", "free"], "policy", "published, adaptive"),
        (["--offload", "maybe"], "offload", "auto, on or off"),
        (["--quantization", "int3"], "quantization", "int8"),
        (["--lm-backend", "onnx"], "lm_backend", "vllm, pt, mlx"),
        (["--gpu-idle-timeout", "-1"], "gpu_idle_timeout", "seconds above 0"),
        (["--dtype", "int8"], "dtype", "auto, float32, bfloat16, float16"),
        (["--checkpoint-dir", "nowhere"], "checkpoint_dir", "a folder that is there"),
        (["--threads", "0"], "threads", "at least 1"),
        (["--threads", "two"], "threads", "at least 1"),
        (["--threads", "-1"], "threads", "at least 1"),
        (["--threads", "1025"], "threads", "at most 1024"),
        (["--threads", "9" * 5000], "threads", "at most 1024"),
        (["--device", "cuda:" + "9" * 5000], "device", "cuda"),
        (["--device", "cpu:0"], "device", "cpu"),
        (["--gpu-idle-timeout", "9" * 400], "gpu_idle_timeout", "seconds above 0"),
        (["--checkpoint-dir", "x" * 5000], "checkpoint_dir", "a folder that is there"),
        (["--checkpoint-dir", "~no-such-user/x"], "checkpoint_dir", "home folder"),
    ],
)
def test_what_is_wrong_is_named(words: list[str], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(*words)
    assert caught.value.field == field
    assert repr(words[1])[:70] in str(caught.value)
    assert allowed in caught.value.allowed


def test_a_parsers_fault_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser("acestep x")
    parser.add_argument("--size", type=int, choices=(1, 2))
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--size", "3"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in ("error: ", "--size", "3", "1, 2", "`acestep x --help`"))


def test_a_parsers_fault_is_one_line_whatever_was_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for odd in ("--a\nb", "--\x1b[2J", "--" + "x" * 9000):
        with pytest.raises(SystemExit):
            Parser("acestep x").parse_args([odd])
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said[:-1].isprintable() and len(said) < 700


def test_a_help_for_a_model_that_is_not_named_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        offer_in_use(family_named(), ["--help", "--model"], Settings())
    said = capsys.readouterr().err
    assert said.startswith("error: argument --model") and said.count("\n") == 1


def test_no_flag_is_a_part_of_another() -> None:
    parser = Parser("acestep x", allow_abbrev=False)
    add_engine_flags(parser)
    _, rest = parser.parse_known_args(["--dev", "cpu"])
    assert rest == ["--dev", "cpu"]
    assert isinstance(parser, argparse.ArgumentParser)


def layered() -> Parser:
    parser = Parser("acestep x", allow_abbrev=False)
    for flag, words in (("--song", "Made [one of: " + "a, " * 150 + "b]."), ("--rare", "Seldom.")):
        made = parser.add_argument(flag, help=words)
        if flag == "--song":
            mark_basic(made)
    parser.add_argument("--old", help=argparse.SUPPRESS)
    parser.in_layers()
    return parser


def test_the_short_help_has_what_most_people_need_and_names_the_long_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = " ".join(layered().format_help().split())
    assert "--song" in short and "Made [one of: a, a, a, …]." in short
    assert "--rare" not in short and "`acestep x --help-all` lists 1 more flags." in short
    parser = layered()
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--help-all"])
    long = capsys.readouterr().out
    assert caught.value.code == 0
    assert "--rare" in long and "--song" in long and "--old" not in long
    assert long.count(" a,") == 150
    assert parser.format_help() == layered().format_help()  # nothing was lost of the short one


def test_an_unknown_flag_gets_the_nearest_of_those_that_are_shown() -> None:
    said = str(layered().unknown("--rar=3"))
    assert "'3'" in said and "did you mean --rare?" in said and "--help-all" in said
    assert "--old" not in str(layered().unknown("--ol"))


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--config-path", "m"), "model", "m"),
        (("--lm-model-path", "l"), "lm_model", "l"),
        (("--offload-to-cpu",), "offload", True),
        (("--offload-dit-to-cpu",), "offload_dit", True),
    ],
)
def test_what_other_programs_call_a_flag_is_taken_everywhere(
    words: tuple[str, ...], field: str, value: object
) -> None:
    flags = read(*words)
    assert getattr(flags, field) == value
    parser = Parser("acestep x")
    add_engine_flags(parser)
    assert words[0] not in parser.format_help()
