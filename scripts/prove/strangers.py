"""100,000 odd requests, flags, files, texts and listings are taken or refused in our own words.

    python scripts/prove strangers                                all kinds, 100,000 cases
    python scripts/prove strangers --cases 2000 --kinds env       2,000 of one kind
    python scripts/prove strangers --kinds env --case 17          one case, shown and handed in

A case is made from the seed, its kind and its number alone, so that a failure can be looked at
again. What fails: an exception that is not ours, a refusal that is not one short line, something
taken that is not the same when it is read again, more than 2 s, more than 300 MB, a process that
ends or hangs. Cases run in child processes, some thousands in each. The last line is JSON: cases
by kind, taken and refused, the slowest, the largest, and failures with the way to see them again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SECONDS = 2.0  # that a case may take
BYTES = 300 << 20  # by which a case may raise the peak of its process
HANGS = 60.0  # seconds without a new case after which a process is ended
CHUNK = 2500  # cases of a process
SHOWN = 20  # failures of a process that are told


@dataclass
class Figures:
    """What became of cases of one kind: how many, and the slowest and largest as (how much, which
    case)."""

    cases: int = 0
    taken: int = 0
    refused: int = 0
    slowest: tuple[float, int] = (0.0, -1)  # seconds
    largest: tuple[int, int] = (0, -1)  # bytes
    failed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, number: int, why: str) -> None:
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append({"number": number, "why": why})

    def add(self, other: Figures) -> None:
        self.cases += other.cases
        self.taken += other.taken
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:SHOWN]


# --- in a child process ------------------------------------------------------------------------


def peak() -> int:
    """The most memory this process has had, bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def handed_in(kind: str, seed: int, numbers: range, mark: Path, place: Path) -> Figures:
    """Hand in cases one after another. `mark` holds the number of the one at work."""
    from support.strangers.door import drawn, handed_in
    from support.strangers.doors import door

    entrance, found = door(kind), Figures()
    before = peak()
    with mark.open("wb", buffering=0) as file:
        for number in numbers:
            file.seek(0)
            file.write(b"%-20d" % number)
            seconds = SECONDS + 1
            for again in range(3):  # the machine may have been busy with something else
                if seconds <= SECONDS:
                    break
                own = place / f"{number}-{again}"
                folder = own / "a" / "b" / "c" / "d"  # `..` leads to places of ours
                folder.mkdir(parents=True)
                case = drawn(entrance, seed, kind, number)
                level = peak()
                outcome = handed_in(entrance, case, folder)
                seconds = min(seconds, outcome.seconds)
                shutil.rmtree(own, ignore_errors=True)
            found.cases += 1
            found.taken += outcome.taken
            found.refused += not outcome.taken
            found.slowest = max(found.slowest, (round(seconds, 3), number))
            if (now := peak()) > level:  # what drawing the case took is not counted
                found.largest = max(found.largest, (now - before, number))
            if outcome.fault is not None:
                found.fail(number, said(outcome.fault))
            elif seconds > SECONDS:
                found.fail(number, f"takes {seconds:.1f} s")
            elif found.largest[0] > BYTES and found.largest[1] == number:
                found.fail(number, f"takes {found.largest[0] >> 20} MB")
                before = now
                found.largest = (0, -1)
    return found


def said(fault: BaseException) -> str:
    """An exception and where it was raised."""
    frames = traceback.extract_tb(fault.__traceback__)[-1:]
    where = "".join(f" in {Path(f.filename).name}:{f.lineno}" for f in frames)
    return ascii(f"{type(fault).__name__}{where}: {fault}"[:500])


def show(kind: str, seed: int, number: int) -> int:
    """One case, as it is handed in; 1 where it fails."""
    from support.strangers.door import drawn, handed_in
    from support.strangers.doors import door

    entrance = door(kind)
    case = drawn(entrance, seed, kind, number)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "a", "b", "c", "d")
        folder.mkdir(parents=True)
        before = peak()
        outcome = handed_in(entrance, case, folder)
    try:
        print(ascii(case)[:4000])
    except (ValueError, RecursionError) as error:
        print(f"(cannot be shown: {error})")
    if outcome.fault is not None:
        traceback.print_exception(outcome.fault, limit=-12)
    answer = {"taken": outcome.taken, "seconds": round(outcome.seconds, 3)}
    print(json.dumps({**answer, "bytes": peak() - before, "failed": outcome.fault is not None}))
    return 1 if outcome.fault is not None else 0


# --- the one that starts them ------------------------------------------------------------------


