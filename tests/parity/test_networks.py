"""Every network against the reference's own modules, on the same random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.diffusion.schedule import TURBO_TABLES
from headroom.models.acestep.networks.codes import hints
from headroom.models.acestep.networks.config import dit_config
from headroom.models.acestep.networks.dit import time_features
from headroom.nn import attention
from headroom.nn.fsq import FSQ
from headroom.nn.qwen3 import pack
from headroom.runtime.prepare import bring
from support.near import (
    assert_agrees,
    assert_near,
    bf16_time,
    exactly,
    half_excess,
    twice,
)
from support.networks import build_networks, official_state
from support.oracle import Oracle, Tree
from support.ours import Ours, load_ours, parts
from support.tiny import LEVELS, REAL_2B, REAL_XL, DitSizes

SIZES = ("2b-like", "xl-like")
WINDOW = 7  # tokens, of both small sizes
Pair = tuple[Ours, Oracle]


@pytest.fixture(scope="module")
def pairs(trees: Callable[..., Tree]) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def get(size: str) -> Pair:
        if size not in made:
            tree = trees(size)
            made[size] = load_ours(tree), tree.oracle
        return made[size]

    return get


@pytest.fixture(params=SIZES)
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    return pairs(request.param)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def inputs(batch: int, frames: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """x [B, T, 8], context [B, T, 16], condition rows [B, L, 48]."""
    return random(batch, frames, 8), random(batch, frames, 16), random(batch, rows, 48)


def gap(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.float() - theirs.float()).abs().max())


# --- checkpoint --------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "count"), [(REAL_2B, 677), (REAL_XL, 829)], ids=["2b", "xl"])
def test_real_configs_ask_for_exactly_the_released_keys(sizes: DitSizes, count: int) -> None:
    with torch.device("meta"):
        released = official_state(build_networks(sizes))
    asked: dict[str, tuple[int, ...]] = {}
    for prefix, module in parts(dit_config(sizes.config())).values():
        for name, value in module.state_dict().items():
            assert prefix + name not in asked
            asked[prefix + name] = tuple(value.shape)
    # the 2B file carries a CLS token that nothing reads
    unread = set() if sizes.xl else {"encoder.timbre_encoder.special_token"}
    assert len(asked) + len(unread) == len(released) == count
    assert asked == {n: tuple(v.shape) for n, v in released.items() if n not in unread}


@pytest.mark.parametrize("size", SIZES)
def test_shards_load_as_one_file(size: str, trees: Callable[..., Tree], pairs: object) -> None:
    single, sharded = load_ours(trees(size)), load_ours(trees(size, shards=3, text_prefix="model."))
    for ours, same in ((single.dit, sharded.dit), (single.text, sharded.text)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, same.state_dict()[name]), name


# --- the DiT -----------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 13, 14, 16, 17, 61, 64])
def test_velocity(pair: Pair, frames: int) -> None:
    """Odd and even T; S within the window, one beyond it, and many times it; L ≠ S."""
    ours, oracle = pair
    x, context, rows = inputs(2, frames, 11)
    times = (0.9, 0.3)
    velocity = ours.velocity(x, times, context, list(rows))
    assert_near(velocity, lambda: oracle.dit(x, times, context, rows))


def test_what_the_forward_computes_on_its_way(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, oracle = pair
    x, context, rows = inputs(2, 61, 11)
    times = (0.9, 0.3)
    theirs, exact = twice(lambda: oracle.trace(x, times, context, rows))
    seen = watch(ours, monkeypatch)
    velocity = ours.velocity(x, times, context, list(rows))
    found = {name: values[0].view(2, -1, values[0].shape[-1]) for name, values in seen.items()}
    found |= dict(zip("em", ours.time(times), strict=True)) | {"velocity": velocity}
    for name in ("e", "m", "velocity", "tokens", "condition", "sa_in", "sa_out", "after_ca"):
        assert_agrees(found[name], getattr(theirs, name), getattr(exact, name), name)
    for i, layer in enumerate(theirs.layers):
        assert_agrees(seen["layers"][i].view_as(layer), layer, exact.layers[i], i)


def watch(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Record what a forward computes; packed [N, H] rows."""
    seen: dict[str, list[Tensor]] = {}
    first = ours.dit.layers[0]

    def record(owner: object, method: str, name: str, *, given: bool = False) -> None:
        plain = getattr(owner, method)

        def call(*args: object) -> object:
            out = plain(*args)
            seen.setdefault(name, []).append(args[0] if given else out)
            return out

        monkeypatch.setattr(owner, method, call)

    record(first, "attend_self", "tokens", given=True)
    record(first.self_attn, "query_key_value", "sa_in", given=True)
    record(first.self_attn, "output", "sa_out")
    record(first, "attend_cross", "after_ca")
    record(ours.dit.condition_embedder, "forward", "condition")
    for layer in ours.dit.layers:
        record(layer, "forward", "layers")
    return seen


