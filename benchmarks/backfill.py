"""What the API's latency costs a backfill, and what wins it back: more in flight, more partitions, more workers.

A pace is taken in the middle of a backlog that does not end, from one answer to another, so that neither a start nor a
last, half-filled body is in it. Whether the right events arrive is what the tests show, not this.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from signal import SIGTERM

from benchmarks.contenders import Job, take, worker_settings
from benchmarks.sink import sink
from benchmarks.sizing import SetUp
from benchmarks.traffic import fill
from tests.crash.stage import partitions_of
from tests.integration.harness import WorkerProcess, wait_until
from worker.demo.site import Produced

# How long the pace is let settle: the first bodies leave together.
SETTLING_SECONDS = 2.0
# Whoever has taken nearly all there was may have waited for more.
NEARLY_ALL = 0.98
_START_SECONDS = 60
_STOP_SECONDS = 40

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_numbers = count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A set-up to measure, for `seconds`, on a full topic of so many `partitions`."""

    name: str
    partitions: int
    api_ms: int
    seconds: float
    workers: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)

    def set_up(self, events_per_body: float) -> SetUp:
        """As one works it out beforehand."""
        return SetUp(
            partitions=self.partitions,
            workers=self.workers,
            api_seconds=self.api_ms / 1000,
            events_per_body=events_per_body,
            in_flight=int(self.settings.get("MAX_IN_FLIGHT_PER_PARTITION", "1")),
            concurrency=int(self.settings.get("DELIVERY_CONCURRENCY", "10")),
        )


ONE_IN_FLIGHT = Case("1 in flight", 1, 500, 8)
EIGHT_IN_FLIGHT = Case("8 in flight", 1, 500, 4, settings={"MAX_IN_FLIGHT_PER_PARTITION": "8"})
AT_ONCE = Case("answers at once", 6, 0, 3)
AFTER_50_MS = Case("after 50 ms", 6, 50, 3)
_NARROW = {"DELIVERY_CONCURRENCY": "2", "BATCH_MAX_EVENTS": "100"}
ONE_WORKER, TWO_WORKERS, FOUR_WORKERS = (
    Case(f"{workers} worker{'s' if workers > 1 else ''}", 8, 200, 6, workers, _NARROW) for workers in (1, 2, 4)
)
CASES = (ONE_IN_FLIGHT, EIGHT_IN_FLIGHT, AT_ONCE, AFTER_50_MS, ONE_WORKER, TWO_WORKERS, FOUR_WORKERS)
# Each against which, and at least by how much.
AIMS = {
    EIGHT_IN_FLIGHT: (ONE_IN_FLIGHT, 7.0),
    AFTER_50_MS: (AT_ONCE, 0.9),
    TWO_WORKERS: (ONE_WORKER, 1.9),
    FOUR_WORKERS: (ONE_WORKER, 3.6),
}
# How many events have to be there, that the quickest does not come to the end of them.
EVENTS = {1: 200_000, 6: 300_000, 8: 120_000}


@dataclass(frozen=True, slots=True)
class Pace:
    """`cpu_share` is the CPU time of all workers by the time that passed: 1 is one core, all the time.

    `core_share` is the same by the time in which a core was to be had: without that in which the main thread of the
    worker was ready to run and others ran instead.
    """

    events_per_second: float
    events_per_body: float
    cpu_share: float
    core_share: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """A full topic, and the sink to empty it into. `deliverable` of its events are for the API."""

    job: Job
    deliverable: int


def paces(job: Job, records: Sequence[Produced], rounds: int, say: Callable[[str], None]) -> dict[Case, list[Pace]]:
    """Every case so often, in turn. `job` names everything but topic and sink, which are this function's own."""
    backlogs = {}
    for partitions, wanted in EVENTS.items():
        topic = f"{job.topic}-{partitions}"
        deliverable, _ = fill(job.brokers, topic, partitions, islice(records, wanted))
        backlogs[partitions] = Backlog(replace(job, topic=topic, records=wanted), deliverable)
    taken: dict[Case, list[Pace]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        sinks = {api_ms: stack.enter_context(sink(api_ms)) for api_ms in {case.api_ms for case in CASES}}
        for number in range(1, rounds + 1):
            for case in CASES:
                backlog = backlogs[case.partitions]
                found = pace(case, replace(backlog, job=replace(backlog.job, sink=sinks[case.api_ms])))
                say(f"round {number}: {case.name}: {found.events_per_second:,.0f} events/s")
                taken[case].append(found)
    return taken


def pace(case: Case, backlog: Backlog) -> Pace:
    """Of workers in a new group, each with an equal share of the partitions.

    Raises RuntimeError where the backlog ends before the time has passed.
    """
    sink_url = backlog.job.sink
    take(sink_url)
    with _group(case, backlog.job) as workers:
        time.sleep(SETTLING_SECONDS)
        before, began, used, starved = (
            take(sink_url),
            time.monotonic(),
            _cpu_seconds(workers),
            _starved_seconds(workers),
        )
        time.sleep(case.seconds)
        during, passed = take(sink_url), time.monotonic() - began
        used, starved = _cpu_seconds(workers) - used, _starved_seconds(workers) - starved
    if before.events + during.events > NEARLY_ALL * backlog.deliverable:
        raise RuntimeError(f"{case.name}: {backlog.deliverable:,} events did not last for {case.seconds:g} s")
    return Pace(
        events_per_second=during.events / (during.last_at - before.last_at),
        events_per_body=during.events / during.requests,
        cpu_share=used / passed,
        core_share=used / (passed - starved / case.workers),
    )


@contextmanager
def _group(case: Case, job: Job) -> Iterator[Sequence[WorkerProcess]]:
    name = f"backfill-{next(_numbers)}"
    settings = {**worker_settings(job, name), **case.settings}
    workers = [WorkerProcess(settings, job.work_dir / f"{name}-{number}.log") for number in range(case.workers)]
    share = case.partitions // case.workers
    try:
        wait_until(lambda: all(len(partitions_of(each)) == share for each in workers), _START_SECONDS, "equal shares")
        wait_until(lambda: all(each.logged("batch.delivered") for each in workers), _START_SECONDS, "all are at work")
        yield workers
        for each in workers:
            each.send_signal(SIGTERM)
        for each in workers:
            each.wait_exit(_STOP_SECONDS)
    finally:
        for each in workers:
            each.close()


def _cpu_seconds(workers: Sequence[WorkerProcess]) -> float:
    """User and system time of all their threads, as the kernel has counted it so far."""
    stats = (Path(f"/proc/{each.pid}/stat").read_text().rpartition(")")[2].split() for each in workers)
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _CLOCK_TICKS


def _starved_seconds(workers: Sequence[WorkerProcess]) -> float:
    """For how long their main threads were ready to run, and waited for a core."""
    return sum(int(Path(f"/proc/{each.pid}/schedstat").read_text().split()[1]) for each in workers) / 1e9
