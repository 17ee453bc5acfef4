"""Kernels that draw a token of each song from logits, in Triton: guidance, temperature, nucleus.

What `lm/sample.py` says in torch, without sorting: the least probability of the nucleus is found
by its bits, five at a time, each pass weighing 32 of them. All sums are made in a fixed order, so
that the same logits give the same token each time. Importing this needs Triton.
"""

from __future__ import annotations

import triton
import triton.language as tl

PASSES = 6
WAYS = 32  # candidates of a pass: five bits
TOP_BITS = 30  # of a float in (0, 1]: exponent and mantissa up to that of 1


@triton.jit
def scaled_logits(
    logits, out, tops, words, scale, temperature,
    GUIDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """logits [S or 2 · S, words] → out fp32 [S, words], over temperature; tops [S, blocks]: the
    largest of each block. GUIDED: U + scale · (C − U), the rows C first."""
    song, block, songs = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    n = block * BLOCK + tl.arange(0, BLOCK)
    inside = n < words
    told = tl.load(logits + song * words + n, mask=inside, other=0.0).to(tl.float32)
    if GUIDED:
        untold = tl.load(logits + (songs + song) * words + n, mask=inside, other=0.0)
        untold = untold.to(tl.float32)
        told = untold + scale * (told - untold)
    told = tl.where(inside, told / temperature, float("-inf"))
    tl.store(out + song * words + n, told, mask=inside)
    tl.store(tops + song * tl.num_programs(1) + block, tl.max(told, 0))


@triton.jit
def odds(out, tops, masses, words, blocks, BLOCK: tl.constexpr, BLOCKS: tl.constexpr):
    """out: logits → exp(logit − largest), in place; masses [S, blocks]: sums of each block."""
    song, block = tl.program_id(0), tl.program_id(1)
    top = _joined_max(tops + song * blocks, blocks, BLOCKS)
    n = block * BLOCK + tl.arange(0, BLOCK)
    inside = n < words
    x = tl.load(out + song * words + n, mask=inside, other=float("-inf"))
    x = tl.exp(x - top)
    tl.store(out + song * words + n, x, mask=inside)
    tl.store(masses + song * blocks + block, tl.sum(x, 0))


@triton.jit
def weigh(
    out, masses, least, weights, words, blocks, share,
    PASS: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, WAYS: tl.constexpr,
    TOP_BITS: tl.constexpr,
):  # fmt: skip
    """weights [2, S, blocks, WAYS]: how much of each block is at least as likely as a candidate.

    Before that the weights of the pass before decide (`_found`); least int32 [2, S] holds the bits
    found so far, read from the one half and written to the other.
    """
    song, block, songs = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    bits = _found(masses, least, weights, song, songs, blocks, share, PASS, BLOCKS, WAYS, TOP_BITS)
    if block == 0:
        tl.store(least + (PASS % 2) * songs + song, bits)
    shift: tl.constexpr = TOP_BITS - 5 * (PASS + 1)
    ways = tl.arange(0, WAYS)
    candidates = bits + (ways << shift)
    n = block * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(out + song * words + n, mask=n < words, other=0.0)
    passes = x.to(tl.int32, bitcast=True)[:, None] >= candidates[None, :]
    mine = tl.sum(tl.where(passes, x[:, None], 0.0), 0)
    place = ((PASS % 2) * songs + song) * blocks + block
    tl.store(weights + place * WAYS + ways, mine)


@triton.jit
def keep(
    out, masses, least, weights, words, blocks, share,
    PASSES: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, WAYS: tl.constexpr,
    TOP_BITS: tl.constexpr,
):  # fmt: skip
    """out: what is outside of the nucleus becomes 0; masses: sums of the blocks anew, in a second
    half [2, S, blocks]."""
    song, block, songs = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    bits = _found(
        masses, least, weights, song, songs, blocks, share, PASSES, BLOCKS, WAYS, TOP_BITS
    )
    n = block * BLOCK + tl.arange(0, BLOCK)
    inside = n < words
    x = tl.load(out + song * words + n, mask=inside, other=0.0)
    x = tl.where(x.to(tl.int32, bitcast=True) >= bits, x, 0.0)
    tl.store(out + song * words + n, x, mask=inside)
    tl.store(masses + (songs + song) * blocks + block, tl.sum(x, 0))


@triton.jit
def pick(
    out, masses, chances, number, drawn, tokens, words, blocks, count, start, songs,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, CUT: tl.constexpr,
):  # fmt: skip
    """The first token whose sum of odds is above chances [S, count] at `number` [1], of the whole.

    drawn [S, count] at `number` and tokens [ROWS · S] become start + token. CUT: masses are those
    of `keep`.
    """
    song = tl.program_id(0)
    turn = tl.load(number)
    b = tl.arange(0, BLOCKS)
    half = songs if CUT else 0
    mass = tl.load(masses + (half + song) * blocks + b, mask=b < blocks, other=0.0)
    sums = tl.cumsum(mass, 0)
    whole = tl.sum(tl.where(b == blocks - 1, sums, 0.0), 0)
    wanted = whole * tl.load(chances + song * count + turn)
    # The last block with any mass, if rounding leaves no sum above.
    last = tl.max(tl.where(mass > 0, b, 0), 0)
    block = tl.minimum(tl.sum((sums <= wanted).to(tl.int32), 0), last)
    before = tl.sum(tl.where(b == block - 1, sums, 0.0), 0)
    n = block * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(out + song * words + n, mask=n < words, other=0.0)
    inner = before + tl.cumsum(x, 0)
    final = tl.max(tl.where(x > 0, tl.arange(0, BLOCK), 0), 0)
    token = block * BLOCK + tl.minimum(tl.sum((inner <= wanted).to(tl.int32), 0), final)
    token = tl.where(whole > 0, token, -1)  # no numbers: NONE of `lm/sample.py`
    found = (start + token).to(tl.int64)
    tl.store(drawn + song * count + turn, found)
    for row in tl.static_range(ROWS):
        tl.store(tokens + row * songs + song, found)


@triton.jit
def _joined_max(tops, blocks, BLOCKS: tl.constexpr):
    b = tl.arange(0, BLOCKS)
    return tl.max(tl.load(tops + b, mask=b < blocks, other=float("-inf")), 0)


@triton.jit
def _found(
    masses, least, weights, song, songs, blocks, share,
    PASS: tl.constexpr, BLOCKS: tl.constexpr, WAYS: tl.constexpr, TOP_BITS: tl.constexpr,
):  # fmt: skip
    """Bits of the least probability of the nucleus, as far as the passes before PASS found them:
    the largest that leaves at least `share` of the whole."""
    if PASS == 0:
        return song * 0
    b, ways = tl.arange(0, BLOCKS), tl.arange(0, WAYS)
    whole = tl.sum(tl.load(masses + song * blocks + b, mask=b < blocks, other=0.0), 0)
    before: tl.constexpr = (PASS - 1) % 2
    place = (before * songs + song) * blocks
    each = tl.load(
        weights + (place + b[:, None]) * WAYS + ways[None, :], mask=(b < blocks)[:, None], other=0.0
    )
    enough = tl.sum(each, 0) >= share * whole
    # The first way is what was found before, which is enough.
    way = tl.maximum(tl.sum(enough.to(tl.int32), 0) - 1, 0)
    shift: tl.constexpr = TOP_BITS - 5 * PASS
    return tl.load(least + before * songs + song) + (way << shift)
