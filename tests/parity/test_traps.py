"""Known ways to be wrong in silence: each is put back here, and the comparison must notice.

Every test first shows that the product agrees with the reference, then breaks it in one way and
shows that the same comparison fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from tokenizers import processors
from torch import Tensor
from torch.nn import functional as F

from headroom.models.acestep.networks import dit as dit_module
from headroom.models.acestep.networks.dit import CrossCache
from headroom.models.acestep.networks.encoders import TimbreEncoder
from headroom.models.acestep.rendering.source_latents import Sounds, assemble
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song import compose as compose_module
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Region, Song
from headroom.models.acestep.text import prompts
from headroom.models.acestep.text.prompts import (
    Metas,
    PromptTokenizer,
    caption_prompt,
    lyric_prompt,
)
from headroom.nn.fsq import FSQ
from support.near import assert_near, bf16_time, exactly, half_excess, is_fault
from support.oracle import Oracle, Tree
from support.ours import Ours, load_ours
from support.tokenizer import END, byte_tokenizer

Trees = Callable[..., Tree]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def both(trees: Trees, size: str) -> tuple[Ours, Oracle]:
    """A fresh copy of ours: the tests break it."""
    tree = trees(size)
    return load_ours(tree), tree.oracle


def velocities(ours: Ours, oracle: Oracle) -> tuple[Tensor, Callable[[], Tensor]]:
    x, context, rows = random(2, 61, 8), random(2, 61, 16), random(2, 11, 48)
    velocity = ours.velocity(x, (0.9, 0.3), context, list(rows))
    return velocity, lambda: oracle.dit(x, (0.9, 0.3), context, rows)


def test_1_the_cls_token_of_the_xl_timbre_encoder(trees: Trees) -> None:
    timbre = random(2, 30, 8)
    for size in ("2b-like", "xl-like"):
        ours, oracle = both(trees, size)
        encoder = ours.conditioner.encoder.timbre_encoder
        with torch.no_grad():
            assert_near(encoder(timbre), partial(oracle.timbre, timbre))
            # left out on XL, put in on 2B
            wrong = TimbreEncoder(replace(ours.config, timbre_cls=not ours.config.timbre_cls))
            state = oracle.networks.condition.timbre_encoder.state_dict()
            for name, value in wrong.state_dict().items():
                official = name.replace("q_proj", "to_q").replace("k_proj", "to_k")
                official = official.replace("v_proj", "to_v").replace("o_proj", "to_out.0")
                official = official.replace("q_norm", "norm_q").replace("k_norm", "norm_k")
                value.copy_(state[official])
            assert is_fault(wrong(timbre), partial(oracle.timbre, timbre)), size


def test_2_the_time_is_scaled_in_the_models_precision(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = trees("2b-like", dtype=torch.bfloat16)
    ours, t = load_ours(tree), 0.954545  # 1000·t is 952 in bf16
    x, context, rows = random(1, 61, 8), random(1, 61, 16), random(1, 11, 48)
    theirs = tree.oracle.dit(x, (t,), context, rows, torch.bfloat16)
    exact = exactly(lambda: tree.oracle.dit(x, [bf16_time(t)], context, rows))

    def over() -> float:
        return half_excess(ours.velocity(x, (t,), context, list(rows)), theirs, exact)

    assert over() <= 1
    plain = dit_module.time_features
    monkeypatch.setattr(
        dit_module, "time_features", lambda times: plain(times.float()).to(times.dtype)
    )
    assert over() > 3


def test_3_the_tokenizer_appends_one_more_ending() -> None:
    plain = byte_tokenizer()
    end, newline, letter = (plain.encode(text).ids[0] for text in (END, "\n", "a"))
    metas = Metas(90, "4", None, 3.7)
    short = lyric_prompt("en", "la la"), caption_prompt("Do this", "calm", metas)
    long = lyric_prompt("en", "la " * 2000), caption_prompt("Do this", "w" * 900, metas)

    def right(tokenizer: PromptTokenizer) -> bool:
        tails = tokenizer.lyrics(short[0])[-3:], tokenizer.caption(short[1])[-3:]
        cut = tokenizer.lyrics(long[0]), tokenizer.caption(long[1])
        return (
            tails == ([letter, end, end], [end, newline, end])
            and [len(ids) for ids in cut] == [2048, 256]
            and all(ids.index(end) == len(ids) - 1 for ids in cut if end in ids)
            and all(end in ids for ids in cut)
        )

    assert right(PromptTokenizer(plain))
    bare = byte_tokenizer()
    bare.post_processor = processors.Sequence([])
    assert not right(PromptTokenizer(bare))


def test_3_truncation_keeps_the_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = PromptTokenizer(byte_tokenizer())
    end = tokenizer.lyrics("")[-1]
    assert tokenizer.lyrics("la" * 2000)[-1] == end
    monkeypatch.setattr(prompts, "_truncated", lambda ids, limit: list(ids)[:limit])
    assert tokenizer.lyrics("la" * 2000)[-1] != end


def test_4_padded_condition_rows_and_frames_are_not_seen(trees: Trees) -> None:
    ours, oracle = both(trees, "2b-like")
    x, context, rows = random(1, 40, 8), random(1, 40, 16), random(1, 7, 48)
    alone = partial(oracle.dit, x, (0.5,), context, rows)
    other = random(1, 60, 8), random(1, 60, 16), random(1, 15, 48)
    xs = torch.cat((F.pad(x, (0, 0, 0, 20)), other[0]))
    contexts = torch.cat((F.pad(context, (0, 0, 0, 20)), other[1]))
    batch = ours.velocity(xs, (0.5,), contexts, [rows[0], other[2][0]], frames=(40, 60))
    assert_near(batch[:1, :40], alone)
    # the trap: rows padded to a rectangle and attended
    padded = F.pad(rows[0], (0, 0, 0, 8))
    leaky = ours.velocity(xs, (0.5,), contexts, [padded, other[2][0]], frames=(40, 60))
    assert is_fault(leaky[:1, :40], alone)
    # and frames padded to a rectangle and attended
    leaky = ours.velocity(xs, (0.5,), contexts, [rows[0], other[2][0]], frames=(60, 60))
    assert is_fault(leaky[:1, :40], alone)


def test_5_timbre_is_a_position_not_a_mean(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    timbre = random(2, 30, 8)
    for size in ("2b-like", "xl-like"):
        ours, oracle = both(trees, size)
        encoder = ours.conditioner.encoder.timbre_encoder
        with torch.no_grad():
            assert_near(encoder(timbre), partial(oracle.timbre, timbre))
            plain = encoder.run_equal
            with monkeypatch.context() as patch:
                # every row the mean, so that row 0 is it
                patch.setattr(
                    encoder, "run_equal", lambda x, f=plain: f(x).mean(1, True).expand_as(x)
                )
                assert is_fault(encoder(timbre), partial(oracle.timbre, timbre)), size


@pytest.mark.parametrize("size", ["2b-like", "xl-like"])
def test_6_the_null_condition_goes_through_the_embedder(size: str, trees: Trees) -> None:
    ours, oracle = both(trees, size)
    x, context, rows = random(1, 30, 8), random(1, 30, 16), random(1, 5, 48)
    free = partial(oracle.dit, x, (0.5,), context, oracle.null.expand(1, 5, -1))
    assert ours.null.shape == (1, 1, 48)  # the encoders' width, on XL too
    both_halves = ours.velocity(x, (0.5,), context, list(rows), guided=True)
    assert_near(both_halves[1], free)
    wrong = skipping_the_embedder(ours, list(rows))
    layout = ours.dit.layout([30])
    assert (wrong is None) == (size == "xl-like")  # there the widths forbid it
    if wrong is None:
        return
    with torch.no_grad():
        modulation = ours.dit.modulation(*ours.time((0.5,))).at(0)
        fixed = ours.context(context, layout)
        assert is_fault(ours.dit(x, fixed, modulation, wrong, layout, True)[1], free)


def skipping_the_embedder(ours: Ours, rows: list[Tensor]) -> CrossCache | None:
    """The cache with null vectors made of the raw null embedding; None where widths forbid it."""
    cache, row = ours.cross(rows, null=True), ours.null.view(1, -1)
    repeat = ours.config.dit.heads // ours.config.dit.kv_heads
    made = []
    with torch.no_grad():
        for layer in ours.dit.layers:
            if layer.cross_attn.v_proj.weight.shape[1] != row.shape[1]:
                return None
            value = layer.cross_attn.key_value(row)[1]
            made.append(layer.cross_attn.output(value.repeat_interleave(repeat, dim=1)))
    return replace(cache, null=torch.cat(made))


@pytest.mark.parametrize("change", [-1, 1])
def test_9_the_window_counts_its_ends(change: int, trees: Trees) -> None:
    ours, oracle = both(trees, "2b-like")
    assert_near(*velocities(ours, oracle))
    with moved_windows(ours, change):
        assert is_fault(*velocities(ours, oracle))
    lyrics = random(25, 24)
    encoder = ours.conditioner.encoder.lyric_encoder
    with torch.no_grad():
        assert_near(encoder(lyrics, [25]), lambda: oracle.lyric_rows(lyrics))
        encoder.windows = tuple(w and w + change for w in encoder.windows)
        assert is_fault(encoder(lyrics, [25]), lambda: oracle.lyric_rows(lyrics))


@contextmanager
def moved_windows(ours: Ours, change: int) -> Iterator[None]:
    windowed = [layer for layer in ours.dit.layers if layer.window is not None]
    assert windowed
    for layer in windowed:
        layer.window += change
    try:
        yield
    finally:
        for layer in windowed:
            layer.window -= change


def test_9_even_layers_are_the_windowed_ones(trees: Trees) -> None:
    ours, oracle = both(trees, "2b-like")
    assert [layer.window for layer in ours.dit.layers] == [7, None, 7, None]
    for layer in ours.dit.layers:
        layer.window = 7 if layer.window is None else None
    assert is_fault(*velocities(ours, oracle))


def test_10_codes_are_bounded_softly_before_they_are_clamped(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, oracle = both(trees, "2b-like")
    latents = random(2, 1000, 8)
    _, theirs = oracle.tokenize(latents)

    def tokenize() -> Tensor:
        with torch.no_grad():
            codes: Tensor = ours.codes.tokenizer(latents, oracle.silence)
        return codes

    assert torch.equal(tokenize(), theirs)

    def plain_tanh(self: FSQ, z: Tensor) -> Tensor:
        top = torch.tensor(self.levels, dtype=torch.float32) - 1
        return torch.floor(top * (torch.tanh(z) + 1) / 2 + 0.5).long()

    def hard_clamp(self: FSQ, z: Tensor) -> Tensor:
        top = torch.tensor(self.levels, dtype=torch.float32) - 1
        return torch.floor(top * (z.clamp(-1, 1) + 1) / 2 + 0.5).long()

    for wrong in (plain_tanh, hard_clamp):
        monkeypatch.setattr(FSQ, "quantise", wrong)
        assert (tokenize() != theirs).float().mean() > 0.1, wrong.__name__


def test_codes_are_filled_with_silence_not_zeros(trees: Trees) -> None:
    ours, oracle = both(trees, "2b-like")
    latents = random(40, 6, 8)
    _, theirs = oracle.tokenize(latents)
    with torch.no_grad():
        assert torch.equal(ours.codes.tokenizer(latents, oracle.silence), theirs)
        zeros = torch.zeros_like(oracle.silence)
        assert not torch.equal(ours.codes.tokenizer(latents, zeros), theirs)


def song(**fields: object) -> Song:
    request = Text2Music.model_validate({"caption": "slow bossa nova", **fields})
    return compose(request, VARIANTS["acestep-v15-turbo"], [3]).songs[0]


def mask_of(made: Song, silence: Tensor) -> Tensor:
    """[1, T, C]; the mask channels of one song without a source."""
    nothing = Sounds({}, {})
    return assemble([made], nothing, [None], {}, ((),), silence).mask


def test_11_the_mask_says_one_and_keeps_a_two(trees: Trees) -> None:
    ours, oracle = both(trees, "2b-like")
    everywhere = song(duration=10)
    x, rows, source = random(1, 250, 8), random(1, 5, 48), random(1, 250, 8)

    def velocity(mask: Tensor) -> Tensor:
        return ours.velocity(x, (0.5,), torch.cat((source, mask), -1), list(rows))

    def reference(value: float) -> Callable[[], Tensor]:
        context = torch.cat((source, torch.full((1, 250, 8), value)), -1)
        return lambda: oracle.dit(x, (0.5,), context, rows)

    one = mask_of(everywhere, oracle.silence)
    assert_near(velocity(one), reference(1.0))
    assert is_fault(velocity(2 * one), reference(1.0))  # "auto" taken as the default
    auto = mask_of(replace(everywhere, mask_everywhere=2.0), oracle.silence)
    assert_near(velocity(auto), reference(2.0))
    assert is_fault(velocity(auto.bool().float()), reference(2.0))  # 2 through a boolean
    region = Region(30, 90, 30 * 1920, 90 * 1920)
    inside = mask_of(replace(everywhere, mask_everywhere=None, region=region), oracle.silence)
    assert inside[0, 30:90].eq(1).all() and inside.sum() == 60 * 8


def test_12_short_songs_are_made_at_128_frames(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, oracle = both(trees, "2b-like")
    codes = "".join(f"<|audio_code_{n}|>" for n in (5, 60_000, 17))
    made = song(audio_codes=codes)
    assert (made.frames, made.kept) == (128, 15)
    x, context, rows = random(1, 128, 8), random(1, 128, 16), random(1, 5, 48)

    def long() -> Tensor:
        return oracle.dit(x, (0.5,), context, rows)[:, :15]

    def velocity(frames: int) -> Tensor:
        out = ours.velocity(x[:, :frames], (0.5,), context[:, :frames], list(rows))
        return out[:, :15]

    assert_near(velocity(made.frames), long)
    monkeypatch.setattr(compose_module, "LEAST_FRAMES", 1)
    wrong = song(audio_codes=codes)
    assert wrong.frames == 15
    assert is_fault(velocity(wrong.frames), long)
