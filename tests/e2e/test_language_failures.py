"""Language models that cannot be used, and numbers that are none: one clear error each, through
the Python API and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headroom import Engine, Text2Music
from headroom.errors import HeadroomError, InvalidCheckpoint, LanguageModelFailed, WeightsMissing
from headroom.lm.decode import Writing, generate
from headroom.lm.sample import Sampling
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.requests.language_requests import CreateSample, Score
from support.languages import LARGE, SMALL, WEIGHTS, broken_numbers, copied, huge_activations
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
THINK = ("generate", "x", "--thinking", "--duration", "10", "--inference-steps", "1", "--quiet")


def asked(**said: object) -> Text2Music:
    plain = {"caption": "x", "thinking": True, "duration": 10, "inference_steps": 1, "seed": 1}
    return Text2Music.model_validate({**plain, "use_cot_caption": False, **said})


# --- numbers that are none -----------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        lambda engine: engine.generate(asked()),
        lambda engine: engine.generate(asked(use_cot_metas=False, use_cot_language=False)),
        lambda engine: engine.perform(CreateSample(caption="rain")),
        lambda engine: engine.perform(Score(audio_codes="1,2,3", bpm=90)),
    ],
    ids=["a sheet", "codes", "a text", "a score"],
)
def test_what_is_no_number_ends_in_one_error(
    work: Callable[[Engine], object], tmp_path: Path
) -> None:
    copied(tmp_path, SMALL, broken_numbers)
    with pytest.raises(LanguageModelFailed) as failed:
        work(Engine("cpu", "bfloat16", checkpoint_dir=tmp_path))
    said = str(failed.value)
    assert SMALL in said and "bfloat16" in said and "--dtype float32" in said
    with pytest.raises(LanguageModelFailed, match="models verify"):
        work(Engine("cpu", "float32", checkpoint_dir=tmp_path))


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_the_loop_goes_on_and_the_first_token_that_is_none_is_known(
    penalty: float, tmp_path: Path
) -> None:
    """Nobody waits for the device to know: what is drawn is outside the codes, and can be read."""
    language = Language(SMALL, copied(tmp_path, SMALL), "float32")
    model, words = language.load(torch.float32), language.words
    prompts = (words.ids("a"), words.ids("b"))
    writing = Writing(prompts, None, 8, words.codes, Sampling(0.85, 0, 0.9, penalty))
    layer = model.layers[0].mlp  # type: ignore[union-attr,index]

    def later(module: object, given: object, out: torch.Tensor) -> None:
        if calls.append(0) or len(calls) == 6:  # the two prompts, then a call a step
            out[1] = torch.nan

    calls: list[int] = []
    layer.register_forward_hook(later)
    with torch.inference_mode():
        found = generate(
            model, writing, torch.full((2, 8), 0.5), torch.device("cpu"), lambda a, b: None  # type: ignore[arg-type]
        )  # fmt: skip
    codes = found - words.codes.start
    assert (codes[0] >= 0).all() and (codes[1] >= 0).tolist() == [True] * 4 + [False] * 4
    assert (codes[1, 4:] == -1).all()


def test_an_overflow_on_the_command_line_is_one_line(cli: Cli, home: Path) -> None:
    copied(home / "checkpoints", SMALL, broken_numbers)
    done = cli(*THINK, "--dtype", "bfloat16", "-o", "song.wav")
    assert done.code == 1 and done.out == "" and done.err.count("\n") == 1
    assert SMALL in done.err and "--dtype float32" in done.err
    assert not (home / "song.wav").exists()


@pytest.mark.ci
def test_half_precision_is_not_for_the_language_model(tmp_path: Path) -> None:
    """Its activations reach two millions; float16 ends at 65504, and there is nothing after it."""
    folder = copied(tmp_path, SMALL, huge_activations)
    language = Language(SMALL, folder, "float16")
    assert language.dtype == "float32" and [n.field for n in language.notes] == ["dtype"]
    words = language.words
    writing = Writing((words.ids("a"),), None, 3, words.codes, Sampling(0.85, 0, 0.9, 1.0))

    def codes(dtype: torch.dtype) -> torch.Tensor:
        with torch.inference_mode():
            return generate(
                language.load(dtype), writing, torch.full((1, 3), 0.5), torch.device("cpu"),  # type: ignore[arg-type]
                lambda a, b: None,
            ) - words.codes.start  # fmt: skip

    assert (codes(torch.float16) == -1).all() and (codes(torch.float32) >= 0).all()
    half = Engine("cpu", "float16", checkpoint_dir=tmp_path)
    result = half.generate(asked())
    assert [n.used for n in result.notes if n.field == "dtype"] == ["float32"]
    assert half.plan(asked()).placement(SMALL).precision == "float32"
    assert half.plan(asked()).placement("dit").precision == "float16"
    whole = Engine("cpu", "float32", checkpoint_dir=tmp_path).generate(asked())
    assert result.songs[0].codes == whole.songs[0].codes  # type: ignore[attr-defined]
    assert np.isfinite(np.asarray(result.audio.samples)).all()


# --- folders that are none -----------------------------------------------------------------


def torn_weights(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def a_shard_is_missing(folder: Path) -> None:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    (folder / WEIGHTS).rename(folder / names[0])
    index = {"weight_map": {"norm.weight": names[0], "layers.1.mlp.up_proj.weight": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def torn_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {', "utf-8")


def no_tokenizer_at_all(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}', "utf-8")


def no_codes(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(text.replace("audio_code_0|", "other_code_0|"), "utf-8")


def another_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["model_type"] = "llama"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def other_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


FAULTS: dict[Callable[[Path], None], str] = {
    torn_weights: "model.safetensors",
    no_weights: "no weights",
    a_shard_is_missing: "model-00002-of-00002.safetensors: missing",
    no_tokenizer: "tokenizer.json: missing",
    torn_tokenizer: "tokenizer.json",
    no_tokenizer_at_all: "tokenizer.json",
    no_codes: "tokenizer.json",
    another_architecture: "model_type is 'llama'",
    other_sizes: "layers.2",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("named", [True, False], ids=["named", "found"])
def test_a_folder_that_cannot_be_used_is_named_with_its_fault(
    fault: Callable[[Path], None], named: bool, tmp_path: Path
) -> None:
    """Also where nobody named it: the bundled one never stands in for a damaged one."""
    folder = copied(tmp_path, SMALL)
    fault(folder)
    name = SMALL if named else None
    for work in (
        lambda engine: engine.generate(asked()),
        lambda engine: engine.perform(CreateSample(caption="rain")),
    ):
        with pytest.raises(InvalidCheckpoint) as failed:
            work(Engine("cpu", checkpoint_dir=tmp_path, lm_model=name))
        assert str(folder) in str(failed.value) and FAULTS[fault] in str(failed.value)


def test_who_asks_for_no_language_model_is_not_bothered(tmp_path: Path) -> None:
    no_tokenizer(copied(tmp_path, SMALL))
    result = Engine("cpu", checkpoint_dir=tmp_path).generate(asked(thinking=False))
    assert result.audio.seconds == pytest.approx(10)


def test_a_whole_one_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    copied(tmp_path, SMALL)
    no_weights(copied(tmp_path, LARGE))
    engine = Engine("cpu", checkpoint_dir=tmp_path)
    assert engine.model.languages == (SMALL,)  # type: ignore[attr-defined]


def test_one_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="it is empty"):
        Engine("cpu", checkpoint_dir=tmp_path, lm_model=LARGE).generate(asked())
    copied(tmp_path, SMALL)
    engine = Engine("cpu", checkpoint_dir=tmp_path, lm_model=LARGE)
    for work in (
        lambda: engine.generate(asked()),
        lambda: engine.perform(CreateSample(caption="rain")),
        lambda: engine.perform(Score(audio_codes="1,2", bpm=90)),
    ):
        with pytest.raises(WeightsMissing, match=f"models download {LARGE}"):
            work()


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (None, 1, f"model '{LARGE}' is not installed"),
        (a_shard_is_missing, 2, "model-00002-of-00002.safetensors: missing"),
        (another_architecture, 2, "model_type is 'llama'"),
    ],
    ids=["missing", "partial", "another"],
)
def test_the_command_line_says_the_same(
    fault: Callable[[Path], None] | None, code: int, said: str, cli: Cli, home: Path
) -> None:
    place = home / "checkpoints"
    if fault is not None:
        fault(copied(place, LARGE))
    for words in ((*THINK, "-o", "song.wav"), ("compose", "rain"), ("understand", "1,2,3")):
        done = cli(*words, "--lm-model", LARGE)
        assert (done.code, done.out) == (code, "") and said in done.err, done.err
    assert not (home / "song.wav").exists()


def test_what_fails_here_is_one_tree() -> None:
    for kind in (InvalidCheckpoint, WeightsMissing, LanguageModelFailed):
        assert issubclass(kind, HeadroomError)
    assert LanguageModelFailed.exit_code == 1
