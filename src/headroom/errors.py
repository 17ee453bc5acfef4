"""Everything that can go wrong, as one tree.

    HeadroomError
    ├── InvalidInput            what was asked cannot be done as it stands; exit code 2
    │   ├── InvalidRequest      a field of a request: its name, its value, what is allowed
    │   │   └── UnreadableFile  a file that a field names and that cannot be read
    │   ├── InvalidFile         a text or JSON file that cannot be read: its kind, size or encoding
    │   ├── InvalidSource       an audio file that cannot be read or holds nothing to work on
    │   ├── InvalidCheckpoint   a model folder: keys missing, unexpected, misshapen, or a torn file
    │   └── InvalidOutput       a place where nothing can be written (no right, no room, no format)
    ├── WeightsMissing          a model that is not installed
    ├── DownloadFailed          a source of weights that did not deliver
    ├── DoesNotFit              no plan keeps within the memory there is
    ├── OutOfMemory             the memory ran out all the same, after every tighter plan
    ├── LedgerMismatch          bytes on the device that belong to nobody: a fault of this program
    ├── RenderFailed            the networks made something that is no sound
    ├── LanguageModelFailed     a language model computed something that is no number
    ├── EngineClosed            an engine that was closed was asked to work
    ├── EngineInUse             an engine was asked to work by what listens to its own work
    └── Cancelled               somebody asked for the work to stop

An error carries the numbers that explain it as attributes, and says them in one sentence.
"""

from __future__ import annotations

from pathlib import Path

from headroom.terminal import visible
from headroom.units import gib

_NAME, _PATH = 120, 1000  # characters of a name and of a path that are shown


class HeadroomError(Exception):
    """Root of the tree. `exit_code` is what the command line returns for it.

    Copies and pickles hold the same attributes, whatever the arguments of the constructor.
    """

    exit_code = 1

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.args, self.__dict__)


class InvalidInput(HeadroomError):
    """What was asked cannot be done as it stands: change the input, not the machine."""

    exit_code = 2


