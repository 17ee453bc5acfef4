"""Formats the findings of a tier test as tables. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from headroom.profiler.tiers.rows import TierRow, TierTest, capabilities
from headroom.profiler.tiers.table import published
from headroom.units import GIB, clock

SIGNS = {"ok": "✅ OK", "failed": "❌ FAILED", "does not fit": "➖ NO FIT"}
DASH = "—"
STATUS = 9  # terminal columns; the sign takes two of them
ROW = "  {:<7} {:<10} {:<7} {:<10} {} {:<12} {}"
HEAD = ROW.format("VRAM", "Tier", "LM", "Duration", "Status".ljust(STATUS), "Peak VRAM", "Notes")
CAPABILITY = "  {:<45} {:<10} {:>5}"
CAPABILITY_HEAD = "  {:<45} {:<10} {}".format("Capability", "Min Tier", "VRAM")
BATCH = "  {:<7} {:<10} {:<18} {:<10} {:<20} {:<10} {}"
BATCH_HEAD = BATCH.format(
    "VRAM", "Tier", "Max Batch (no LM)", "Peak VRAM", "Max Batch (with LM)", "Peak VRAM",
    "Published (no LM / LM)",
)  # fmt: skip
EMPIRICAL = (
    "Measured with {seconds:g} s songs of {model}; other DiT variants, a language model, longer",
    "songs and other kernels of attention move these borders. Reports of other cards are welcome.",
)


def progress(row: TierRow) -> str:
    """One row as a line, printed while others are still running."""
    outcome = ": ".join(filter(None, (row.status, "; ".join(row.faults) or _peak(row))))
    return f"{_size(row)} {row.test_variant}: {outcome} ({clock(row.wall_seconds)})"


def printed(test: TierTest) -> str:
    """All tables that are not empty, and a verdict."""
    parts = ["\n".join(_results(test))]
    if test.boundary:
        parts.append("\n".join(_boundary(test)))
    if test.batch_boundary:
        parts.append("\n".join(_batches(test)))
    return "\n\n".join([*parts, _verdict(test)]) + "\n"


def _results(test: TierTest) -> Iterator[str]:
    yield from _title("TIER TEST RESULTS", 100)
    yield HEAD
    yield "  " + "─" * 78
    for row in test.rows:
        lm = DASH if row.lm is None else row.lm
        named = () if row.test_variant == "default" else (row.test_variant,)
        notes = ", ".join((*named, *row.notes))
        yield ROW.format(
            _size(row), row.tier, lm, f"{row.duration:g}s", _status(row), _peak(row), notes
        )


def _boundary(test: TierTest) -> Iterator[str]:
    yield from _title("BOUNDARY ANALYSIS", 17)
    yield CAPABILITY_HEAD
    yield "  " + "-" * 60
    for one in capabilities(test.rows):
        least = one.least
        tier, size = (DASH, DASH) if least is None else (least.tier, _size(least))
        yield CAPABILITY.format(one.name, tier, size)
    yield "  " + "-" * 60
    if test.rows:
        words = {"seconds": test.rows[0].duration, "model": test.rows[0].model}
        yield from ("  " + line.format(**words) for line in EMPIRICAL)


def _batches(test: TierTest) -> Iterator[str]:
    yield from _title("BATCH BOUNDARY SUMMARY", 100)
    yield BATCH_HEAD
    yield "  " + "─" * 98
    for size in dict.fromkeys(row.vram_gb for row in test.rows if row.is_batch):
        rows = [row for row in test.rows if row.vram_gb == size and row.is_batch]
        row = published(size, test.family)
        with_lm, without = row.batch
        cells = [*_largest(rows, False), *_largest(rows, True)]
        promise = f"{without} / {with_lm if row.lms else DASH}"
        yield BATCH.format(_size(rows[0]), rows[0].tier, *cells, promise)


def _largest(rows: list[TierRow], use_lm: bool) -> tuple[str, str]:
    """The largest batch that was made in one piece, and its peak."""
    tried = [row for row in rows if row.use_lm == use_lm]
    largest = max((row for row in tried if row.ok), key=lambda row: row.batch_size, default=None)
    if largest is None:
        return ("0" if tried else DASH), DASH
    return str(largest.batch_size), _peak(largest)


def _verdict(test: TierTest) -> str:
    good = sum(row.ok for row in test.rows)
    lines = [f"{good} of {len(test.rows)} rows OK in {clock(test.seconds)}."]
    small = sum(row.status == "does not fit" and not row.promised for row in test.rows)
    if small:
        lines[0] += f" {small} have no room, where none is promised."
    lines += [
        f"NOT OK: {_size(row)} {row.tier} {row.test_variant}: {'; '.join(row.faults)}"
        for row in test.broken
    ]
    if test.interrupted:
        lines.append("Interrupted: these are the rows that were there.")
    return "\n".join(lines)


def _title(words: str, width: int) -> tuple[str, str]:
    return words, "=" * width


def _size(row: TierRow) -> str:
    return f"{row.vram_gb:g}GB"


def _status(row: TierRow) -> str:
    """The row's sign and word, padded by their width in a terminal."""
    sign = SIGNS[row.status]
    return sign + " " * (STATUS - cell_len(sign))


def _peak(row: TierRow) -> str:
    return f"{row.measured_peak / GIB:.1f}GB" if row.measured_peak else DASH
