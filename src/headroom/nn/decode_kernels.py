"""Triton kernels for one decoding step of few rows, whose cost is reading the weights.

A layer takes five launches where torch needs about thirty: a product includes the norm before it
and the sum or the gate after it, and attention includes norms, rotation and writing the cache.
Weights are read once, in the dtype they are stored in. Importing this module needs Triton;
`lm/fused.py` checks for it first. Attention is split over positions as in flash-decoding (Dao et
al., 2023).
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def product_kernel(
    x, norm, weight, scale, y, rows, eps,
    WIDTH: tl.constexpr, OUTPUTS: tl.constexpr,
    NORMED: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr, SCALED: tl.constexpr,
    ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """y [rows, OUTPUTS] (+)= f(x [rows, WIDTH]) · weight [OUTPUTS, WIDTH]ᵀ, sums in fp32.

    NORMED  x is first divided by its root mean square and multiplied by `norm`
    GATED   weight has 2 · OUTPUTS rows: silu of the first half times the second
    ADDED   the result is added to y; otherwise y is overwritten
    SCALED  the weight's rows are multiplied by `scale`
    ROWS    of a tile, at least `rows`
    EARLY   see `product_few`
    """
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m = tl.arange(0, ROWS)
    valid = (m < rows)[:, None]
    sums = tl.zeros((ROWS, BLOCK_N), tl.float32)
    others = tl.zeros((ROWS, BLOCK_N), tl.float32)
    squares = tl.zeros((ROWS,), tl.float32)
    for start in tl.range(0, WIDTH, BLOCK_K, num_stages=STAGES):
        k = start + tl.arange(0, BLOCK_K)
        tile = tl.load(x + m[:, None] * WIDTH + k[None, :], mask=valid, other=0.0)
        if NORMED:
            wide = tile.to(tl.float32)
            squares += tl.sum(wide * wide, 1)
            gain = tl.load(norm + k).to(tl.float32)
            tile = (wide * gain[None, :]).to(tile.dtype)
        pointers = weight + n[:, None].to(tl.int64) * WIDTH + k[None, :]
        w = tl.load(pointers, eviction_policy="evict_first")
        sums = tl.dot(tile, tl.trans(w.to(tile.dtype)), sums, input_precision="ieee")
        if GATED:
            w = tl.load(pointers + OUTPUTS * WIDTH, eviction_policy="evict_first")
            others = tl.dot(tile, tl.trans(w.to(tile.dtype)), others, input_precision="ieee")
    _finish(
        sums, others, squares, m, n, scale, y, rows, eps,
        WIDTH, OUTPUTS, NORMED, GATED, ADDED, SCALED,
    )  # fmt: skip


@triton.jit
def product_few(
    x, norm, weight, scale, y, eps,
    WIDTH: tl.constexpr, OUTPUTS: tl.constexpr,
    NORMED: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr, SCALED: tl.constexpr,
    ROWS: tl.constexpr, PADDED: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Like `product_kernel`, for so few ROWS that reading weights takes longer than arithmetic.

    A program reads BLOCK_N rows of the weight, BLOCK_K columns at a time. Small programs are best,
    with many running at once: see `docs/log.md` for what else was tried.

    PADDED  ROWS rounded up to a power of two
    EARLY   (Hopper and later) it starts before the previous kernel has ended, and meanwhile reads
            its first weights, which no kernel writes
    """
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m = tl.arange(0, PADDED)
    sums = tl.zeros((PADDED, BLOCK_N), tl.float32)
    others = tl.zeros((PADDED, BLOCK_N), tl.float32)
    squares = tl.zeros((PADDED,), tl.float32)
    for part in tl.static_range(WIDTH // BLOCK_K):
        k = part * BLOCK_K + tl.arange(0, BLOCK_K)
        pointers = weight + n[:, None].to(tl.int64) * WIDTH + k[None, :]
        w = tl.load(pointers, eviction_policy="evict_first")
        if GATED:
            u = tl.load(pointers + OUTPUTS * WIDTH, eviction_policy="evict_first")
        if NORMED:
            gain = tl.load(norm + k).to(tl.float32)
        if EARLY and part == 0:
            gdc_wait()
            gdc_launch_dependents()
        # Through the activations' dtype: bytes convert to bfloat16 in fewer, faster instructions.
        kind = x.dtype.element_ty
        w = w.to(kind).to(tl.float32)
        if GATED:
            u = u.to(kind).to(tl.float32)
        for row in tl.static_range(ROWS):
            values = tl.load(x + row * WIDTH + k).to(tl.float32)
            mine = m == row
            if NORMED:
                squares = tl.where(mine, squares + tl.sum(values * values, 0), squares)
                values = values * gain
            partial = tl.sum(w * values[None, :], 1)
            sums = tl.where(mine[:, None], sums + partial[None, :], sums)
            if GATED:
                partial = tl.sum(u * values[None, :], 1)
                others = tl.where(mine[:, None], others + partial[None, :], others)
    _finish(
        sums, others, squares, m, n, scale, y, ROWS, eps,
        WIDTH, OUTPUTS, NORMED, GATED, ADDED, SCALED,
    )  # fmt: skip


@triton.jit
def _finish(
    sums, others, squares, m, n, scale, y, rows, eps,
    WIDTH: tl.constexpr, OUTPUTS: tl.constexpr,
    NORMED: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Apply what follows the sums of a product, and write the result."""
    valid = (m < rows)[:, None]
    if NORMED:
        each = tl.rsqrt(squares / WIDTH + eps)[:, None]
        sums *= each
        others *= each
    if SCALED:
        sums *= tl.load(scale + n).to(tl.float32)[None, :]
        if GATED:
            others *= tl.load(scale + OUTPUTS + n).to(tl.float32)[None, :]
    if GATED:
        sums = sums * tl.sigmoid(sums) * others
    out = y + m[:, None] * OUTPUTS + n[None, :]
    if ADDED:
        sums += tl.load(out, mask=valid, other=0.0).to(tl.float32)
    tl.store(out, sums.to(y.dtype.element_ty), mask=valid)


@triton.jit
def attend_kernel(
    qkv, q_norm, k_norm, cosines, sines, at, keys, values, out, partial, sizes, finished, eps,
    capacity, splits,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, GROUP: tl.constexpr,
    QUERIES: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One token per row: normalise, rotate, write to the cache at `at`, and attend to its row.

    qkv              [rows, HEADS + 2 · KV_HEADS, 2 · HALF]: queries, keys, values as projected
    cosines, sines   [capacity, HALF]
    keys, values     [rows, KV_HEADS, capacity, 2 · HALF], contiguous
    out              [rows, HEADS, 2 · HALF]
    partial, sizes   fp32 [rows, HEADS, splits, 2 · HALF] and [rows, HEADS, splits, 2]: the result
                     of each split, its largest score and the sum of its weights
    finished         int32 [rows, KV_HEADS], zeros before and after: number of finished splits

    A program is one split (CHUNK positions) of one key head; the last one to finish joins them.
    QUERIES is GROUP (query heads per key head) rounded up to what a matrix product accepts.
    """
    row, head = tl.program_id(0) // KV_HEADS, tl.program_id(0) % KV_HEADS
    split = tl.program_id(1)
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()
    position = tl.load(at + row).to(tl.int32)
    used = position // CHUNK + 1
    if split < used:
        g, d, n = tl.arange(0, QUERIES), tl.arange(0, HALF), tl.arange(0, 2 * HALF)
        real = (g < GROUP)[:, None]
        width: tl.constexpr = 2 * HALF
        scale = 1.0 / tl.sqrt(width * 1.0)
        cos = tl.load(cosines + position * HALF + d).to(tl.float32)
        sin = tl.load(sines + position * HALF + d).to(tl.float32)
        base = qkv + row * (HEADS + 2 * KV_HEADS) * width
        place = base + (head * GROUP + g)[:, None] * width + d[None, :]
        first = tl.load(place, mask=real, other=0.0).to(tl.float32)
        second = tl.load(place + HALF, mask=real, other=0.0).to(tl.float32)
        each = tl.rsqrt(tl.sum(first * first + second * second, 1) / width + eps)[:, None]
        first = first * each * tl.load(q_norm + d).to(tl.float32)[None, :]
        second = second * each * tl.load(q_norm + HALF + d).to(tl.float32)[None, :]
        kind = keys.dtype.element_ty
        q_low = (first * cos[None, :] - second * sin[None, :]).to(kind)
        q_high = (second * cos[None, :] + first * sin[None, :]).to(kind)
        cache = (row * KV_HEADS + head).to(tl.int64) * capacity * width
        top = tl.full((QUERIES,), float("-inf"), tl.float32)
        total = tl.zeros((QUERIES,), tl.float32)
        sums = tl.zeros((QUERIES, width), tl.float32)
        if split == used - 1:  # the token itself is in the last split
            at_key = base + (HEADS + head) * width
            spot = cache + position * width
            score, value = _own(
                at_key, at_key + KV_HEADS * width, k_norm, keys + spot, values + spot,
                q_low, q_high, cos, sin, eps, HALF,
            )  # fmt: skip
            top = score * scale
            total += 1.0
            sums += value[None, :]
        top, total, sums = _seen(
            keys + cache, values + cache, split * CHUNK, tl.minimum(position, (split + 1) * CHUNK),
            q_low, q_high, scale, top, total, sums, HALF, CHUNK, BLOCK,
        )  # fmt: skip
        heads = row * HEADS + head * GROUP + g
        target = out + heads[:, None] * width + n[None, :]
        if used == 1:
            tl.store(target, (sums / total[:, None]).to(out.dtype.element_ty), mask=real)
        else:
            slot = heads * splits + split
            tl.store(partial + slot[:, None] * width + n[None, :], sums, mask=real)
            tl.store(sizes + slot * 2, top, mask=g < GROUP)
            tl.store(sizes + slot * 2 + 1, total, mask=g < GROUP)
            tl.debug_barrier()  # the whole program has stored before it is counted
            counter = finished + row * KV_HEADS + head
            if tl.atomic_add(counter, 1, sem="acq_rel") == used - 1:
                whole = _joined(partial, sizes, heads * splits, used, g < GROUP, QUERIES, HALF)
                tl.store(target, whole.to(out.dtype.element_ty), mask=real)
                tl.store(counter, 0)


@triton.jit
def _own(
    key, value, k_norm, to_key, to_value, q_low, q_high, cos, sin, eps, HALF: tl.constexpr
):  # fmt: skip
    """Write key and value of the token itself to the cache → its score for each query, unscaled,
    and the value in fp32."""
    d, n = tl.arange(0, HALF), tl.arange(0, 2 * HALF)
    kind = to_key.dtype.element_ty
    one, two = tl.load(key + d).to(tl.float32), tl.load(key + HALF + d).to(tl.float32)
    size = tl.rsqrt(tl.sum(one * one + two * two, 0) / (2 * HALF) + eps)
    one = one * size * tl.load(k_norm + d).to(tl.float32)
    two = two * size * tl.load(k_norm + HALF + d).to(tl.float32)
    low, high = (one * cos - two * sin).to(kind), (two * cos + one * sin).to(kind)
    written = tl.load(value + n)
    tl.store(to_key + d, low)
    tl.store(to_key + HALF + d, high)
    tl.store(to_value + n, written)
    score = tl.sum(q_low.to(tl.float32) * low.to(tl.float32)[None, :], 1)
    score += tl.sum(q_high.to(tl.float32) * high.to(tl.float32)[None, :], 1)
    return score, written.to(tl.float32)


@triton.jit
def _seen(
    keys, values, start, stop, q_low, q_high, scale, top, total, sums,
    HALF: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the positions from `start` up to `stop` of one key head to the running sums."""
    d, n = tl.arange(0, HALF), tl.arange(0, 2 * HALF)
    for number in range(CHUNK // BLOCK):  # positions past the end read nothing
        p = start + number * BLOCK + tl.arange(0, BLOCK)
        inside = p < stop
        spot = p[:, None] * (2 * HALF)
        low = tl.load(keys + spot + d[None, :], mask=inside[:, None], other=0.0)
        high = tl.load(keys + spot + HALF + d[None, :], mask=inside[:, None], other=0.0)
        v = tl.load(values + spot + n[None, :], mask=inside[:, None], other=0.0)
        scores = tl.dot(q_low, tl.trans(low), input_precision="ieee")
        scores = tl.dot(q_high, tl.trans(high), scores, input_precision="ieee")
        scores = tl.where(inside[None, :], scores * scale, float("-inf"))
        new = tl.maximum(top, tl.max(scores, 1))
        shrunk = tl.exp(top - new)
        weights = tl.exp(scores - new[:, None])
        total = total * shrunk + tl.sum(weights, 1)
        sums = tl.dot(weights.to(v.dtype), v, sums * shrunk[:, None], input_precision="ieee")
        top = new
    return top, total, sums


@triton.jit
def _joined(partial, sizes, slots, used, real, QUERIES: tl.constexpr, HALF: tl.constexpr):
    """The results of the `used` splits of each query, combined, [QUERIES, 2 · HALF]. `slots`: the
    slot of each query's first split."""
    n = tl.arange(0, 2 * HALF)
    top = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, 2 * HALF), tl.float32)
    other = 0
    while other < used:
        slot = slots + other
        # Bypass the first-level cache, which may hold stale values.
        part = tl.load(
            partial + slot[:, None] * (2 * HALF) + n[None, :], mask=real[:, None], other=0.0,
            cache_modifier=".cg",
        )  # fmt: skip
        high = tl.load(sizes + slot * 2, mask=real, other=0.0, cache_modifier=".cg")
        mass = tl.load(sizes + slot * 2 + 1, mask=real, other=1.0, cache_modifier=".cg")
        new = tl.maximum(top, high)
        shrunk, share = tl.exp(top - new), tl.exp(high - new)
        total = total * shrunk + mass * share
        sums = sums * shrunk[:, None] + part * share[:, None]
        top = new
        other += 1
    return sums / total[:, None]