def test_what_is_computed_once_serves_every_step(pair: Pair) -> None:
    """One cache, one context and one table of modulations over a whole schedule."""
    ours, oracle = pair
    x, context, rows = inputs(2, 33, 9)
    times = (1.0, 0.75, 0.3)
    layout = ours.dit.layout([33, 33])
    with torch.no_grad():
        modulation = ours.dit.modulation(*ours.time(times))
        cross, fixed = ours.cross(list(rows)), ours.context(context, layout)
        for k, t in enumerate(times):
            velocity = ours.dit(x, fixed, modulation.at(k), cross, layout)
            assert_near(velocity, partial(oracle.dit, x, [t, t], context, rows), k)
            x = x - 0.2 * velocity


def test_the_null_condition_is_one_vector_a_layer(pair: Pair) -> None:
    """Guided halves equal two plain forwards, however long the null sequence is."""
    ours, oracle = pair
    x, context, rows = inputs(2, 41, 12)
    times = (0.8, 0.4)
    both = ours.velocity(x, times, context, list(rows), guided=True)
    assert_near(both[0], lambda: oracle.dit(x, times, context, rows))
    for length in (1, 12, 40):
        null = oracle.null.expand(2, length, -1)
        assert_near(both[1], partial(oracle.dit, x, times, context, null), length)
    same_time = ours.velocity(x, times[:1], context, list(rows), guided=True)
    null = oracle.null.expand(2, 3, -1)
    assert_near(same_time[1], lambda: oracle.dit(x, times[:1] * 2, context, null))


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "guided"])
@pytest.mark.parametrize("frames", [(61, 24, 40), (60, 60, 59), (32, 32, 32), (1, 2, 50)])
def test_a_ragged_batch_equals_its_songs_alone(
    pair: Pair, frames: tuple[int, ...], guided: bool
) -> None:
    ours, oracle = pair
    lengths, times = (11, 3, 19), (0.9, 0.5, 0.2)
    x, context, rows = inputs(3, max(frames), max(lengths))
    for i, n in enumerate(frames):
        x[i, n:], context[i, n:] = 0, 0
    conditions = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    batch = ours.velocity(x, times, context, conditions, frames=frames, guided=guided)
    batch = batch if guided else batch.unsqueeze(0)
    for i, n in enumerate(frames):
        song = (x[i : i + 1, :n], times[i : i + 1], context[i : i + 1, :n])
        single = partial(ours.velocity, *song, conditions[i : i + 1], guided=guided)
        alone, exact = (v if guided else v.unsqueeze(0) for v in twice(single))
        assert_agrees(batch[:, i, :n], alone[:, 0], exact[:, 0], i)
        assert batch[:, i, n:].count_nonzero() == 0
        theirs = partial(oracle.dit, *song, conditions[i].unsqueeze(0))
        assert_near(batch[0, i : i + 1, :n], theirs, i)


def test_neighbours_share_a_condition(pair: Pair) -> None:
    ours, oracle = pair
    frames, lengths = (30, 21, 26), (9, 5)
    x, context, rows = inputs(3, 30, 9)
    for i, n in enumerate(frames):
        x[i, n:], context[i, n:] = 0, 0
    conditions = [rows[0, : lengths[0]], rows[1, : lengths[1]]]
    batch = ours.velocity(x, [0.6], context, conditions, frames=frames, shared=(2, 1))
    for i, n in enumerate(frames):
        row = conditions[0 if i < 2 else 1].unsqueeze(0)
        theirs = partial(oracle.dit, x[i : i + 1, :n], [0.6], context[i : i + 1, :n], row)
        assert_near(batch[i : i + 1, :n], theirs, i)


def test_fused_projections_change_nothing(trees: Callable[..., Tree]) -> None:
    tree = trees("xl-like")
    ours = load_ours(tree)
    for part in (ours.dit, ours.conditioner):
        bring(part, torch.device("cpu"))
    assert ours.dit.layers[0].self_attn.qkv is not None
    x, context, rows = inputs(2, 37, 11)
    both = ours.velocity(x, (0.7, 0.2), context, list(rows), guided=True)
    assert_near(both[0], lambda: tree.oracle.dit(x, (0.7, 0.2), context, rows))
    null = tree.oracle.null.expand(2, 4, -1)
    assert_near(both[1], lambda: tree.oracle.dit(x, (0.7, 0.2), context, null))
    lyrics = random(25, 24)
    with torch.no_grad():
        found = ours.conditioner.encoder.lyric_encoder(lyrics, [25])
    assert_near(found, lambda: tree.oracle.lyric_rows(lyrics))


