"""Every kind of work that has formulas of its own, and the works it is traced with.

A kind is named by model size, precision and the key of `measures`; its works differ in every
measure, so that the coefficients can be told apart, and are as short as the kind allows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from footprint.fit import Rows, aligned, largest, solve
from footprint.traces import model, songs, trace, trace_timing, trace_writing
from headroom.hardware.machine import DType
from headroom.models.acestep.cost import measures
from headroom.models.acestep.cost.lm_cost import measures as measures_of_writing
from headroom.models.acestep.cost.measures import Measured
from headroom.models.acestep.networks.config import LATENT_RATE
from headroom.models.acestep.networks.released import LMS
from headroom.models.acestep.requests.songs import Text2Music

Stage = Literal["condition", "schedule", "denoise", "decode", "align", "write"]
LYRICS = {"plain": (1, 4, 6), "dense": (40, 80, 60), "fold": (130, 170, 150)}  # lines
# Whole seconds: an even number of them is an even number of frames, an odd one an odd.
SECONDS = {"plain": (6, 8, 10), "dense": (12, 20, 30), "fold": (90, 124, 150)}
DTYPES: tuple[DType, ...] = ("bfloat16",)  # what cards compute in; others are estimated from above
TILED = ((64, 150), (64, 152), (64, 187), (96, 230), (128, 301))  # tiles and frames: three tiles


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of work."""

    size: str
    dtype: DType
    stage: Stage
    shape: str = "plain"
    odd: bool = False
    guided: bool = False
    batch: bool = False
    many: bool = False
    tiled: bool = False
    precision: str | None = None  # of converted weights

    @property
    def name(self) -> str:
        words = [self.size, self.precision or self.dtype, self.stage]
        if self.stage in ("condition", "denoise", "align"):
            words.append(self.shape)
        if self.stage == "decode":
            words.append("tiled" if self.tiled else "whole")
        flags = {"odd": self.odd, "guided": self.guided, "batch": self.batch, "many": self.many}
        return " ".join([*words, *(word for word, on in flags.items() if on)])


def _kinds() -> list[Kind]:
    found = []
    for size in ("2b", "xl"):
        for dtype in DTYPES:
            found += [Kind(size, dtype, "schedule")]
            found += [Kind(size, dtype, "decode", tiled=tiled) for tiled in (True, False)]
            for guided in (False, True):
                for shape in SECONDS:
                    found.append(Kind(size, dtype, "condition", shape, guided=guided))
                    if not guided:
                        for odd in (False, True):
                            align = Kind(size, dtype, "align", shape, odd)
                            found += [align, replace(align, precision="int8")]
                    for odd in (False, True):
                        for batch, many in ((False, False), (True, False), (True, True)):
                            work = Kind(size, dtype, "denoise", shape, odd, guided, batch, many)
                            found += [work, replace(work, precision="int8")]
    for size in LMS:
        for guided in (False, True):
            for batch in (False, True):
                write = Kind(size, "bfloat16", "write", guided=guided, batch=batch)
                found += [write, replace(write, precision="int8")]
    return found


KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _kinds()}


def coefficients(kind: Kind) -> Rows:
    """The formulas of one kind of work."""
    pairs = list(_POINTS[kind.stage](kind))
    steps = [n for _, _, n in pairs]
    rows = solve([m.measures for m, _, _ in pairs], aligned([t for _, t, _ in pairs], steps))
    return largest(rows, [_sample(kind) for _ in range(4000)])


Points = Sequence[tuple[Measured, Sequence[int], int]]


def _text(lines: int, length: float, steps: int, words: int = 1) -> Text2Music:
    return Text2Music(
        caption="slow " * words + "bossa nova",
        lyrics="la la la\n" * lines,
        duration=length,
        inference_steps=steps,
    )


