"""The three attentions of a step, by every way to compute them, and the kernels that were taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu_check.bench import Bench, Row, drawn, near, normal
from gpu_check.loops import one_step
from headroom.models.acestep.networks.dit import DiT
from headroom.nn import attention as ours

SLOW = ("softmax", "masked_fill")  # parts of attention done without a fused kernel


def attentions(bench: Bench) -> list[Row]:
    rows = []
    sizes = bench.sizes.config.dit
    for seconds in bench.sizes.seconds:
        n = seconds * 25 // 2
        q, k, v = (
            normal(n, heads, sizes.head_dim, seed=i).to(bench.where, bench.fast)
            for i, heads in enumerate((sizes.heads, sizes.kv_heads, sizes.kv_heads))
        )
        rows += [{"tokens": n, **row} for row in _ways(bench, q, k, v)]
    return rows


def _ways(bench: Bench, q: Tensor, k: Tensor, v: Tensor) -> list[Row]:
    window = next(w for w in bench.sizes.config.windows if w is not None)
    n, rows = len(q), []
    bands = ours.make_bands([n], [window], q.dtype, q.device)
    q4, k4, v4 = (x.unsqueeze(0).transpose(1, 2) for x in (q, k, v))
    dense = ours._dense_mask(n, window, q.dtype, q.device)
    blocks = ours._block_mask(n, window, q.dtype, q.device)

    def packed(y: Tensor) -> Tensor:
        return y.transpose(1, 2)[0]

    full: dict[str, Callable[[], Tensor]] = {
        "sdpa": lambda: ours.self_attention(q, k, v, [n]),
        "varlen": lambda: _varlen(q, k, v, None),
    }
    windowed: dict[str, Callable[[], Tensor]] = {
        "as the product does": lambda: ours.self_attention(
            q, k, v, [n], window=window, bands=bands
        ),
        "dense mask": lambda: packed(ours._windowed_dense(q4, k4, v4, window, dense)),
        "folded blocks": lambda: packed(ours._windowed_fold(q4, k4, v4, window, blocks)),
        "varlen": lambda: _varlen(q, k, v, window),
    }
    q32, k32, v32 = (x.float().cpu() for x in (q, k, v))
    for kind, ways, width in (("full", full, None), ("window", windowed, window)):
        reference = ours.self_attention(q32, k32, v32, [n], window=width)
        for name, work in ways.items():
            try:
                row = near(f"{kind}, {name}", work().float(), reference, 2e-2)
                rows.append({**row, "seconds": bench.seconds(work), "kernels": kernels(work)})
            except (RuntimeError, ImportError) as error:
                needed = name != "varlen"
                rows.append({"check": f"{kind}, {name}", "error": str(error), "ok": not needed})
    return rows


def _varlen(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """Flash attention over packed sequences with a window of its own: a candidate, not in use."""
    if q.device.type != "cuda":
        raise RuntimeError("varlen attention is CUDA's")
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor([0, len(q)], dtype=torch.int32, device=q.device)
    more: dict[str, Any] = {}
    known = inspect.signature(varlen_attn).parameters
    if window is not None:
        if "window_size" not in known:
            raise RuntimeError("varlen attention has no window in this version of torch")
        more["window_size"] = (window, window)
    if "enable_gqa" in known:
        more["enable_gqa"] = True
    else:
        repeat = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    out = varlen_attn(q, k, v, ends, ends, len(q), len(q), **more)
    return out if isinstance(out, Tensor) else out[0]


def kernels(work: Callable[[], object], most: int = 12) -> list[str]:
    """Names of the device's kernels a call runs, those that take longest first."""
    from torch.profiler import ProfilerActivity, profile

    on_card = torch.cuda.is_available()
    activities = [ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        work()
        if on_card:
            torch.cuda.synchronize()
    found = profiler.key_averages()
    attribute = "self_device_time_total" if on_card else "self_cpu_time_total"
    order = sorted(found, key=lambda event: -float(getattr(event, attribute)))
    return [event.key[:120] for event in order[:most]]


def step_kernels(bench: Bench) -> list[Row]:
    """The kernels of one whole step. On a card, one that does softmax by itself is a fault."""
    dit = drawn(lambda: DiT(bench.sizes.config), bench.where, bench.fast)
    rows: list[Row] = []
    for seconds in (bench.sizes.seconds[0], bench.sizes.seconds[-1]):
        names = kernels(one_step(dit, seconds, bench.sizes.rows), most=60)
        slow = [name for name in names if any(word in name.lower() for word in SLOW)]
        fused = bench.where.type != "cuda" or not slow
        rows.append({"check": f"fused attention, {seconds} s", "ok": fused, "kernels": names})
    return rows