# --- windowed attention ------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [attention._windowed_loop, attention._windowed_fold])
@pytest.mark.parametrize("length", [1, WINDOW, WINDOW + 1, WINDOW + 2, 14, 15, 28, 29, 100])
@pytest.mark.parametrize("window", [1, WINDOW])
def test_windowed_kernels_against_a_dense_mask(
    kernel: Callable[..., Tensor], length: int, window: int
) -> None:
    q, k, v = random(2, 4, length, 16), random(2, 2, length, 16, seed=1), random(2, 2, length, 16)
    place = torch.arange(length)
    dense = (place.unsqueeze(0) - place.unsqueeze(1)).abs() <= window
    k4, v4 = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)

    def plain() -> Tensor:
        scores = (q @ k4.mT / 4).masked_fill(~dense, float("-inf"))
        return scores.softmax(-1) @ v4

    assert_near(kernel(q, k, v, window), plain)


@pytest.mark.parametrize("length", [5, WINDOW, WINDOW + 1, 60])
def test_one_windowed_layer(pair: Pair, length: int) -> None:
    """Layer 0 alone, S ≤ window, window + 1 and far more."""
    ours, oracle = pair
    x, context, rows = inputs(1, 2 * length, 6)
    theirs, exact = twice(lambda: oracle.trace(x, [0.5], context, rows).layers[0])
    layout = ours.dit.layout([2 * length])
    out: list[Tensor] = []
    handle = ours.dit.layers[0].register_forward_hook(lambda m, args, y: out.append(y))
    try:
        ours.velocity(x, [0.5], context, list(rows))
    finally:
        handle.remove()
    assert layout.tokens == (length,)
    assert_agrees(out[0], theirs[0], exact[0])


# --- half precision ----------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("t", [0.95313, 0.64453, 0.30078, 0.11])
def test_bf16_velocity(size: str, t: float, trees: Callable[..., Tree]) -> None:
    tree = trees(size, dtype=torch.bfloat16)
    ours = load_ours(tree)
    assert ours.dit.dtype == torch.bfloat16
    x, context, rows = inputs(2, 61, 11)
    velocity = ours.velocity(x, (t,), context, list(rows))
    theirs = tree.oracle.dit(x, (t, t), context, rows, torch.bfloat16)
    exact = exactly(lambda: tree.oracle.dit(x, [bf16_time(t)] * 2, context, rows))
    assert half_excess(velocity, theirs, exact) <= 1


# 1000·t of the published schedules, as the product comes out in bf16
SINUSOID = {
    1.0: (1000, 876, 752, 624, 500, 376, 250, 125),
    2.0: (1000, 932, 856, 768, 668, 548, 400, 223),
    3.0: (1000, 952, 900, 832, 752, 644, 500, 300),
}


@pytest.mark.parametrize("shift", SINUSOID)
def test_the_sinusoid_follows_the_bf16_table(shift: float) -> None:
    times = torch.tensor(TURBO_TABLES[shift][:8]).to(torch.bfloat16)
    features = time_features(times)
    frequency = torch.exp(-torch.arange(128) / 128 * torch.log(torch.tensor(1e4)))
    angles = torch.tensor(SINUSOID[shift], dtype=torch.float32).unsqueeze(1) * frequency
    wanted = torch.cat((angles.cos(), angles.sin()), dim=-1)
    assert features.dtype == torch.bfloat16
    assert gap(features, wanted) <= 2**-8  # half a bf16 step below 1, and 1e-4 of the angle
    exact = time_features(torch.tensor(TURBO_TABLES[shift][:8]))
    assert gap(exact, wanted) > 0.5  # the unrounded product is another feature


# --- conditions --------------------------------------------------------------------------


def test_ragged_conditions(pair: Pair) -> None:
    """Lyrics, then timbre, then caption; one and two references; items of every length."""
    ours, oracle = pair
    captions = [random(n, 24) for n in (5, 12, 1)]
    lyrics = [random(n, 24) for n in (25, 3, 9)]
    timbre = random(4, 30, 8)
    order = [0, 1, 1, 2]
    theirs, exact = twice(lambda: oracle.condition(captions, lyrics, timbre, order))
    with torch.no_grad():
        rows, lengths = ours.conditioner.encoder(
            torch.cat(captions), [5, 12, 1], torch.cat(lyrics), [25, 3, 9], timbre, [1, 2, 1]
        )
        pooled = ours.conditioner.encoder.timbre_encoder(timbre)
    assert lengths == (31, 17, 11)
    for mine, row, true in zip(rows.split(list(lengths)), theirs, exact, strict=True):
        assert_agrees(mine, row, true)
    assert_near(pooled, lambda: oracle.timbre(timbre))
    assert gap(rows[25], pooled[0]) == 0
    assert gap(ours.null, oracle.null) == 0