class InvalidRequest(InvalidInput):
    """A field of a request holds something that is not allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(
            f"{one_line(field, _NAME)}: {shown(value)} is not allowed; allowed: {allowed}."
        )


class UnreadableFile(InvalidRequest):
    """A file that a field of a request names: `why` it cannot be read."""

    def __init__(self, field: str, value: object, why: str, allowed: str) -> None:
        self.field, self.value, self.why, self.allowed = field, value, why, allowed
        said = f"{one_line(field, _NAME)}: {shown(value)} {why}; allowed: {allowed}."
        HeadroomError.__init__(self, said)


class InvalidFile(InvalidInput):
    """A file that cannot be read. `why` goes behind its name; `missing`: nothing is there."""

    def __init__(self, path: str | Path, why: str, *, missing: bool = False) -> None:
        self.path, self.why, self.missing = str(path), why, missing
        super().__init__(f"{shown(self.path, _PATH)} {why}.")


class InvalidSource(InvalidInput):
    """An audio file that cannot be used for what was asked of it."""

    def __init__(self, field: str, path: str | Path, why: str, allowed: str) -> None:
        self.field, self.path, self.why, self.allowed = field, str(path), why, allowed
        super().__init__(f"{field}: {shown(self.path, _PATH)} {why}; allowed: {allowed}.")


class InvalidCheckpoint(InvalidInput):
    """A model folder that does not hold what its config promises; one line a fault."""

    def __init__(self, folder: str | Path, faults: list[str]) -> None:
        self.folder, self.faults = str(folder), tuple(faults)
        listed = "\n  ".join(one_line(fault, 400) for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        gap = " " if len(faults) == 1 else "\n  "
        where = shown(self.folder, _PATH)
        super().__init__(f"checkpoint: {where} cannot be used:{gap}{listed}{more}")


class InvalidOutput(InvalidInput):
    """A place that cannot take the result."""

    def __init__(self, field: str, path: str | Path, why: str, allowed: str) -> None:
        self.field, self.path, self.why, self.allowed = field, str(path), why, allowed
        super().__init__(f"{field}: {shown(self.path, _PATH)} {why}; allowed: {allowed}.")


class WeightsMissing(HeadroomError):
    """A model that is known but not installed here."""

    def __init__(self, model: str, looked_in: list[str], how_to_fetch: str) -> None:
        self.model, self.looked_in, self.how_to_fetch = model, tuple(looked_in), how_to_fetch
        places = ", ".join(looked_in) or "nowhere"
        super().__init__(f"model {model!r} is not installed (looked in {places}); {how_to_fetch}.")


class DownloadFailed(HeadroomError):
    """No source delivered the file, or what it delivered is not what was announced."""


class DoesNotFit(HeadroomError):
    """No plan keeps within the budget. `least` and `budget` are bytes; `help`: what would do."""

    def __init__(self, least: int, budget: int, what: str = "this request", help: str = "") -> None:
        self.least, self.budget, self.what, self.help = least, budget, what, help
        hint = f" What would help: {help}." if help else ""
        super().__init__(
            f"{what} needs at least {gib(least)}, the budget is {gib(budget)}: "
            f"{gib(least - budget)} are missing.{hint}"
        )


class OutOfMemory(HeadroomError):
    """A stage found less memory than planned, and no tighter plan helped. `planned` is bytes."""

    def __init__(self, stage: str, planned: int, tried: int) -> None:
        self.stage, self.planned, self.tried = stage, planned, tried
        super().__init__(
            f"the stage {stage!r} ran out of memory, though {gib(planned)} were planned for it; "
            f"{tried} tighter plans did not help. Something else may be using the card: "
            "`acestep doctor` shows what."
        )


class LedgerMismatch(HeadroomError):
    """What the parts own of the device, and what is allocated there, are not the same; bytes."""

    def __init__(self, owned: int, allocated: int) -> None:
        self.owned, self.allocated = owned, allocated
        super().__init__(
            f"the parts own {owned} bytes of the device, {allocated} are allocated: "
            f"{allocated - owned:+} belong to nobody"
        )


class RenderFailed(HeadroomError):
    """The networks made something that is no sound, such as values that are not numbers."""


class LanguageModelFailed(HeadroomError):
    """A language model computed something that is no number. `written`: tokens before that."""

    def __init__(self, model: str, dtype: str, written: int, how: str) -> None:
        self.model, self.dtype, self.written, self.how = model, dtype, written, how
        super().__init__(
            f"language model {model!r} computes in {dtype}, and after {written} tokens what it "
            f"computed is no number: {how}."
        )


class EngineClosed(HeadroomError):
    """An engine that was closed cannot work again."""

    def __init__(self) -> None:
        super().__init__("this engine is closed: open another one")


class EngineInUse(HeadroomError):
    """A call would wait for the call it was made from, such as from its own listener."""

    def __init__(self) -> None:
        super().__init__(
            "this engine is at work in this very call, which would wait for itself: "
            "call it once the work is done, not from `on_event` or `cancel`"
        )


class Cancelled(HeadroomError):
    """The work was stopped from outside; nothing was left behind."""


def _again(kind: type[HeadroomError], args: tuple[object, ...], state: dict[str, object]) -> object:
    """An error as it was, made without its constructor."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def one_line(text: str, limit: int) -> str:
    """Words from outside, or with such in them, in one line without control characters."""
    plain = visible(text[: limit + 1])
    for sign, shown_as in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        plain = plain.replace(sign, shown_as)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def written(value: object) -> str:
    """What `str` makes of a value; in words where Python cannot write it out, as in `shown`."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return shown(value)


def shown(value: object, limit: int = 80) -> str:
    """The value as Python writes it, cut to `limit` characters; in words where it cannot be."""
    if isinstance(value, str | bytes):
        value = value[: limit + 1]  # not all of a long text is written out to be thrown away
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; too deep a list
        return f"a value of type {type(value).__name__} that is too long to be shown"
    return text if len(text) <= limit else text[: limit - 1] + "…"
