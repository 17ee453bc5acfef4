"""Numbers about the service for Prometheus, read from the database when they are asked for.

Counters of jobs are kept in the database; those of requests begin at 0 with this process. What
engines have in memory is as they told it last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

from headroom.jobs.tables import ENDED
from headroom.jobs.tallies import WAITS, Tally, Totals, totals
from headroom.service.doors import Doors
from headroom.service.errands import engines_view


class Requests:
    """How many requests were answered, by method, route and status."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[tuple[str, str, int], int] = {}

    def add(self, method: str, route: str, status: int) -> None:
        """Count one."""
        with self._lock:
            key = method, route, status
            self._counts[key] = self._counts.get(key, 0) + 1

    def counts(self) -> dict[tuple[str, str, int], int]:
        """The counts as they are now."""
        with self._lock:
            return dict(self._counts)


class _Collector:
    """What the library asks for its numbers."""

    def __init__(self, doors: Doors, requests: Requests) -> None:
        self._doors, self._requests = doors, requests

    def collect(self) -> Iterator[Any]:
        yield from self._service()
        yield from _work(totals(self._doors.database))
        yield from _engines(engines_view(self._doors))

    def _service(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._doors.queue.stats()
        jobs = GaugeMetricFamily("headroom_jobs", "Jobs in each state.", labels=["state"])
        for state, count in stats.counts.items():
            jobs.add_metric([state], count)
        yield jobs
        if stats.seconds is not None:
            text = "Mean run time of the last jobs that were done."
            yield GaugeMetricFamily("headroom_job_seconds", text, value=stats.seconds)
        free = self._doors.files.storage.free()
        if free is not None:
            text = "Free space of the disk of the storage."
            yield GaugeMetricFamily("headroom_free_bytes", text, value=free)
        text = "Requests that were answered."
        labels = ["method", "route", "status"]
        counter = CounterMetricFamily("headroom_http_requests", text, labels=labels)
        for (method, route, status), count in self._requests.counts().items():
            counter.add_metric([method, route, str(status)], count)
        yield counter


_COUNTERS = (
    (Tally.ENDED, "headroom_jobs_ended", "Jobs that have ended.", "state"),
    (
        Tally.STAGES,
        "headroom_stages",
        "Stages that have ended, also in jobs that failed later.",
        "stage",
    ),
    (Tally.STAGE_SECONDS, "headroom_stage_seconds", "Seconds of these stages.", "stage"),
    (
        Tally.LOADING_SECONDS,
        "headroom_stage_loading_seconds",
        "Seconds of these stages in which parts were loaded.",
        "stage",
    ),
    (
        Tally.LOADED_BYTES,
        "headroom_loaded_bytes",
        "Bytes of parts that were loaded, or moved to the card, for stages.",
        "part",
    ),
    (
        Tally.RECOVERED,
        "headroom_recoveries",
        "Stages that ran out of memory and were run again under a tighter plan.",
        "stage",
    ),
    (
        Tally.CLAMPED,
        "headroom_clamps",
        "Values that a limit changed, in jobs that are done.",
        "field",
    ),
)


def _work(told: Totals) -> Iterator[Any]:
    """The counters of jobs."""
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    told[Tally.ENDED] = dict.fromkeys(ENDED, 0.0) | told[Tally.ENDED]
    for tally, name, text, label in _COUNTERS:
        counter = CounterMetricFamily(name, text, labels=[label])
        for value, count in sorted(told[tally].items()):
            counter.add_metric([value], count)
        yield counter
    text = "Attempts at jobs that ended with the death of their engine process."
    lost = told[Tally.LOST].get("", 0.0)
    yield CounterMetricFamily("headroom_attempts_lost", text, value=lost)
    buckets, below = [], 0.0
    for bound in WAITS:
        below += told[Tally.WAITED].get(str(bound), 0.0)
        buckets.append(("+Inf" if bound == WAITS[-1] else str(bound), below))
    text = "Seconds from the acceptance of a job to its first claim."
    total = told[Tally.WAIT_SECONDS].get("", 0.0)
    yield HistogramMetricFamily("headroom_job_wait_seconds", text, buckets, total)


def _engines(told: list[Any]) -> Iterator[Any]:
    """What engine processes have in memory. The engines of one process share its cards, and tell
    the same bytes of them."""
    from prometheus_client.core import GaugeMetricFamily

    text = "Engine processes, by whether one works on a job."
    engines = GaugeMetricFamily("headroom_engines", text, labels=["state"])
    busy = sum(one["job"] is not None for one in told)
    engines.add_metric(["working"], busy)
    engines.add_metric(["idle"], len(told) - busy)
    yield engines
    opened = [one["engines"] for one in told if one["engines"]]
    if opened:
        text = "Bytes that engine processes have allocated on their cards, of all together."
        used = sum(sum(_of_cards(some, "allocated_bytes", max)) for some in opened)
        yield GaugeMetricFamily("headroom_device_allocated_bytes", text, value=used)
        text = "Free bytes of the card that has the least, of those with an open engine."
        free = min(min(_of_cards(some, "free_bytes", min)) for some in opened)
        yield GaugeMetricFamily("headroom_device_free_bytes", text, value=free)
    held: Counter[tuple[str, ...]] = Counter()
    leases: Counter[tuple[str, ...]] = Counter()
    for engine in (one for some in opened for one in some):
        for part in engine["parts"]:
            place = engine["family"], engine["model"], part["name"], part["state"]
            held[place] += part["device_bytes"]
            leases[place] += part["leases"]
    labels = ["family", "model", "part", "state"]
    for name, text, sums in (
        ("headroom_part_bytes", "Bytes on the card of the parts of open engines.", held),
        ("headroom_part_leases", "Uses of the parts of open engines.", leases),
    ):
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for key, value in sorted(sums.items()):
            gauge.add_metric(key, value)
        yield gauge


def _of_cards(engines: list[Any], field: str, choose: Callable[[Iterable[int]], int]) -> list[int]:
    """The value of each card of a process, of those that its engines tell."""
    told = [[card[field] for card in one.get("cards", [one])] for one in engines]
    return [choose(values) for values in zip(*told, strict=True)]


def exposition(doors: Doors, requests: Requests) -> tuple[bytes, str]:
    """The numbers as text, and its media type. Raises DatabaseFailed."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(doors, requests))
    return generate_latest(registry), CONTENT_TYPE_LATEST