# --- codes -------------------------------------------------------------------------------


def test_every_code_there_and_back() -> None:
    quantiser = FSQ(8, LEVELS)
    codes = torch.arange(64_000)
    steps = quantiser.steps(codes)
    values = quantiser.values(steps)
    stretch = 1 + 1 / (torch.tensor(LEVELS, dtype=torch.float64) - 1)
    z = stretch * torch.atanh(values.double() / stretch)
    assert torch.equal(quantiser.index(quantiser.quantise(z)), codes)
    assert torch.equal(quantiser.index(steps), codes)


def test_codes_against_the_reference(pair: Pair) -> None:
    ours, oracle = pair
    h = random(20_000, 48)
    reference, quantiser = oracle.networks.tokenizer.quantizer, ours.codes.tokenizer.quantizer
    with torch.no_grad():
        _, theirs = reference(h.unsqueeze(0))
        codes = quantiser.encode(h)
        # A step may differ only where rounding of what is quantised decides between two.
        z = exactly(lambda: quantiser.project_in(h))
        low, high = (quantiser.quantise(z + around) for around in (-1e-5, 1e-5))
        for steps in (quantiser.steps(codes), quantiser.steps(theirs.flatten())):
            assert ((low <= steps) & (steps <= high)).all()
        assert (low != high).float().mean() < 1e-3
        assert codes.unique().numel() > 2_000
        every = torch.arange(64_000)
        vectors = quantiser.decode(every)
    assert_near(vectors, lambda: oracle.decode_codes(every.unsqueeze(0))[0])


@pytest.mark.parametrize("frames", [5, 40, 41, 42, 43, 44])
def test_tokenizer_and_detokenizer(pair: Pair, frames: int) -> None:
    ours, oracle = pair
    latents = random(2, frames, 8)
    quantised, theirs = oracle.tokenize(latents)
    with torch.no_grad():
        codes = ours.codes.tokenizer(latents, oracle.silence)
        mine = ours.codes.detokenizer(ours.codes.tokenizer.quantizer.decode(codes))
    assert codes.shape == (2, -(-frames // 5))
    assert torch.equal(codes, theirs)
    assert_near(mine, lambda: oracle.detokenize(quantised))


@pytest.mark.parametrize("frames", [23, 25, 60])
def test_hints_are_cut_or_continue_with_silence(pair: Pair, frames: int) -> None:
    ours, oracle = pair
    codes = torch.randint(0, 64_000, (2, 5), generator=torch.Generator().manual_seed(4))
    tail = oracle.silence[:, : max(0, frames - 25)].expand(2, -1, -1)

    def theirs() -> Tensor:
        whole = oracle.detokenize(oracle.decode_codes(codes))
        return torch.cat((whole, tail), dim=1)[:, :frames]

    quantiser, detokenizer = ours.codes.tokenizer.quantizer, ours.codes.detokenizer
    with torch.no_grad():
        mine = hints(codes, quantiser, detokenizer, frames, oracle.silence)
    assert_near(mine, theirs)


# --- text --------------------------------------------------------------------------------


def test_text_encoder_on_packed_prompts(pair: Pair) -> None:
    """Padding on either side leaves the reference's valid rows as ours without any."""
    ours, oracle = pair
    generator = torch.Generator().manual_seed(5)
    prompts = [torch.randint(0, 256, (n,), generator=generator) for n in (19, 4, 11)]
    ids, lengths = pack([p.tolist() for p in prompts], torch.device("cpu"))
    with torch.no_grad():
        rows = ours.text(ids, lengths).split(lengths)
    assert gap(ours.text.embed(ids), oracle.embed(ids)) == 0
    for prompt, row in zip(prompts, rows, strict=True):
        assert_near(row, lambda prompt=prompt: oracle.text(prompt.unsqueeze(0))[0])
    for right in (True, False):
        padded, mask = padding(prompts, right)
        theirs, exact = twice(partial(oracle.text, padded, None if right else mask))
        for i, row in enumerate(rows):
            valid = mask[i].bool()
            assert_agrees(row, theirs[i][valid], exact[i][valid], (i, right))


def padding(prompts: Sequence[Tensor], right: bool) -> tuple[Tensor, Tensor]:
    """Token ids padded with the ending's, and the mask of what is real, [B, L] each."""
    longest = max(len(prompt) for prompt in prompts)
    sides = [(0, longest - len(p)) if right else (longest - len(p), 0) for p in prompts]
    ids = [F.pad(p, side, value=256) for p, side in zip(prompts, sides, strict=True)]
    mask = [F.pad(torch.ones_like(p), side) for p, side in zip(prompts, sides, strict=True)]
    return torch.stack(ids), torch.stack(mask)
