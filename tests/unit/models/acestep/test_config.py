"""config.json as people and programs write it: odd values are read rightly, wrong ones named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.requests.variants import variant_of
from headroom.nn.config_fields import read_config
from headroom.nn.oobleck_layout import OobleckConfig

Raw = dict[str, Any]
NAN, INF = float("nan"), float("inf")


def raw(folder: str = "acestep-v15-nano") -> Raw:
    return read_config(BUNDLED / folder)


DIT, TEXT, VAE = raw(), raw("Qwen3-Embedding-0.6B"), raw("vae")
READERS: dict[str, tuple[Raw, Callable[[Raw], object]]] = {
    "dit": (DIT, lambda r: (dit_config(r), variant_of(r, "mine"))),
    "text": (TEXT, text_encoder_config),
    "vae": (VAE, OobleckConfig.parse),
}


@pytest.mark.parametrize("kind", READERS)
def test_null_is_absent_and_8_point_0_is_8(kind: str) -> None:
    good, read = READERS[kind]
    floats = {k: float(v) if type(v) is int else v for k, v in good.items()}
    assert read(floats) == read(good)
    for name in good:
        without = {k: v for k, v in good.items() if k != name}
        try:
            wanted: object = read(without)
        except InvalidCheckpoint as error:
            wanted = error.faults
        try:
            found: object = read(good | {name: None})
        except InvalidCheckpoint as error:
            found = error.faults
        assert found == wanted, name


def test_null_sizes_of_an_encoder_do_not_make_a_2b_model_an_xl_one() -> None:
    odd = DIT | {"encoder_hidden_size": None}
    assert not dit_config(odd).timbre_cls and not variant_of(odd, "mine").large


@pytest.mark.parametrize(
    ("written", "meant"),
    [("false", False), ("False", False), ("true", True), (0, False), (1, True), (1.0, None),
     ("no", None), (2, None), ([], None)],
)  # fmt: skip
def test_a_switch_is_what_it_says(written: object, meant: bool | None) -> None:
    odd = DIT | {"is_turbo": written, "is_lego_sft": written, "use_sliding_window": written}
    if meant is None:
        with pytest.raises(InvalidCheckpoint, match=r"is_turbo is .*; true or false is needed"):
            variant_of(odd, "mine")
        with pytest.raises(InvalidCheckpoint) as error:
            dit_config(odd)
        assert len(error.value.faults) == 3
        return
    config, variant = dit_config(odd), variant_of(odd, "mine")
    assert (config.turbo, config.stems, variant.stems) == (meant, meant, meant)
    assert (variant.kind == "turbo") is meant
    assert (config.windows[0] is not None) is meant


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("dit", {"num_hidden_layers": 10**9}, "is 1000000000; a whole number from 1"),
        ("dit", {"num_hidden_layers": INF}, "num_hidden_layers is inf"),
        ("dit", {"num_hidden_layers": 4.5}, r"num_hidden_layers is 4\.5"),
        ("dit", {"num_hidden_layers": 10**4000}, "num_hidden_layers is 1000"),
        ("dit", {"num_hidden_layers": True}, "num_hidden_layers is True"),
        ("dit", {"num_hidden_layers": "4"}, "num_hidden_layers is '4'"),
        ("dit", {"hidden_size": 10**18}, "hidden_size is 10"),
        ("dit", {"hidden_size": -64}, "hidden_size is -64"),
        ("dit", {"hidden_size": 0}, "hidden_size is 0"),
        ("dit", {"hidden_size": NAN}, "hidden_size is nan"),
        ("dit", {"layer_types": []}, r"layer_types is \[\]; a list of 1 to"),
        ("dit", {"layer_types": ["linear"] * 6}, "sliding_attention, full_attention is needed"),
        ("dit", {"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries for 6 layers"),
        ("dit", {"layer_types": "full_attention"}, "layer_types is 'full_attention'"),
        ("dit", {"layer_types": [["full_attention"]] * 6}, "layer_types is"),
        ("dit", {"num_key_value_heads": 4}, "num_attention_heads is 6; a multiple of"),
        ("dit", {"head_dim": 31}, "head_dim is 31; an even number"),
        ("dit", {"rms_norm_eps": NAN}, "rms_norm_eps is nan; a number from"),
        ("dit", {"rope_theta": INF}, "rope_theta is inf"),
        ("dit", {"rope_theta": None, "rope_parameters": {"rope_theta": -1}}, "rope_theta is -1"),
        ("dit", {"rope_theta": None, "rope_parameters": 7}, "rope_parameters is no object"),
        ("dit", {"fsq_input_levels": [8, True]}, "fsq_input_levels is"),
        ("dit", {"fsq_input_levels": []}, "fsq_input_levels is"),
        ("dit", {"fsq_input_levels": [8, 1]}, "whole numbers from 2"),
        ("dit", {"fsq_input_levels": [4096] * 16}, "more than 1048576 codes"),
        ("dit", {"in_channels": 100}, "in_channels is 100; song, source and mask need 192"),
        ("dit", {"model_version": ["turbo"]}, "model_version is"),
        ("text", {"vocab_size": 10**12}, "vocab_size is"),
        ("text", {"vocab_size": None}, "vocab_size is None"),
        ("vae", {"downsampling_ratios": [2] * 40}, "a list of 1 to 16"),
        ("vae", {"downsampling_ratios": [64, 64, 64, 64, 64]}, "samples a frame"),
        ("vae", {"decoder_channels": 1e300}, "decoder_channels is 1e"),
    ],
)  # fmt: skip
def test_what_no_network_has_is_named(kind: str, change: Raw, says: str) -> None:
    good, read = READERS[kind]
    with pytest.raises(InvalidCheckpoint, match=says) as error:
        read(good | change)
    assert all(len(fault) < 300 for fault in error.value.faults)


def test_every_field_at_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidCheckpoint) as error:
        dit_config(DIT | {"hidden_size": "x", "patch_size": 0, "text_hidden_dim": -1})
    said = "\n".join(error.value.faults)
    assert all(name in said for name in ("hidden_size", "patch_size", "text_hidden_dim"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xef\xbb\xbf" + json.dumps(DIT).encode(), None),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * (2 << 20), "larger than 1 MiB"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        (json.dumps(DIT).encode("utf-16"), "not UTF-8"),
        (b'"text"', "holds no object"),
        (b'{"hidden_size": ' + b"9" * 6000 + b"}", "too many digits"),
    ],
)
def test_config_json_is_read_within_bounds(tmp_path: Path, data: bytes, says: str | None) -> None:
    (tmp_path / "config.json").write_bytes(data)
    if says is None:
        assert read_config(tmp_path) == DIT
        return
    with pytest.raises(InvalidCheckpoint, match=says) as error:
        read_config(tmp_path)
    assert len(error.value.faults) == 1 and error.value.faults[0].startswith("config.json: ")


ODD: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 8.0, 8.5, 1e300, -1e300, NAN, INF, -INF, 10**9, 10**18,
    10**400, "", "false", "8", "\x1b[31m", "\ud800", [], [1], [[]], [NAN], [0], [-1], ["a"],
    [8] * 99,
    {}, {"a": 1}, {"rope_theta": "x"}, ["sliding_attention"] * 200, ["full_attention"],
)  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_any_config_is_read_or_refused_in_our_words(kind: str) -> None:
    good, read = READERS[kind]
    chance = random.Random(11)
    names = [*good, "rope_parameters", "encoder_hidden_size", "encoder_num_key_value_heads"]
    refused = 0
    for _ in range(1500):
        odd = dict(good)
        for name in chance.sample(names, chance.randint(1, 3)):
            odd[name] = chance.choice(ODD)
        if chance.random() < 0.2:
            odd.pop(chance.choice(list(odd)))
        try:
            read(odd)
        except InvalidCheckpoint as error:
            refused += 1
            str(error).encode()  # it can be printed
    assert 300 < refused < 1500
