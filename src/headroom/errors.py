"""Everything that can go wrong, as one tree.

    HeadroomError
    ├── InvalidInput            what was asked cannot be done as it stands; exit code 2
    │   ├── InvalidRequest      a field of a request: its name, its value, what is allowed
    │   │   └── UnreadableFile  a file that a field names and that cannot be read
    │   ├── InvalidFile         a text or JSON file that cannot be read: its kind, size or encoding
    │   ├── InvalidSource       an audio file that cannot be read or holds nothing to work on
    │   ├── InvalidCheckpoint   a model folder: keys missing, unexpected, misshapen, or a torn file
    │   ├── InvalidOutput       a place where nothing can be written (no right, no room, no format)
    │   ├── InvalidDatabase     a database that this program cannot use, such as a newer one
    │   ├── TooLarge            an upload of more bytes than are accepted
    │   ├── UnknownId           a job or a file that does not exist, or belongs to somebody else
    │   └── Conflict            what was asked contradicts what is stored
    ├── WeightsMissing          a model that is not installed
    ├── DownloadFailed          a source of weights that did not deliver
    ├── DoesNotFit              no plan keeps within the memory there is
    ├── OutOfMemory             the memory ran out all the same, after every tighter plan
    ├── LedgerMismatch          bytes on the device that belong to nobody: a fault of this program
    ├── RenderFailed            the networks made something that is no sound
    ├── LanguageModelFailed     a language model computed something that is no number
    ├── EngineClosed            an engine that was closed was asked to work
    ├── EngineInUse             an engine was asked to work by what listens to work on its card
    ├── QueueFull               as many jobs wait as may wait
    ├── StorageFull             the disk has less free space than must stay free
    ├── StorageFailed           the storage of files cannot be reached, or refused
    ├── DatabaseFailed          the database cannot be reached, or stayed locked
    ├── ServiceFailed           a service elsewhere cannot be reached, or refused to work
    ├── ClaimLost               a worker acts on a job that is no longer its own
    ├── WorkerLost              every process that worked on a job died
    ├── NotSupportedYet         what another version of this program will do
    ├── InternalFault           a fault of this program, in the work on a job
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


class InvalidDatabase(InvalidInput):
    """A database that cannot be used; `url` is shown without its password."""

    def __init__(self, url: str, why: str, allowed: str) -> None:
        self.url, self.why, self.allowed = url, why, allowed
        super().__init__(f"database: {shown(url, _PATH)} {why}; allowed: {allowed}.")


class TooLarge(InvalidInput):
    """An upload of more than `most` bytes; the rest of it was not read."""

    def __init__(self, field: str, most: int) -> None:
        self.field, self.most = field, most
        super().__init__(f"{field}: more than {most} bytes, the most that is accepted.")


class UnknownId(InvalidInput):
    """`kind` ("job", "file", "key") and `id` of what does not exist or belongs to somebody else."""

    def __init__(self, kind: str, id: str) -> None:
        self.kind, self.id = kind, id
        super().__init__(f"{kind} {shown(id)} does not exist.")


class Conflict(InvalidInput):
    """What was asked contradicts what is stored, such as deleting a job that is running."""

    def __init__(self, kind: str, id: str, why: str) -> None:
        self.kind, self.id, self.why = kind, id, why
        super().__init__(f"{kind} {shown(id)} {why}.")


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
            "this very call is at work on the card, or waits for it, and would wait for itself: "
            "call it once the work is done, not from `on_event` or `cancel`"
        )


class QueueFull(HeadroomError):
    """`waiting` jobs wait, of all or of this key (`own`), and `limit` is the most that may."""

    def __init__(self, waiting: int, limit: int, own: bool) -> None:
        self.waiting, self.limit, self.own = waiting, limit, own
        whose = "jobs of this key" if own else "jobs"
        super().__init__(f"{waiting} {whose} wait already, and at most {limit} may: try later.")


class StorageFull(HeadroomError):
    """`free` bytes are left on the disk, and `floor` bytes must stay free (0: it is full)."""

    def __init__(self, free: int, floor: int) -> None:
        self.free, self.floor = free, floor
        must = f" and {gib(floor)} must stay free" if floor else ""
        super().__init__(
            f"the disk has {gib(free)} free{must}: nothing more is accepted until files are "
            "deleted or expire."
        )


class StorageFailed(HeadroomError):
    """The storage of files did not do what it was asked, for the reason `why`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the storage of files failed: {one_line(why, 400)}.")


class DatabaseFailed(HeadroomError):
    """The database did not do what it was asked, for the reason `why`; nothing was changed."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the database failed: {one_line(why, 400)}.")


class ServiceFailed(HeadroomError):
    """The service at `url` did not do what it was asked, for the reason `why`."""

    def __init__(self, url: str, why: str) -> None:
        self.url, self.why = url, why
        super().__init__(f"the service at {one_line(url, _PATH)} {one_line(why, 400)}.")


class ClaimLost(HeadroomError):
    """A worker acts on a job that was taken from it or has ended: it has to stop the work."""

    def __init__(self, job: str, attempt: int) -> None:
        self.job, self.attempt = job, attempt
        super().__init__(f"job {shown(job)}: attempt {attempt} is no longer in force.")


class WorkerLost(HeadroomError):
    """The process that worked on a job died, in each of `attempts` attempts."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        super().__init__(f"the process that worked on it died, {attempts} times.")


ADAPTERS = "adapters (LoRA, LoKr)", "version 0.2"
"""What is not supported yet, and the version that brings it."""


class NotSupportedYet(HeadroomError, NotImplementedError):
    """A feature that comes with a later version. `what` and `when` name both."""

    def __init__(self, name: str, what: str, when: str) -> None:
        self.name, self.what, self.when = name, what, when
        super().__init__(
            f"{name}: this version has no {what}; planned for {when}. Until then songs are made "
            "by the models as they were released."
        )


class InternalFault(HeadroomError):
    """A fault of this program, an exception of the class `kind`; the log of the process that worked
    has the rest."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"a fault of this program ({shown(kind)}); its log says more.")


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
