"""A planner whose name tells no size counts as what its config says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.engine.engine import Engine
from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.language.lm_sizes import _weights, size_of_named
from headroom.models.acestep.networks.released import LMS, released_lm
from headroom.settings import Settings, load
from support.languages import copied
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]

PLAIN = Settings()
ONE = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28}
HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}


def put(place: Path, name: str, **sizes: int) -> None:
    """A folder whose config states these sizes; its weights are those of the bundled one."""
    folder = copied(place, name)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **sizes}), "utf-8")


def test_sizes_are_ordered_and_their_own() -> None:
    sizes = [_weights(released_lm(size)) for size in LMS]
    assert sizes == sorted(sizes) and [round(n / 1e9, 1) for n in sizes] == [0.7, 1.9, 4.2]


def test_the_config_tells_what_the_name_does_not(tmp_path: Path) -> None:
    put(tmp_path, "my-planner", **ONE, **HEADS)
    put(tmp_path, "my-small-one")
    put(tmp_path, "huge", **{**ONE, **HEADS, "num_hidden_layers": 100})
    named = {n: size_of_named(n, PLAIN, tmp_path) for n in ("my-planner", "my-small-one", "huge")}
    assert named == {"my-planner": "1.7B", "my-small-one": "0.6B", "huge": "4B"}
    assert size_of_named("nobody", PLAIN, tmp_path) is None
    assert size_of_named("acestep-5Hz-lm-4B", PLAIN, tmp_path) == "4B"
    (tmp_path / "my-planner" / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors"):
        size_of_named("my-planner", PLAIN, tmp_path)


def test_the_engine_uses_it_where_the_tier_allows_its_size(tmp_path: Path) -> None:
    put(tmp_path, "my-planner", **ONE, **HEADS)
    copied(tmp_path, "my-small-one")

    def opened(name: str, size: str) -> Engine:
        settings = load({"MAX_CUDA_VRAM": size, "HEADROOM_CACHE_DIR": str(tmp_path)})
        return Engine(
            "simulated", "float32", checkpoint_dir=tmp_path, lm_model=name,
            settings=settings,
        )  # fmt: skip

    small = opened("my-small-one", "8")
    assert small.model.languages == ("my-small-one",) and small.policy.lm == "0.6B"
    assert not [n for n in small.policy.notes if n.field == "lm_model"]
    large = opened("my-planner", "8")
    (note,) = (n for n in large.policy.notes if n.field == "lm_model")
    assert (note.asked, note.used) == ("my-planner", "0.6B") and "tier 4" in note.why
    assert opened("my-planner", "12").policy.lm == "1.7B"


def test_plan_counts_it_too(tmp_path: Path, cli: Cli) -> None:
    put(tmp_path, "my-planner", **ONE, **HEADS)
    words = ["plan", "x", "--thinking", "--vram", "12", "--checkpoint-dir", str(tmp_path), "--json"]
    said = cli(*words, "--lm-model", "my-planner").out
    assert '"language_model": "1.7B"' in said and "lm_model" not in said
