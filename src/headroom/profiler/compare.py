"""Compares two files of profiler results, figure by figure, as ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom.errors import InvalidFile, InvalidRequest, UnreadableFile
from headroom.files import read_json
from headroom.profiler.record import FORMAT
from headroom.profiler.report import DASH, title

NEGLIGIBLE = 0.0005  # seconds: ratios of shorter times are meaningless
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One file: where its figures come from, and each figure by name (seconds, or bytes)."""

    path: Path
    mode: str
    about: str
    figures: Figures


def read(path: Path) -> Side:
    """Read a file that `--benchmark-output` wrote. Raises InvalidRequest."""
    allowed = "a file that `acestep profile --benchmark-output` wrote"
    try:
        record = read_json(path)
    except InvalidFile as error:
        raise UnreadableFile("compare", str(path), error.why, allowed) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InvalidRequest("compare", str(path), allowed)
    try:
        return Side(path, str(record["mode"]), _about(record), dict(_figures(record)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"{allowed} (its figures are not in the places where it writes them)"
        raise InvalidRequest("compare", str(path), why) from error


def compared(a: Side, b: Side) -> str:
    """One line for each figure: in the first, in the second, and the second over the first.

    Raises InvalidRequest for files of different modes, and for files with no figure in common.
    """
    if a.mode != b.mode:
        raise InvalidRequest("compare", str(b.path), f"a file of mode {a.mode}, as {a.path.name}")
    both = [name for name in a.figures if name in b.figures]
    if not both:
        raise InvalidRequest("compare", str(b.path), f"a file that has figures of {a.path.name}")
    width = max(map(len, both))
    lines = [title("COMPARISON"), f"  A  {a.path}: {a.about}", f"  B  {b.path}: {b.about}", ""]
    lines.append(f"  {'':<{width}}  {'A':>11}  {'B':>11}  {'B/A':>8}")
    for name in both:
        left, right = a.figures[name], b.figures[name]
        ratio = f"{right / left:.2f}x" if left > NEGLIGIBLE else DASH
        lines.append(f"  {name:<{width}}  {_shown(name, left)}  {_shown(name, right)}  {ratio:>8}")
    for side, other in ((a, b), (b, a)):
        alone = [name for name in side.figures if name not in other.figures]
        if alone:
            lines.append(f"  only in {side.path}: {len(alone)} figures, such as {alone[0]}")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    return f"{value / 2**20:>7.0f} MiB" if name.endswith("memory") else f"{value:>9.3f} s"


def _about(record: Mapping[str, Any]) -> str:
    machine, setup = record.get("machine", {}), record.get("setup", {})
    words = [machine.get("name"), setup.get("model"), setup.get("dtype"), record.get("made")]
    return ", ".join(str(word) for word in words if word)


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every comparable figure, under a unique name."""
    for part in ("profile", "text"):
        if part in record:
            yield from _run(record[part], "")
            for stage in record[part]["stages"]:
                yield f"{stage['stage']} memory", float(stage["measured"])
    for row in record.get("benchmark", {}).get("rows", ()):
        if row["measured"] is not None:
            config = row["config"]
            think = ", think" if config["thinking"] else ""
            long = "" if config["duration"] is None else f"{config['duration']:g} s × "
            name = f"{long}{config['batch_size']}, {config['inference_steps']} steps"
            yield from _run(row["measured"], f"{name}{think}: ")
    for row in record.get("results", ()):
        lm = "LM" if row["use_lm"] else "no LM"
        name = f"{row['tier_gb']:g} GB, {row['test_variant']}, {lm}: "
        yield f"{name}wall", float(row["wall_time"])
        yield f"{name}memory", float(row["measured_peak"])


def _run(parts: Mapping[str, Any], before: str) -> Iterator[tuple[str, float]]:
    yield f"{before}wall", float(parts["wall"])
    for name, seconds in parts["parts"].items():
        yield f"{before}{name}", float(seconds)
