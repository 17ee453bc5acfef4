"""What the commands' parsers share: faults in one line, spellings, flags of the engine."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, get_args

from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, Kind

AUTO = "auto"
DTYPES = (AUTO, *get_args(DType))
DEVICES = (AUTO, *(kind for kind in get_args(Kind) if kind != "simulated"))
_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose faults are one line on standard error and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the flags are listed."""
        sys.stderr.write(f"error: {message}; `{self.prog} --help` lists the flags.\n")
        raise SystemExit(2)


def spelt(words: Sequence[str]) -> list[str]:
    """Flags with hyphens, whatever they were written with; negative values tied to their flags.

    argparse takes `-1e3`, `-inf` and `-1,2` for flags of their own.
    """
    found: list[str] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word.partition("=")
            found.append(name.replace("_", "-") + equals + value)
        elif _NEGATIVE.match(word) and found and _is_open_flag(found[-1]):
            found[-1] += "=" + word
        else:
            found.append(word)
    return found


def _is_open_flag(word: str) -> bool:
    return word.startswith("--") and len(word) > 2 and "=" not in word


@dataclass(frozen=True, slots=True)
class EngineFlags:
    """How the engine is to be opened, as far as somebody said."""

    device: str
    dtype: str
    model: str | None
    checkpoint_dir: Path | None
    compile: bool | None
    threads: int | None


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """The flags every command has that runs a model."""
    group = parser.add_argument_group("Machine and model")
    group.add_argument(
        "--device", default=AUTO, metavar="|".join(DEVICES),
        help="where to compute; cuda and xpu may carry an index, as cuda:1",
    )  # fmt: skip
    group.add_argument("--dtype", default=AUTO, metavar="|".join(DTYPES), help="precision")
    group.add_argument("--model", metavar="NAME", help="as `acestep models list` shows them")
    group.add_argument("--checkpoint-dir", metavar="FOLDER", help="folder of the model folders")
    group.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None,
        help="compile what runs often (left open: where it pays)",
    )  # fmt: skip
    group.add_argument("--threads", metavar="N", help="of the processor (left open: as torch has)")


def engine_flags(args: argparse.Namespace) -> EngineFlags:
    """Read them. Raises InvalidRequest for what can be seen to be wrong without loading torch."""
    kind, _, index = args.device.lower().partition(":")
    if kind not in DEVICES or (index and not index.isdecimal()):
        raise InvalidRequest("device", args.device, "one of " + ", ".join(DEVICES))
    if args.dtype not in DTYPES:
        raise InvalidRequest("dtype", args.dtype, "one of " + ", ".join(DTYPES))
    folder = None if args.checkpoint_dir is None else Path(args.checkpoint_dir).expanduser()
    if folder is not None and not folder.is_dir():
        raise InvalidRequest("checkpoint_dir", args.checkpoint_dir, "a folder that is there")
    threads = args.threads
    if threads is not None and not (threads.isdecimal() and int(threads) > 0):
        raise InvalidRequest("threads", threads, "a whole number, at least 1")
    return EngineFlags(
        device=args.device,
        dtype=args.dtype,
        model=args.model or None,
        checkpoint_dir=folder,
        compile=args.compile,
        threads=None if threads is None else int(threads),
    )
