"""A planner language model's folder as transformers saves it, read by us and by transformers.

The released files hold the inner model's keys, without `model.` and without a head; others hold
both. All are the same network, and its head is its table.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import Sheet
from headroom.nn.causal import CausalLM
from support import lm_texts
from support.lm_tokenizer import CODES, VALID
from support.near import assert_agrees, table, twice
from support.tiny_lm import FIRST, LAYERS, WORDS, Layout, random_ids, write_folder

LAYOUTS: tuple[Layout, ...] = ("flat", "prefixed", "sharded")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Path]:
    place = tmp_path_factory.mktemp("language models")
    return {layout: write_folder(place / layout, layout) for layout in LAYOUTS}


def opened(folder: Path) -> CausalLM:
    model = Language("tiny", folder, "float32").load(torch.float32)
    assert isinstance(model, CausalLM)
    return model


@torch.inference_mode()
def logits(model: CausalLM, tokens: tuple[int, ...]) -> Tensor:
    return model.logits(model(torch.tensor(tokens), [len(tokens)]), slice(0, WORDS))


def keys(folder: Path) -> set[str]:
    return {key for file in folder.glob("*.safetensors") for key in load_file(file)}


def test_the_folders_are_laid_out_as_they_are_named(folders: dict[Layout, Path]) -> None:
    flat, prefixed = keys(folders["flat"]), keys(folders["prefixed"])
    assert "embed_tokens.weight" in flat and "layers.0.mlp.up_proj.weight" in flat
    assert {f"model.{key}" for key in flat} == prefixed == keys(folders["sharded"])
    assert len(flat) == 2 + 11 * LAYERS
    assert len(list(folders["sharded"].glob("*.safetensors"))) > 2


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.inference_mode()
def test_logits_are_those_of_transformers(folders: dict[Layout, Path], layout: Layout) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(folders[layout], dtype=torch.float32).eval()
    table(theirs.model.rotary_emb.inv_freq)
    ours = opened(folders[layout])
    assert torch.equal(logits(ours, (1, 2, 3)), logits(opened(folders["flat"]), (1, 2, 3)))
    for seed in range(5):
        tokens = random_ids(40, seed)
        expected, exact = twice(lambda t=tokens: theirs(torch.tensor([t])).logits[0])
        assert_agrees(logits(ours, tokens), expected, exact, seed)
    assert float(expected.std()) > 0.5


def test_a_head_of_its_own_in_the_file_is_the_table(
    folders: dict[Layout, Path], tmp_path: Path
) -> None:
    """Some converters write the tied head out; it is not read a second time."""
    for file in folders["prefixed"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    save_file(state, tmp_path / "model.safetensors")
    tokens = random_ids(20, 9)
    assert torch.equal(logits(opened(tmp_path), tokens), logits(opened(folders["flat"]), tokens))


def test_ids_are_those_of_transformers(folders: dict[Layout, Path]) -> None:
    theirs = AutoTokenizer.from_pretrained(folders["flat"])
    words = Language("tiny", folders["flat"], "float32").words
    sheet = Sheet(120, lm_texts.THOUGHT_CAPTION, 240, None, "F# minor", "no", "6").text()
    for text in (*lm_texts.PROMPTS.values(), *lm_texts.TARGETS.values(), sheet, "  \n\n x"):
        text = text.replace("63999", "63").replace("517", "51")
        assert list(words.ids(text)) == theirs(text, add_special_tokens=False)["input_ids"]
        assert words.decode(words.ids(text)) == text
    assert (words.end, words.codes.start) == (theirs.eos_token_id, FIRST)
    assert words.codes == slice(FIRST, FIRST + CODES)
    assert LMVocabulary.open(folders["flat"], VALID).codes == slice(FIRST, FIRST + VALID)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"num_hidden_layers": LAYERS + 1}, r"layers\.2"),
        ({"hidden_size": 96}, "embed_tokens"),
        ({"vocab_size": WORDS + 1}, "embed_tokens"),
    ],
)
def test_a_folder_that_is_not_what_it_says_is_refused(
    folders: dict[Layout, Path], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    for file in folders["flat"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | change), "utf-8")
    with pytest.raises(InvalidCheckpoint, match=said):
        Language("tiny", tmp_path, "float32")


def test_more_codes_than_rows_are_refused(folders: dict[Layout, Path], tmp_path: Path) -> None:
    for file in folders["flat"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state["embed_tokens.weight"] = state["embed_tokens.weight"][: WORDS - 1].clone()
    save_file(state, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": WORDS - 1}), "utf-8")
    with pytest.raises(InvalidCheckpoint, match=f"codes up to {WORDS}, and {WORDS - 1} rows"):
        _ = Language("tiny", tmp_path, "float32").words