def _denoise(kind: Kind) -> Points:
    made, device, pool = model(kind.size, kind.guided, kind.dtype)
    found = []
    for number in range(10):
        steps, lines = 2 + number % 2, (5, 30, 60, 100)[number % 4]
        length = SECONDS[kind.shape][number % 3] + (2 * (number // 3)) * (kind.shape != "plain")
        length += -kind.odd if length == 10 else kind.odd
        seeds = 1 + kind.batch * (not kind.many) + kind.batch * (number // 2 % 2)
        asked = [_text(lines, length, steps)]
        if kind.many:
            asked.append(_text(lines + 3, length, steps, 2))
        batch = songs(made, asked, seeds)
        told = measures.prompt_tokens(batch, made.assets.tokenizer)
        rows = sum(w.rows for w in told)
        measured = measures.denoise(batch, len(told), rows, made.config)
        assert measured.key == " ".join(kind.name.split()[2:]), (measured.key, kind)
        stages = trace(made, device, pool, batch, until="denoise", precision=kind.precision)
        live = stages["denoise"].live
        found.append((measured, live, steps))
    return found


def _condition(kind: Kind) -> Points:
    made, device, pool = model(kind.size, kind.guided, kind.dtype)
    found = []
    for number in range(7):
        lines = LYRICS[kind.shape][number % 3] + number * (kind.shape != "plain")
        batch = songs(made, [_text(lines, 10, 2, 1 + 9 * (number % 4))], 1)
        (told,) = measures.prompt_tokens(batch, made.assets.tokenizer)
        measured = measures.condition(told, made.config, kind.guided)
        assert measured.key == " ".join(kind.name.split()[2:]), (measured.key, told, kind)
        live = trace(made, device, pool, batch, until="condition")["condition"].live
        found.append((measured, live, 2))
    return found


def _schedule(kind: Kind) -> Points:
    made, device, pool = model(kind.size, False, kind.dtype)
    found = []
    for steps in (1, 5, 12):
        batch = songs(made, [_text(2, 10, steps)], 1)
        live = trace(made, device, pool, batch, until="schedule")["schedule"].live
        found.append((measures.schedule(steps + 1), live, 2))
    return found


def _decode(kind: Kind) -> Points:
    made, device, pool = model(kind.size, False, kind.dtype)
    halo, found = made.vae_config.decode_halo, []
    for number in range(5):
        tile, frames = TILED[number] if kind.tiled else (512, 130 + 7 * number)
        batch = songs(made, [_text(2, frames / 25, 2)], 1)
        live = trace(made, device, pool, batch, until="decode", tile=tile)["decode"].live
        measured = measures.decode_work(batch[0].frames, tile, halo)
        assert measured.key == " ".join(kind.name.split()[2:]), (measured, kind)
        found.append((measured, live, 2))
    return found


def _align(kind: Kind) -> Points:
    made, device, pool = model(kind.size, False, kind.dtype)
    found = []
    for number in range(9):
        length = SECONDS[kind.shape][number % 3] + (2 * (number // 3)) * (kind.shape != "plain")
        length += -kind.odd if length == 10 else kind.odd
        frames, rows = length * LATENT_RATE, (60, 300, 900, 1700)[number % 4] + number
        measured = measures.align_work(frames, rows, made.config)
        assert measured.key == " ".join(kind.name.split()[2:]), (measured.key, kind)
        live = trace_timing(made, device, pool, frames, rows, kind.precision).live
        found.append((measured, live, 1))
    return found


def _write(kind: Kind) -> Points:
    found = []
    for number in range(9):
        songs_ = 1 if not kind.batch else 2 + number % 3
        codes, prompt = 3 + number % 2, (40, 700, 1500, 300, 1000)[number % 5]
        measured = measures_of_writing(
            songs_, songs_ * (1 + kind.guided), prompt, prompt + codes, codes, kind.guided
        )
        assert measured.key == " ".join(kind.name.split()[2:]), (measured, kind)
        precision = kind.precision or kind.dtype
        traced = trace_writing(kind.size, prompt, songs_, codes, kind.guided, precision)
        found.append((measured, traced.live, codes - 1))  # the last one is not read again
    return found


_POINTS: Mapping[Stage, Callable[[Kind], Points]] = {
    "condition": _condition,
    "schedule": _schedule,
    "denoise": _denoise,
    "decode": _decode,
    "align": _align,
    "write": _write,
}


# --- where a formula may be the largest ------------------------------------------------------


def _sample(kind: Kind) -> tuple[int, ...]:
    """Measures of some work of this kind, drawn over all that can be asked for."""
    pick, window = random.randint, 128
    if kind.stage == "schedule":
        return 1, pick(2, 201)
    if kind.stage == "decode":
        frames = pick(128, 15_000)
        if not kind.tiled:
            return 1, frames, 0
        # Three tiles, as in the traces: what the last one keeps is a sum of these for three only,
        # and it is never more than the first one keeps.
        return 1, -(-(frames - 18) // 3) + 18, frames
    if kind.stage == "write":
        songs_ = pick(2, 8) if kind.batch else 1
        prompt, codes = pick(33, 6000), pick(50, 3000)
        guided, rows = kind.guided, songs_ * (1 + kind.guided)
        return measures_of_writing(songs_, rows, prompt, prompt + codes, codes, guided).measures
    low, high = {"plain": (1, 129), "dense": (130, 1024), "fold": (1025, 7500)}[kind.shape]
    length = pick(max(low, 1 if kind.stage == "condition" else 64), high)
    mask, folded = measures.mask_elements(length, window), measures.blocked_length(length, window)
    if folded and not kind.batch:
        mask = 0
    if kind.stage == "condition":
        return 1, pick(20, 256), min(length, 2048), mask, min(folded, 2048)
    if kind.stage == "align":
        rows = pick(20, 2305)
        return 1, length, rows, length * rows, mask, folded
    songs_ = pick(2, 8) if kind.batch else 1
    rows = pick(20, 2305) * (pick(2, songs_) if kind.many else 1)
    return 1, length * songs_, songs_ - 1, rows, pick(2, 201), mask, folded * songs_
