"""What the watched heads look at, beside the reference's modules and beside a whole forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.diffusion.noise import draw_noise
from headroom.engine.engine import Engine
from headroom.errors import InvalidRequest
from headroom.models.acestep.networks.config import AceStepConfig
from headroom.models.acestep.networks.dit import DiTLayer
from headroom.models.acestep.networks.released import DIT_2B, DIT_XL, dit_config
from headroom.models.acestep.requests.songs import Cover, Text2Music
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.models.acestep.timestamps import timestamps
from headroom.models.acestep.timestamps.alignment import Consensus, probabilities
from headroom.models.acestep.timestamps.timestamps import (
    HEADS,
    check_heads,
    heads_of,
    timing,
)
from headroom.settings import load
from support import synth
from support.near import assert_agrees, twice
from support.oracle import Oracle, Tree
from support.ours import Ours, load_ours, made_exactly

Trees = Callable[..., Tree]
WORDS = "[Verse]\nla la\nthe sea"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@torch.no_grad()
def looked_at(oracle: Oracle, x: Tensor, t: float, context: Tensor, rows: Tensor) -> list[Tensor]:
    """Cross-attention of every layer [H, S, L], worked out from what the reference's own layers
    were given while it went through all of them."""
    found: list[Tensor] = []

    def hook(module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        ask = args[0] if args else kwargs["hidden_states"]
        own = kwargs["encoder_hidden_states"]
        q = module.norm_q(module.to_q(ask).unflatten(-1, (module.heads, -1)))
        k = module.norm_k(module.to_k(own).unflatten(-1, (module.kv_heads, -1)))
        k = k.repeat_interleave(module.heads // module.kv_heads, dim=2)
        logits = torch.einsum("bshd,blhd->bhsl", q, k) * module.scaling
        found.append(logits.softmax(-1)[0])

    layers = oracle.networks.dit.layers
    handles = [n.cross_attn.register_forward_pre_hook(hook, with_kwargs=True) for n in layers]
    try:
        oracle.dit(x, [t], context, rows)
    finally:
        for handle in handles:
            handle.remove()
    assert len(found) == len(layers)
    return found


@pytest.fixture(scope="module", params=["2b-like", "xl-like"])
def pair(request: pytest.FixtureRequest, trees: Trees) -> tuple[Ours, Oracle]:
    tree = trees(request.param)
    return load_ours(tree), tree.oracle


@torch.no_grad()
@pytest.mark.parametrize("frames", [13, 61, 64])
@pytest.mark.parametrize("layers", [1, 3, 4])
def test_the_first_layers_look_where_the_reference_does(
    pair: tuple[Ours, Oracle], frames: int, layers: int
) -> None:
    ours, oracle = pair
    x, context, rows = random(1, frames, 8), random(1, frames, 16), random(1, 11, 48)
    theirs, exact = twice(lambda: looked_at(oracle, x, 0.125, context, rows))
    layout = ours.dit.layout([frames])
    modulation, _ = ours.dit.modulation(*ours.time((0.125,))).at(0)
    cross = ours.dit.condition(rows[0], [11], layers=layers)
    assert len(cross.keys) == layers
    fixed = ours.context(context, layout)
    seen = list(ours.dit.queries(x, fixed, modulation, cross, layout))
    assert len(seen) == layers
    for layer, q in enumerate(seen):
        for head in range(ours.config.dit.heads):
            found = probabilities(q, cross.keys[layer], head, slice(0, 11))
            assert_agrees(found, theirs[layer][head], exact[layer][head], (layer, head))


@torch.no_grad()
def test_nothing_is_computed_beyond_the_last_watched_layer(
    pair: tuple[Ours, Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a whole forward up to there; of the last layer its question, and no more."""
    ours, _ = pair
    x, context, rows = random(1, 40, 8), random(1, 40, 16), random(1, 9, 48)
    layout = ours.dit.layout([40])
    modulation = ours.dit.modulation(*ours.time((0.2,))).at(0)
    fixed, whole = ours.context(context, layout), ours.cross([rows[0]])
    called: list[str] = []
    asked: list[Tensor] = []

    def watch(name: str) -> None:
        plain = getattr(DiTLayer, name)

        def call(*args: object) -> Tensor:
            called.append(name)
            out: Tensor = plain(*args)
            if name == "ask":
                asked.append(out)
            return out

        monkeypatch.setattr(DiTLayer, name, call)

    for name in ("ask", "feed_forward"):
        watch(name)
    ours.dit(x, fixed, modulation, whole, layout)
    before, every = list(asked), called.count("feed_forward")
    assert every == ours.config.dit_layers == 4
    called.clear()
    cross = ours.dit.condition(rows[0], [9], layers=3)
    seen = list(ours.dit.queries(x, fixed, modulation[0], cross, layout))
    assert called == ["ask", "feed_forward"] * 2 + ["ask"]
    for q, expected in zip(seen, before, strict=False):
        assert torch.equal(q, expected)


