"""Weight files that nobody made by saving a model: refused in our words, soon, in little memory."""

from __future__ import annotations

import json
import os
import random
import re
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.catalogue import VAE_KIND
from headroom.weights.catalog import inspect
from headroom.weights.header import LARGEST_HEADER, TornFile, read_header, weight_files
from headroom.weights.load import Checkpoint, Recipe, check_complete, load_weights

FILE = "model.safetensors"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 4)
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))


def meta() -> Net:
    with torch.device("meta"):
        return Net()


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {
        "proj.weight": torch.randn(4, 3),
        "proj.bias": torch.randn(4),
        "count": torch.tensor([3, 5]),
    }


def put(folder: Path, values: dict[str, Tensor], name: str = FILE) -> Checkpoint:
    save_file(values, folder / name)
    return Checkpoint.open(folder)


def raw(folder: Path, header: object, data: bytes = b"") -> Path:
    """A file with this header: as JSON, or bytes as they are."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / FILE
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def entry(shape: object, start: object, stop: object, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


# --- kinds of numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "odd", "says"),
    [
        ("proj.bias", torch.ones(4, dtype=torch.int32), "whole numbers in the file, .* floating"),
        ("proj.bias", torch.ones(4, dtype=torch.uint8), "whole numbers"),
        ("proj.bias", torch.ones(4, dtype=torch.bool), "booleans in the file"),
        ("proj.weight", torch.ones(4, 3, dtype=torch.complex64), "complex numbers in the file"),
        ("count", torch.ones(2), "floating-point numbers in the file, .* whole numbers"),
        ("count", torch.ones(2, dtype=torch.bool), "booleans in the file"),
    ],
)
def test_the_kind_of_numbers_is_checked_as_the_shape_is(
    tmp_path: Path, key: str, odd: Tensor, says: str
) -> None:
    checkpoint = put(tmp_path, tensors() | {key: odd})
    net = meta()
    for check in (
        lambda: load_weights(net, checkpoint),
        lambda: check_complete(checkpoint, {"": net}),
    ):
        with pytest.raises(InvalidCheckpoint, match=f"{key}: {says}") as error:
            check()
        assert len(error.value.faults) == 1
    assert all(p.is_meta for p in net.parameters())


def test_the_kind_is_checked_of_what_stands_alone_and_of_what_a_recipe_is_made_of(
    tmp_path: Path,
) -> None:
    checkpoint = put(tmp_path, {"w": torch.ones(4, 3, dtype=torch.int8)})
    with pytest.raises(InvalidCheckpoint, match="w: whole numbers"):
        checkpoint.expect("w", (4, 3))
    with pytest.raises(InvalidCheckpoint, match="w: whole numbers"):
        check_complete(checkpoint, {}, tensors={"w": (4, 3)})

    def halved(name: str) -> Recipe:
        return Recipe(("w",), lambda value: value / 2)

    with torch.device("meta"):
        net = nn.Linear(3, 4, bias=False)
    with pytest.raises(InvalidCheckpoint, match="w: whole numbers"):
        load_weights(net, checkpoint, recipes=halved)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.float8_e4m3fn])
def test_any_floating_point_numbers_are_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    values = tensors()
    values["proj.bias"] = torch.tensor([1.0, 0.5, -2.0, 0.0]).to(dtype)
    net = meta()
    load_weights(net, put(tmp_path, values), dtype=torch.float32)
    assert net.proj.bias.tolist() == [1.0, 0.5, -2.0, 0.0]


def test_8_bit_weights_with_scales_beside_them_are_not_taken_without(tmp_path: Path) -> None:
    values = tensors()
    values["proj.weight"] = values["proj.weight"].to(torch.float8_e4m3fn)
    checkpoint = put(tmp_path, values | {"proj.weight_scale": torch.ones(1)})
    with pytest.raises(InvalidCheckpoint, match=r"proj\.weight_scale: 8-bit weights with scales"):
        check_complete(checkpoint, {"": meta()})


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda key: f"module.{key}",
        lambda key: f"_orig_mod.{key}",
        lambda key: f"module._orig_mod.{key}",
        lambda key: f"_orig_mod.module.{key}",
        lambda key: f"_orig_mod.model.{key}",
        lambda key: key.replace("proj.", "proj._orig_mod."),
    ],
)
def test_what_training_wraps_around_names_is_taken_off(
    tmp_path: Path, wrapped: Callable[[str], str]
) -> None:
    values = tensors()
    net = meta()
    load_weights(net, put(tmp_path, {wrapped(key): value for key, value in values.items()}))
    assert torch.equal(net.proj.weight, values["proj.weight"])


def test_a_head_is_wrapped_as_the_rest_is(tmp_path: Path) -> None:
    values = {"_orig_mod.model.norm": torch.ones(2), "_orig_mod.lm_head.weight": torch.ones(3)}
    assert set(put(tmp_path, values).stored) == {"norm", "lm_head.weight"}


def test_one_name_wrapped_and_not_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"a: there twice"):
        put(tmp_path, {"a": torch.ones(1), "module.a": torch.zeros(1)})


def test_tensors_nobody_needs_are_given_back_and_stop_nothing(tmp_path: Path) -> None:
    values = tensors() | {"rotary.inv_freq": torch.ones(3), "ema.steps": torch.tensor(4)}
    checkpoint, net = put(tmp_path, values), meta()
    assert check_complete(checkpoint, {"": net}) == ("ema.steps", "rotary.inv_freq")
    load_weights(net, checkpoint)
    assert torch.equal(net.proj.bias, values["proj.bias"])


def test_names_in_faults_can_be_printed_and_are_short(tmp_path: Path) -> None:
    names = ["a\x1b[31m", "b" * 5000, "c\ud800"]
    head = {name: entry([], 4 * i, 4 * i + 4) for i, name in enumerate(names)}
    raw(tmp_path, head, bytes(12))
    with pytest.raises(InvalidCheckpoint) as error:
        check_complete(Checkpoint.open(tmp_path), {"": meta()})
    said = str(error.value)
    said.encode()
    assert "\x1b" not in said and all(len(fault) < 300 for fault in error.value.faults)


# --- shards without an index -----------------------------------------------------------------


def shard(number: int, count: int = 2, stem: str = "model") -> str:
    return f"{stem}-{number:05d}-of-{count:05d}.safetensors"


def test_shards_are_found_without_an_index(tmp_path: Path) -> None:
    values = tensors()
    save_file({"proj.weight": values["proj.weight"]}, tmp_path / shard(1))
    save_file({"proj.bias": values["proj.bias"], "count": values["count"]}, tmp_path / shard(2))
    net = meta()
    load_weights(net, Checkpoint.open(tmp_path))
    assert torch.equal(net.proj.weight, values["proj.weight"])
    assert weight_files(tmp_path) == (shard(1), shard(2))
    (tmp_path / "config.json").write_text("{}")
    assert inspect(tmp_path, VAE_KIND) == ()


def test_a_shard_that_the_names_promise_is_missed(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / shard(2, 3))
    with pytest.raises(InvalidCheckpoint) as error:
        Checkpoint.open(tmp_path)
    assert error.value.faults == (f"{shard(1, 3)}: missing", f"{shard(3, 3)}: missing")
    assert f"{shard(1, 3)}: missing" in inspect(tmp_path, VAE_KIND)


def test_shards_that_are_not_one_set_are_refused(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / shard(1))
    save_file(tensors(), tmp_path / shard(2))
    with pytest.raises(InvalidCheckpoint, match=f"count: in {shard(1)} and in {shard(2)}"):
        Checkpoint.open(tmp_path)
    save_file(tensors(), tmp_path / shard(1, 2, "other"))
    with pytest.raises(InvalidCheckpoint, match="not one set of up to 1000 shards, and no index"):
        Checkpoint.open(tmp_path)


def test_names_cannot_promise_more_shards_than_a_model_has(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / shard(1, 99_999))
    with pytest.raises(TornFile, match="not one set of up to 1000"):
        weight_files(tmp_path)


# --- headers ---------------------------------------------------------------------------------


def fault_of(path: Path) -> str:
    with pytest.raises(TornFile) as error:
        read_header(path)
    said = str(error.value)
    said.encode()
    assert "\n" not in said and len(said) < 400
    return said


def test_a_header_of_a_million_tensors_is_not_read(tmp_path: Path) -> None:
    one = b'"name":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
    path = raw(tmp_path, b"{" + one * 1_000_000 + b"}")
    tracemalloc.start()
    said = fault_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "a header of" in said and "more than any model has" in said
    assert peak < 1 << 20


def test_the_largest_header_that_is_read_takes_less_than_100_mb(tmp_path: Path) -> None:
    one = b'"%x":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]}'
    rows = [one % (n, n, n + 1) for n in range(2000)]
    head = b"{" + b",".join(rows) + b"}"
    path = raw(tmp_path, head, bytes(len(rows)))
    tracemalloc.start()
    assert len(read_header(path).entries) == len(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak * LARGEST_HEADER / len(head) < 100e6


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"a": entry([10**18], 0, 4 * 10**18)}, "cut off"),
        ({"a": entry([10**18] * 8, 0, 4)}, "which cannot be"),
        ({"a": entry([10**30], 0, 4 * 10**30)}, "which cannot be"),
        ({"a": entry([10**4200], 0, 4)}, "which cannot be"),
        ({"a": entry([2] * 5000, 0, 4)}, "which cannot be"),
        ({"a": entry([1], 4, 0)}, "which cannot be"),
        ({"a": entry([1], -4, 0)}, "which cannot be"),
        ({"a": entry([1], 0.0, 4.0)}, "which cannot be"),
        ({"a": entry([True], 0, 4)}, "which cannot be"),
        ({"a": entry([float("nan")], 0, 4)}, "which cannot be"),
        ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, "a gap or an overlap"),
        ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, "a gap or an overlap"),
        ({"a": entry([1], 4, 8)}, "a gap or an overlap"),
        ({"a": entry([1], 0, 4, ["F32"])}, "which cannot be"),
        ({"a": entry([1], 0, 4, "F4")}, "which cannot be"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, "which cannot be"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, "which cannot be"),
        ({"a": None}, "which cannot be"),
        ({"a\x1b[2J" * 1000: 7}, "which cannot be"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", "which cannot be"),
        (b"\xff\xfe{}", "not JSON|UTF-8"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
        (b"null", "no object"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_are_a_sentence(tmp_path: Path, header: object, says: str) -> None:
    assert re.search(says, fault_of(raw(tmp_path, header, bytes(4))))


def test_a_pointer_of_git_lfs_is_called_that(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    with pytest.raises(InvalidCheckpoint, match=rf"{FILE}: is a git-lfs pointer"):
        Checkpoint.open(tmp_path)
    assert any("git-lfs" in fault for fault in inspect(tmp_path, VAE_KIND))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has named pipes")
def test_a_pipe_is_no_weight_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    assert fault_of(tmp_path / FILE) == f"{FILE}: is a pipe, not a file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xef\xbb\xbf" + b'{"weight_map": {"a": "x/../y.safetensors"}}', "not in a shard here"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"weight_map": {"a\x1b": 3}}', "not JSON"),
        (b" " * (3 << 20), "larger than 2 MiB"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
    ],
)
def test_an_index_is_read_within_bounds(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / f"{FILE}.index.json").write_bytes(text)
    with pytest.raises(InvalidCheckpoint, match=says):
        Checkpoint.open(tmp_path)


VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1, 4, 4.0, 10**9, 10**18, 2**63, 10**40, float("nan"), float("inf"), "F32",
    "C64", "I64", "BOOL", "F4", "", [], [0], [1], [-1], [10**18], [0, 4], [4, 0], [0, 10**18],
    [[1]], [1] * 40, {}, {"dtype": "F32"}, "\ud800\x1b",
)  # fmt: skip


PREFIXES = ("module.", "_orig_mod.", "", "x.", "model.")


def mutated(head: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A header of which one to three places hold something else."""
    odd: dict[str, Any] = json.loads(json.dumps(head))
    for _ in range(chance.randint(1, 3)):
        key = chance.choice(list(odd)) if odd else "proj.bias"
        place = chance.randrange(6)
        if place == 0:
            odd.pop(key, None)
        elif place == 1:
            odd[chance.choice(PREFIXES) + key] = odd.get(key)
        elif place == 2:
            odd[key] = chance.choice(VALUES)
        elif isinstance(odd.get(key), dict):
            odd[key][chance.choice(("dtype", "shape", "data_offsets"))] = chance.choice(VALUES)
    return odd


def test_any_header_and_any_bytes_are_loaded_or_refused_in_our_words(tmp_path: Path) -> None:
    put(tmp_path, tensors())
    whole = (tmp_path / FILE).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    head, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    chance = random.Random(17)
    refused = 0
    for round_ in range(450):
        if round_ % 3:
            raw(tmp_path, mutated(head, chance), data)
        else:
            torn = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                torn[chance.randrange(8 + length)] = chance.randrange(256)
            (tmp_path / FILE).write_bytes(torn)
        try:
            load_weights(
                meta(), Checkpoint.open(tmp_path), dtype=chance.choice((None, torch.bfloat16))
            )
        except InvalidCheckpoint as error:
            refused += 1
            str(error).encode()
    assert 200 < refused < 450
