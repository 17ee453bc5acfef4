"""`acestep settings`: prints every setting, its value, and where the value came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from headroom.cli.parser import Parser
from headroom.settings import DEFAULT, Row, load


def parser() -> Parser:
    """The flags of `acestep settings`."""
    about = "Settings come from the environment, then from .env in this folder."
    parser = Parser("acestep settings", description=about, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def run(words: Sequence[str]) -> int:
    """Run `acestep settings [--json]`; the exit code. Raises InvalidRequest for a bad value."""
    args = parser().parse_args(words)
    settings = load()
    rows = settings.rows()
    if args.json:
        value = {
            "settings": [_json(row) for row in rows],
            "unknown": list(settings.unknown),
            "ignored": list(settings.ignored),
        }
        sys.stdout.write(json.dumps(value, indent=1) + "\n")
        return 0
    for row in rows:
        sys.stdout.write(_text(row))
    return 0


def _json(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "value": row.value,
        "source": row.source,
        "help": row.help,
        "allowed": row.allowed,
        "replaces": list(row.replaces),
    }


def _text(row: Row) -> str:
    source = "" if row.source == DEFAULT else f"  <- {row.source}"
    older = f" Older names: {', '.join(row.replaces)}." if row.replaces else ""
    return f"{row.name} = {row.value}{source}\n    {row.help} Allowed: {row.allowed}.{older}\n"
