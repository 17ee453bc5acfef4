"""Opens tokenizer.json of a model folder for reading and writing text. No torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headroom.errors import InvalidCheckpoint, InvalidFile, one_line, shown
from headroom.files import read_bytes
from headroom.units import MIB

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "tokenizer.json"
# The released files have up to 24 MiB, a million commas and a quarter of a million brackets.
_LARGEST = 48 * MIB
_MOST = {b",": 4_000_000, b"[": 1_000_000, b"{": 1_000_000}
_PANIC = "PanicException"  # raised by Rust code that panics; not a subclass of Exception
_ADDED = re.compile(rb'"id"\s*:\s*(\d{1,12})\s*,\s*"content"\s*:\s*("(?:[^"\\]|\\.)*")')


class Vocabulary(Protocol):
    """The method of a tokenizer that gives its ids."""

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]: ...


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer, without truncation and padding. Raises InvalidCheckpoint."""
    from tokenizers import Tokenizer

    try:
        data = read_bytes(folder / NAME, _LARGEST).removeprefix(b"\xef\xbb\xbf")
    except InvalidFile as error:
        raise _fault(folder, "not there" if error.missing else error.why) from error
    if any(data.count(mark) > most for mark, most in _MOST.items()):
        raise _fault(folder, "holds more than any tokenizer does")
    try:
        tokenizer = Tokenizer.from_buffer(data)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("a é\n1")  # missing parts of its model only show in use
    except BaseException as error:  # the library raises nothing narrower
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise _fault(folder, f"is no tokenizer ({one_line(str(error), 120)})") from error
    _check_added(folder, data, tokenizer)
    return tokenizer


def check_rows(folder: Path, tokenizer: Vocabulary, rows: int) -> None:
    """Raise InvalidCheckpoint if the tokenizer has ids without a row in the network."""
    top = max(tokenizer.get_vocab(True).values(), default=-1)
    if not 0 <= top < rows:
        raise _fault(folder, f"ids up to {top}, and vocab_size in config.json is {rows}")


def check_ends(folder: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Raise InvalidCheckpoint if it adds such ids around every text."""
    around = tokenizer.encode("").ids
    if any(number >= rows for number in around):
        raise _fault(folder, f"ends every text with the ids {around}, and there are {rows}")


def _check_added(folder: Path, data: bytes, tokenizer: Tokenizer) -> None:
    """Raise InvalidCheckpoint if the library gave an added token another id than the file states.

    The library does that if the ids in the file are not the next free ones.
    """
    for number, content in _ADDED.findall(data):
        try:
            token: str = json.loads(content)
        except ValueError:
            continue  # not what the library reads here
        actual = tokenizer.token_to_id(token)
        if actual != int(number):
            raise _fault(folder, f"{shown(token)} is said to be {int(number)}, and is {actual}")


def _fault(folder: Path, why: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(folder, [f"{NAME}: {why}"])
