"""Windowed attention the way an accelerator computes it, held to the way a CPU does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headroom.nn import attention
from headroom.nn.attention import DENSE_WINDOWS, MASK_STRIDE, Bands, make_bands, window_mask
from support.near import assert_agrees, twice

CPU, META = torch.device("cpu"), torch.device("meta")
WAYS = {
    "dense": (attention._windowed_dense, attention._dense_mask),
    "blocks": (attention._windowed_fold, attention._block_mask),
}


def heads(length: int, count: int, seed: int, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, length, 16, generator=generator)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("window", [1, 3, 8])
@pytest.mark.parametrize("length", [10, 23, 24, 25, 64, 65, 130])
def test_each_way_gives_what_the_loop_gives(way: str, window: int, length: int):
    kernel: Callable[..., Tensor] = WAYS[way][0]
    q, k, v = heads(length, 4, 0), heads(length, 2, 1), heads(length, 2, 2)
    want, exact = twice(lambda: attention._windowed_loop(q, k, v, window))
    mask = WAYS[way][1](length, window, q.dtype, CPU)
    for out in (kernel(q, k, v, window), kernel(q, k, v, window, mask)):
        assert_agrees(out, want, exact)


@pytest.mark.parametrize("length", [37, 8 * 7, 8 * 7 + 1, 200])
def test_rows_of_a_mask_are_aligned_and_each_sees_something(length: int):
    mask = window_mask(length, 7, torch.bfloat16, CPU)
    assert mask.stride(-1) == 1 and all(s % MASK_STRIDE == 0 for s in mask.stride()[:-1])
    assert mask.dtype == torch.bfloat16
    assert set(mask.unique().tolist()) == {0.0, float("-inf")}
    assert (mask == 0).any(-1).all()


def test_a_mask_grows_with_the_length_and_not_with_its_square():
    short, long = (window_mask(n, 128, torch.bfloat16, META) for n in (3000, 6000))
    assert long.nelement() <= 2.1 * short.nelement()
    assert window_mask(128 * DENSE_WINDOWS, 128, torch.bfloat16, META).nelement() <= 1024**2


def test_masks_are_made_once_for_equal_lengths_and_once_each_for_ragged_ones():
    assert make_bands([90], [4, None], torch.float32, CPU) is None
    assert make_bands([90], [None], torch.float32, META) is None
    equal = make_bands([90, 90], [None, 4], torch.float32, META)
    assert isinstance(equal, Bands) and equal.window == 4 and len(equal.masks) == 1
    ragged = make_bands([90, 5, 20], [4], torch.float32, META)
    assert isinstance(ragged, Bands)
    shapes = [None if m is None else m.shape for m in (ragged.mask(i, 4) for i in range(6))]
    alone = [window_mask(n, 4, torch.float32, META).shape for n in (90, 20)]
    assert shapes == [alone[0], None, alone[1]] * 2
    assert ragged.mask(0, 5) is None  # a mask of another window is no mask


def test_grouped_heads_are_spread_where_only_that_is_fast(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[int, bool]] = []

    def watch(q: Tensor, k: Tensor, v: Tensor, *, enable_gqa: bool, **rest: object) -> Tensor:
        seen.append((k.shape[1], enable_gqa))
        return q

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", watch)
    for dtype, masked in ((torch.bfloat16, False), (torch.bfloat16, True), (torch.float32, False)):
        q = torch.empty(1, 4, 9, 16, device=META, dtype=dtype)
        k = torch.empty(1, 2, 9, 16, device=META, dtype=dtype)
        attention._attend(q, k, k, torch.empty(1, 1, 9, 9, device=META) if masked else None)
    assert seen == [(2, True), (4, False), (4, False)]