# --- a song --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines(trees: Trees) -> Callable[[str], tuple[Engine, Tree]]:
    made: dict[str, tuple[Engine, Tree]] = {}

    def get(size: str) -> tuple[Engine, Tree]:
        if size not in made:
            tree = trees(size)
            engine = Engine("cpu", "float32", tree.name, tree.root, settings=load({}, None))
            made[size] = engine, tree
        return made[size]

    return get


@pytest.mark.parametrize("size", ["2b-like", "xl-like"])
@pytest.mark.parametrize("task", ["text2music", "cover"])
def test_a_song_is_watched_as_it_was_made(
    size: str,
    task: str,
    engines: Callable[[str], tuple[Engine, Tree]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the finished song to every head's matrix: noise, level, context, rows, and the cut."""
    engine, tree = engines(size)
    words = {"caption": "x", "lyrics": WORDS, "inference_steps": 3, "seed": 5}
    if task == "cover":
        path = tmp_path / "source.wav"
        Audio(torch.from_numpy(synth.song(3.0)), 48_000).save(path, "wav32")  # shorter than it may
        result = engine.generate(Cover(source_audio=path, audio_cover_strength=0.5, **words))
    else:
        result = engine.generate(Text2Music(duration=10.12, **words))
    song = result.songs[0]
    assert isinstance(song, Song)
    seen: list[Tensor] = []
    plain = Consensus.add

    def add(self: Consensus, shares: Tensor) -> None:
        seen.append(shares)
        plain(self, shares)

    monkeypatch.setattr(Consensus, "add", add)
    found = engine.timestamps(result)
    assert [line.text for line in found.lines] == ["la la", "the sea"]

    kept = {name: rows[0] for name, rows in result.kept.items()}
    frames, level = song.frames, 1 / 3
    noise = draw_noise([42], [frames], 8)
    x = level * noise + (1 - level) * kept["latents"][:frames].unsqueeze(0)
    context = kept["context"][:frames].unsqueeze(0)
    rows = kept["condition"][kept["condition_mask"]].unsqueeze(0)
    theirs, exact = twice(lambda: looked_at(tree.oracle, x, level, context, rows))
    head = len(b"# Languages\nunknown\n\n# Lyric\n")  # a token a byte
    lyrics, tokens = slice(head, head + len(WORDS)), -(-song.kept // 2)
    assert tokens < len(theirs[0][0]) if task == "cover" else tokens == len(theirs[0][0])
    config = dit_config(tree.sizes.dit.config())
    watched = [(n, h) for n, heads in heads_of(config).items() for h in heads]
    assert len(seen) == len(watched) > 4
    for ours, (n, h) in zip(seen, watched, strict=True):
        assert_agrees(ours, *(all_of[n][h][:tokens, lyrics] for all_of in (theirs, exact)))


@pytest.mark.ci
def test_the_condition_that_is_kept_is_each_songs_own(
    engines: Callable[[str], tuple[Engine, Tree]],
) -> None:
    engine, _ = engines("2b-like")
    asked = [
        Text2Music(caption="x", lyrics=words, duration=10, inference_steps=1, seeds=seeds)
        for words, seeds in (("la la la la", (1, 2)), ("the sea", (3,)))
    ]
    together = engine.generate_batch(asked)
    for request, result in zip(asked, together, strict=True):
        alone, true = engine.generate(request), made_exactly(engine, request)
        for i in range(len(result.songs)):
            own = alone.kept["condition_mask"][i]
            rows, exact = (made.kept["condition"][i][own] for made in (alone, true))
            mask = result.kept["condition_mask"][i]
            assert int(mask.sum()) == int(own.sum()) > 0
            assert_agrees(result.kept["condition"][i][mask], rows, exact, i)
            assert not result.kept["condition"][i][~mask].any()
            assert torch.equal(result.kept["context"][i], alone.kept["context"][i])


def test_noise_is_drawn_as_the_songs_was(
    engines: Callable[[str], tuple[Engine, Tree]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = engines("2b-like")
    seen: list[Tensor] = []

    def renoise(clean: Tensor, noise: Tensor, level: float) -> Tensor:
        seen.append(noise)
        return clean

    monkeypatch.setattr(timestamps, "renoise", renoise)
    asked = Text2Music(lyrics=WORDS, duration=10, inference_steps=1)
    for noise in ("headroom", "official"):
        engine.timestamps(engine.generate(asked.model_copy(update={"noise": noise})))
    generator = torch.Generator().manual_seed(42)
    assert torch.equal(seen[0], draw_noise([42], [250], 8))
    assert torch.equal(seen[1], torch.randn(1, 250, 8, generator=generator))


# --- which heads ---------------------------------------------------------------------------


def test_the_published_heads_and_what_stands_in_for_them() -> None:
    two, xl = dit_config(dict(DIT_2B)), dit_config(dict(DIT_XL))
    assert heads_of(two) == HEADS == {2: (6,), 3: (10, 11), 4: (3,), 5: (8, 9), 6: (8,)}
    assert heads_of(xl) == HEADS

    def small(layers: int, heads: int) -> AceStepConfig:
        return replace(two, dit_layers=layers, dit=replace(two.dit, heads=heads))

    assert heads_of(small(4, 4)) == {2: (0, 1, 2, 3), 3: (0, 1, 2, 3)}
    assert heads_of(small(5, 9)) == {2: (6,), 3: tuple(range(9)), 4: (3,)}
    assert heads_of(small(2, 2)) == {1: (0, 1)}
    for config in (two, xl, small(4, 4), small(2, 2)):
        check_heads(heads_of(config), config)
    for wrong in ({}, {24: (0,)}, {-1: (0,)}, {2: (16,)}, {2: (-1,)}, {2: ()}):
        with pytest.raises(InvalidRequest, match="heads"):
            check_heads(wrong, two)


def test_the_prompt_says_which_rows_are_words(trees: Trees) -> None:
    tree = trees("2b-like")
    engine = Engine("cpu", "float32", tree.name, tree.root, settings=load({}, None))
    result = engine.generate(
        Text2Music(caption="x", lyrics="a\nb", vocal_language="pt", duration=10, inference_steps=1)
    )
    song = result.songs[0]
    assert isinstance(song, Song)
    kept = {name: rows[0] for name, rows in result.kept.items()}
    tokenizer = PromptTokenizer.open(tree.text)
    task = timing(song, kept, dit_config(tree.sizes.dit.config()), tokenizer)
    start, stop = task.lyric_tokens.rows
    ids = tokenizer.lyrics("# Languages\npt\n\n# Lyric\na\nb<|endoftext|>")
    assert tokenizer.text(ids[start:stop]) == "a\nb" and task.layers == 4
    assert task.level == 1 and timestamps.SEED == task.seed == 42
