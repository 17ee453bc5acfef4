"""A whole model of which one file is odd: it opens, with a note, or is refused before any work."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headroom import Engine, Text2Music
from headroom.cli.model import check_model
from headroom.errors import HeadroomError, InvalidCheckpoint
from headroom.models.acestep.catalogue import BUNDLED
from headroom.settings import load as load_settings
from headroom.weights.silence import FILE as SILENCE

DIT, VAE, TEXT = "acestep-v15-turbo", "vae", "Qwen3-Embedding-0.6B"
WEIGHTS = {
    DIT: "model.safetensors",
    VAE: "diffusion_pytorch_model.safetensors",
    TEXT: "model.safetensors",
}


ROUNDS = 12  # each opens a whole model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folders of a model of somebody's own: the small one under a released name."""
    for name, source in ((DIT, "acestep-v15-nano"), (VAE, VAE), (TEXT, TEXT)):
        shutil.copytree(BUNDLED / source, tmp_path / name)
    return tmp_path


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


def opened(place: Path) -> Engine:
    return Engine(device="cpu", dtype="float32", model=DIT, checkpoint_dir=place)


def song(place: Path) -> Any:
    return opened(place).generate(Text2Music(caption="a", duration=10, seed=1, inference_steps=1))


def refused(place: Path) -> str:
    with pytest.raises(InvalidCheckpoint) as error:
        song(place)
    return str(error.value)


def test_tensors_nobody_needs_are_named_in_a_note(place: Path) -> None:
    path = place / DIT / WEIGHTS[DIT]
    more = {f"ema.{n}": torch.ones(n + 1) for n in range(5)}
    save_file({f"module.{k}": v for k, v in (load_file(path) | more).items()}, path)
    notes = [note for note in opened(place).model.notes if note.field == "weights"]
    assert [note.sentence() for note in notes] == [
        f"weights: asked 5 tensors of {DIT}, not used: no network here needs "
        "ema.0, ema.1, ema.2 and 2 more."
    ]


@pytest.mark.parametrize(
    ("file", "fields", "says"),
    [
        (f"{VAE}/config.json", {"sampling_rate": 44_100}, "sampling_rate is 44100; the DiT needs"),
        (f"{VAE}/config.json", {"audio_channels": 1}, "audio_channels is 1; the DiT needs 2"),
        (f"{VAE}/config.json", {"downsampling_ratios": [2, 4, 4, 6, 8]}, "a latent frame is 1536"),
        (f"{TEXT}/config.json", {"hidden_size": 96}, "hidden_size is 96; the DiT needs 128"),
        (f"{DIT}/config.json", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        (f"{DIT}/config.json", {"hidden_size": 1 << 17}, "the network wants"),
    ],
)
def test_sizes_that_do_not_go_together_are_named(
    place: Path, file: str, fields: dict[str, object], says: str
) -> None:
    change(place / file, **fields)
    assert says in refused(place)
    if "the network wants" not in says:  # what is said of sizes alone is said without torch
        for name in (DIT, None):
            with pytest.raises(InvalidCheckpoint, match=says):
                check_model(name, place, load_settings())


def vocabulary_beyond(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["vocab"][next(iter(tokenizer["model"]["vocab"]))] = 10**9


def added_token_with_a_number_of_its_own(tokenizer: dict[str, Any]) -> None:
    tokenizer["added_tokens"][-1]["id"] = 10**9


def more_added_tokens_than_rows(tokenizer: dict[str, Any]) -> None:
    last = tokenizer["added_tokens"][-1]
    tokenizer["added_tokens"] += [
        {**last, "id": last["id"] + n, "content": f"<|more_{n}|>"} for n in range(1, 30)
    ]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (vocabulary_beyond, "tokenizer.json: ids up to 1000000000, and vocab_size"),
        (added_token_with_a_number_of_its_own, "is said to be 1000000000, and is"),
        (more_added_tokens_than_rows, "and vocab_size in config.json is 1432"),
    ],
)
def test_a_tokenizer_says_nothing_the_encoder_has_no_row_for(
    place: Path, make: Callable[[dict[str, Any]], None], says: str
) -> None:
    path = place / TEXT / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    make(tokenizer)
    path.write_text(json.dumps(tokenizer), "utf-8")
    assert says in refused(place)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[" * 200_000, "is no tokenizer"),
        (b"{}", "is no tokenizer"),
        (b"", "is no tokenizer"),
        (b"," * 5_000_000, "holds more than any tokenizer does"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
    ],
)
def test_a_tokenizer_that_is_none_is_refused(place: Path, data: bytes, says: str) -> None:
    (place / TEXT / "tokenizer.json").write_bytes(data)
    assert says in refused(place)


def test_a_mark_before_every_text_is_no_part_of_it(place: Path) -> None:
    for path in (*place.glob("*/config.json"), place / TEXT / "tokenizer.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    model = opened(place).model
    assert model.assets.tokenizer.text([0])  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has named pipes")
def test_what_lies_beside_the_weights_and_is_no_file_is_not_read(place: Path) -> None:
    from headroom.engine.record import _weights

    os.mkfifo(place / DIT / "pipe.safetensors")
    (place / DIT / "folder.pt").mkdir()
    names = [file.name for file in _weights(place / DIT)]
    assert names == ["config.json", "model.safetensors", SILENCE]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.zeros(1, 1, 1).expand(1, 64, 10**12), "out of 4 bytes"),
        (torch.zeros(1, 64, 15, dtype=torch.int64), "plain floating-point numbers"),
        (torch.zeros(64, 15), "[1, 64, frames] is needed"),
        (None, "holds a NoneType"),
    ],
)
def test_silence_that_is_none_is_refused(place: Path, value: object, says: str) -> None:
    torch.save(value, place / DIT / SILENCE)
    assert says in refused(place)


def test_any_odd_file_opens_or_is_refused_in_our_words(place: Path) -> None:
    """Bytes of one small file changed, or a field of a config: our errors and none else."""
    chance = random.Random(29)
    files = [place / DIT / "config.json", place / VAE / "config.json", place / TEXT / "config.json",
             place / TEXT / "tokenizer.json", place / DIT / SILENCE]  # fmt: skip
    heads = [place / name / file for name, file in WEIGHTS.items()]
    outcome = {True: 0, False: 0}
    for _ in range(ROUNDS):
        path = chance.choice(files + heads)
        whole = path.read_bytes()
        odd = bytearray(whole)
        end = min(len(odd), 4000)  # of a file of weights, its header
        for _ in range(chance.randint(1, 4)):
            odd[chance.randrange(end)] = chance.randrange(32, 127)
        path.write_bytes(odd)
        try:
            engine = opened(place)
            assert engine.model.assets.silence.isfinite().all()  # type: ignore[attr-defined]
            outcome[True] += 1
        except HeadroomError as error:
            str(error).encode()
            outcome[False] += 1
        path.write_bytes(whole)
    assert outcome[False] >= ROUNDS // 3, outcome
