"""The table of `acestep models list`, of the models here or of those of a service elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from headroom.units import gib
from headroom.weights.catalog import Installed, ReleasedModel


def row_of(name: str, model: ReleasedModel | None, item: Installed | None) -> dict[str, object]:
    """A model as `models list --json` prints it: released, installed, or both."""
    state = "no" if model is None or model.repo else "unpublished"
    if item is not None:
        state = "incomplete" if item.faults else "bundled" if item.bundled else "yes"
        if item.whole and item.lacks:
            state = "lacking"
    return {
        "name": name,
        "kind": model.kind.name if model else item.kind.name if item else None,
        "state": state,
        "ready": bool(item and item.ready),
        "bytes": item.nbytes if item and item.whole else model.nbytes if model else 0,
        "folder": str(item.folder) if item else None,
        "faults": list(item.faults) if item else [],
        "lacks": list(item.lacks) if item else [],
        "repo": model.repo if model else None,
        "about": model.about if model else "",
    }


def print_table(console: Console, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a line for each model: `name`, `bytes`, `state` and `about`."""
    table = Table(box=None, pad_edge=False)
    for title in ("model", "size", "here", "about"):
        table.add_column(
            title, justify="right" if title == "size" else "left", no_wrap=title != "about"
        )
    for row in rows:
        size = int(row["bytes"])
        table.add_row(
            str(row["name"]), gib(size) if size else "-", str(row["state"]), str(row["about"])
        )
    console.print(table)


def usual(name: object) -> str:
    """The line that tells which model is used."""
    return f"used where none is named: {name or 'none, there is none'}"


def print_of_service(console: Console, told: Mapping[str, Any]) -> None:
    """Print what a service answers about its models."""
    if not told["models"]:
        console.print(f"{told['family']} has no model folders: there is nothing to download")
        return
    print_table(console, [{**row, "state": _state(row)} for row in told["models"]])
    console.print(usual(told["best"]))


def _state(row: Mapping[str, Any]) -> str:
    if row["installed"]:
        return "lacking" if not row["ready"] else "bundled" if row["bundled"] else "yes"
    return "no"
