"""Safe terminal output: control characters in untrusted text are escaped before they are printed.

File names, captions, configs, listings and messages of other programs may contain control
characters and escape sequences that move the cursor, change colours or overwrite earlier lines. The
command line runs inside `guarded`, which escapes them on both output streams. Output drawn by rich
goes through `console`: rich's own sequences pass, but those in its texts are escaped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

# All control characters except tab and line endings; characters that change the text direction or
# end a line invisibly; lone surrogates, which no terminal can show.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    "|\r(?!\n)"
)


def visible(text: str) -> str:
    r"""The text with control characters escaped as in `\x1b` and `\u009b`.

    Valid JSON text stays valid JSON with the same value.
    """
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


class _Visible:
    """A text stream that escapes what is written; everything else is passed to the stream."""

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
    """A context in which standard output and standard error escape control characters."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _guard(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guard(stream: TextIO) -> object:
    # On Windows the standard streams are None without a console.
    return stream if stream is None or isinstance(stream, _Visible) else _Visible(stream)


def console(stream: TextIO) -> Console:
    """A rich console on a stream; text is shown literally, without markup or emoji names."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

    inner = stream.raw if isinstance(stream, _Visible) else stream
    return Plain(file=inner, markup=False, emoji=False, highlight=False)
