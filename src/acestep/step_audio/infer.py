"""Compatible `tts_infer.py`: the flags of that program for `acestep speech`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from headroom.cli.main import main as run

_KIND, _PLACE = "--edit-type", "--output-dir"


def main(argv: Sequence[str] | None = None) -> int:
    """Clone or edit, as `--edit-type` says (left out: clone); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not {"-h", "--help"} & {*words}:
        words = (
            ["--output-dir", "./output_dir", *words] if not _has(words, "--output-dir") else words
        )
    kind = _value(words, _KIND)
    return run(["speech", "clone" if kind in (None, "clone") else "edit", *words])


def _has(words: Sequence[str], flag: str) -> bool:
    return any(word.replace("_", "-").partition("=")[0] == flag for word in words)


def _value(words: Sequence[str], flag: str) -> str | None:
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag:
            return value if equals else next(iter(words[place + 1 :]), None)
    return None


if __name__ == "__main__":
    sys.exit(main())
