"""Where text leaves for a terminal: wherever it came from, it cannot steer the terminal.

File names, captions, configs, listings and other programs' messages may hold control characters
and escape sequences that move the cursor, change colours or rewrite lines that were already shown.
The command line runs inside `guarded`, which makes them visible on both of its streams; what rich
draws goes through `console`, whose own sequences pass and whose texts do not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

# All control characters but tab and the ends of lines; what turns the direction of a line around
# or ends it unseen; halves of letters, which no terminal can show.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    "|\r(?!\n)"
)


def visible(text: str) -> str:
    r"""The text with control characters as `\x1b` and `\u009b`.

    What JSON text may hold unescaped stays JSON of the same value.
    """
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


class _Visible:
    """A text stream that makes what is written visible; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        self.raw.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and standard error make visible what is written to them, for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _guard(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guard(stream: TextIO) -> object:
    # Without a console Windows has no streams at all.
    return stream if stream is None or isinstance(stream, _Visible) else _Visible(stream)


def console(stream: TextIO) -> Console:
    """A console of rich's on a stream: text is shown as it is, without markup or emoji names."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

    inner = stream.raw if isinstance(stream, _Visible) else stream
    return Plain(file=inner, markup=False, emoji=False, highlight=False)
