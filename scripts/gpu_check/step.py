"""A denoising step at the full size: eager, compiled, as a recorded graph, and guided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from gpu_check.bench import Bench, Row, drawn, near, timing
from gpu_check.loops import one_step
from headroom.models.acestep.networks.dit import DiT
from headroom.runtime.compiled import compile_calls
from headroom.runtime.prepare import bring
from headroom.settings import load


def operations(dit: DiT, tokens: int, rows: int, guided: bool = False) -> float:
    """Floating-point operations of one step with cached keys and values; windows counted exactly.

    The guided half has no cross-attention. Products count 2 a multiplication.
    """
    s, config = dit.config.dit, dit.config
    width, wide = s.width, s.heads * s.head_dim
    halves = 2 if guided else 1
    own = width * s.head_dim * 2 * (s.heads + s.kv_heads) + 3 * width * s.hidden
    total = 0.0
    for window in config.layer_windows(config.dit_layers):
        seen = tokens if window is None else min(tokens, 2 * window + 1)
        total += halves * (2 * tokens * own + 4 * tokens * seen * wide)
        total += 2 * tokens * 2 * width * wide + 4 * tokens * rows * wide
    latent = config.patch * config.latent_channels
    return total + tokens * 2 * latent * width * (1 + halves)


def weight_bytes(dit: DiT) -> int:
    return sum(p.nbytes for p in dit.parameters())


def steps(bench: Bench) -> list[Row]:
    dit = drawn(lambda: DiT(bench.sizes.config), bench.where, bench.fast)
    if bench.where.type != "cpu":
        bring(dit, bench.where)
    rows: list[Row] = []
    for seconds in bench.sizes.seconds:
        for guided in (False, True):
            rows.append(_eager(bench, dit, seconds, guided))
    if bench.device.can_capture():
        rows += [_captured(bench, dit, seconds) for seconds in bench.sizes.seconds]
    return rows


def compiled_steps(bench: Bench) -> list[Row]:
    """The same after compiling every block; the first rows' `first_seconds` is the compiler's."""
    dit = drawn(lambda: DiT(bench.sizes.config), bench.where, bench.fast)
    if bench.where.type != "cpu":
        bring(dit, bench.where)
    kept = {seconds: one_step(dit, seconds, bench.sizes.rows)() for seconds in bench.sizes.seconds}
    if not compile_calls(dit.pieces(), bench.where, Path(load().cache_dir)):
        return [{"check": "compiled step", "ok": True, "skipped": "no compiler here"}]
    rows: list[Row] = []
    for seconds in bench.sizes.seconds:
        if bench.left() < 60:
            rows.append({"seconds_of_audio": seconds, "skipped": "no time left"})
            continue
        work = one_step(dit, seconds, bench.sizes.rows)
        first = bench.once(work)
        row = near(f"compiled step, {seconds} s", work().float(), kept[seconds].float(), 4e-2)
        rows.append({**row, "first_seconds": first, **_timed(bench, dit, seconds, False, work)})
    return rows


def _timed(bench: Bench, dit: DiT, seconds: int, guided: bool, work: Callable[[], object]) -> Row:
    tokens = -(-seconds * 25 // dit.config.patch)
    total = operations(dit, tokens, bench.sizes.rows, guided)
    floor = bench.floor(total, weight_bytes(dit))
    row: Row = {"seconds_of_audio": seconds, "guided": guided, "operations": total}
    return row | timing(bench.seconds(work), floor)


def _eager(bench: Bench, dit: DiT, seconds: int, guided: bool) -> Row:
    work = one_step(dit, seconds, bench.sizes.rows, guided)
    return {"how": "eager", **_timed(bench, dit, seconds, guided, work)}


def _captured(bench: Bench, dit: DiT, seconds: int) -> Row:
    """Recorded once, replayed: what is left when the host issues one launch a step."""
    work = one_step(dit, seconds, bench.sizes.rows)
    expected = work()
    result = torch.empty_like(expected)

    def record() -> None:
        result.copy_(work())

    try:
        graph = bench.device.capture(record)
    except RuntimeError as error:
        return {"check": f"step as a graph, {seconds} s", "ok": False, "error": str(error)}
    result.zero_()
    graph.replay()
    bench.device.synchronize()
    row = near(f"step as a graph, {seconds} s", result.float(), expected.float(), 1e-3)
    return {"how": "graph", **row, **_timed(bench, dit, seconds, False, graph.replay)}