@dataclass
class Child:
    """A process at work on some numbers of a kind."""

    kind: str
    numbers: range
    place: Path
    process: subprocess.Popen[bytes]
    number: int = -1
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, kind: str, numbers: range, seed: int, place: Path) -> Child:
        place.mkdir()
        words = [str(Path(__file__).resolve()), "--seed", str(seed), "--kinds", kind]
        words += ["--numbers", str(numbers.start), str(numbers.stop), "--place", str(place)]
        home = {"HOME": str(place), "USERPROFILE": str(place)}
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(place / "hub"), "RUST_BACKTRACE": "0"}
        environment = {**os.environ, **home, **quiet, "OMP_NUM_THREADS": "1"}
        with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, *words], stdout=out, stderr=err, env=environment
            )
        return cls(kind, numbers, place, process)

    def ended(self) -> bool:
        """Whether it has ended; one that hangs is ended."""
        if self.process.poll() is not None:
            return True
        number = self._at_work()
        if number != self.number:
            self.number, self.since = number, time.monotonic()
        if time.monotonic() - self.since > HANGS:
            self.process.kill()
            self.process.wait()
        return False

    def figures(self) -> tuple[Figures, range]:
        """What became of its cases, and the numbers that are still to come."""
        code, out = self.process.returncode, (self.place / "out").read_bytes()
        if code == 0:
            told = json.loads(out.splitlines()[-1])
            for name in ("slowest", "largest"):
                told[name] = tuple(told[name])
            return Figures(**told), range(0)
        number = max(self._at_work(), self.numbers.start)
        found = Figures(cases=number - self.numbers.start + 1)
        hint = (self.place / "err").read_bytes()[-300:].decode("utf-8", "replace")
        found.fail(number, ascii(f"the process ended with code {code}: {hint}"))
        return found, range(number + 1, self.numbers.stop)

    def _at_work(self) -> int:
        try:
            return int((self.place / "mark").read_bytes() or b"-1")
        except (OSError, ValueError):
            return -1


def chunks(kinds: Mapping[str, int]) -> Iterator[tuple[str, range]]:
    """The numbers of each kind in pieces, the largest kinds first."""
    for kind, count in sorted(kinds.items(), key=lambda pair: -pair[1]):
        for start in range(0, count, CHUNK):
            yield kind, range(start, min(count, start + CHUNK))


def proved(kinds: Mapping[str, int], seed: int, jobs: int) -> dict[str, Figures]:
    """So many cases of each kind, in `jobs` processes at a time."""
    todo = list(chunks(kinds))
    found = {kind: Figures() for kind in kinds}
    at_work: list[Child] = []
    with tempfile.TemporaryDirectory() as name:
        while todo or at_work:
            while todo and len(at_work) < jobs:
                kind, numbers = todo.pop(0)
                place = Path(name, f"{kind}-{numbers.start}")
                at_work.append(Child.start(kind, numbers, seed, place))
            time.sleep(0.1)
            for child in [child for child in at_work if child.ended()]:
                at_work.remove(child)
                figures, rest = child.figures()
                found[child.kind].add(figures)
                if rest:
                    todo.insert(0, (child.kind, rest))
                for one in figures.failures:
                    print(f"{child.kind} {one['number']}: {one['why']}", flush=True)
                shutil.rmtree(child.place, ignore_errors=True)
    return found


def main() -> int:
    sys.path.insert(0, str(TESTS))
    sys.path.insert(0, str(ROOT / "src"))
    from support.strangers.doors import KINDS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--case", type=int, help="show this one of the kind, and hand it in")
    parser.add_argument("--numbers", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        return show(args.kinds[0], args.seed, args.case)
    if args.numbers is not None:
        numbers, place = range(*args.numbers), args.place
        found = handed_in(args.kinds[0], args.seed, numbers, place / "mark", place / "case")
        print(json.dumps(asdict(found)))
        return 0
    whole = sum(KINDS[kind][2] for kind in args.kinds)
    counts = {kind: -(-args.cases * KINDS[kind][2] // whole) for kind in args.kinds}
    began = time.perf_counter()
    each = proved(counts, args.seed, args.jobs)
    together = Figures()
    for one in each.values():
        together.add(one)
    seconds = round(time.perf_counter() - began, 1)
    told = {**asdict(together), "seed": args.seed, "seconds": seconds}
    told["failures"] = [
        {"kind": kind, **fault, "again": f"scripts/prove strangers --seed {args.seed} "
         f"--kinds {kind} --case {fault['number']}"}
        for kind, one in each.items() for fault in one.failures
    ]  # fmt: skip
    told["kinds"] = {kind: _short(one) for kind, one in each.items()}
    print(json.dumps(told))
    return 1 if together.failed else 0


def _short(one: Figures) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "failures"}


if __name__ == "__main__":
    sys.exit(main())
