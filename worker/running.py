"""A process that works until it is told to stop or has come to its end: signals, watchdog, status pages, the loop. What
it works on is the job's to say (`assembly.py`); no decision about events in here.
"""

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import structlog

from worker import logs
from worker.assembly import Job, close, edges_of, mapping_of, patience_seconds, pipeline_of, revoke_seconds
from worker.client_properties import consumer_properties
from worker.core.pipeline import Pipeline
from worker.core.reports import describe
from worker.facts import Inbox
from worker.loop import Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.settings import Settings
from worker.settings.values import LogLevel
from worker.status import StatusServer
from worker.tap.pictures import Pictures
from worker.tap.recorder import Tap
from worker.watchdog import Watchdog

WATCHDOG_EXIT_CODE = 4
# Events go when their last reference goes, so collections find next to nothing; but what they look through while a
# backlog is worked off cost one part in twenty of all CPU at Python's own thresholds.
GC_THRESHOLDS = (20_000, 20, 50)

# malloc.h of glibc, both in mallopt(3). Each sender thread would get an arena of its own, and keep in it the bodies it
# has sent; above the threshold memory goes back to the system when it is freed.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ALLOCATION = {_M_ARENA_MAX: 2, _M_MMAP_THRESHOLD: 128 * 1024}

log = structlog.get_logger()


def begin(settings: Settings) -> threading.Event:
    """Sets up logs and signals; returns what is set once somebody wants an end."""
    bound_the_allocator()
    logs.configure(level=settings.log_level, log_format=settings.log_format, stream=sys.stderr)
    threading.excepthook = _end_the_process
    stop = _stop_on_signals()
    for warning in settings.warnings:
        log.warning("settings.doubted", detail=warning)
    return stop


@contextmanager
def reporting(
    settings: Settings, *, serve: bool, metrics: Metrics | None = None
) -> Iterator[tuple[Reporter, int | None]]:
    """A reporter, and the port where its pages are served, if they are. It counts in `metrics`, or in its own."""
    metrics, clock = metrics or Metrics(), time.monotonic
    tap = Tap(mapping_of(settings), clock, time.time)
    reporter = Reporter(metrics, tap, clock)
    if not serve:
        yield reporter, None
        return
    status = StatusServer(
        settings.host,
        settings.port,
        alive=reporter.alive,
        reasons=reporter.reasons,
        metrics=metrics,
        tap=tap,
        pictures=Pictures(settings.consent_categories),
        console_token=settings.secret("console_token"),
    )
    status.start()
    try:
        yield reporter, status.port
    finally:
        status.stop()


def work(settings: Settings, job: Job, reporter: Reporter, stop: Callable[[], bool]) -> None:
    """Works on the job until `stop`, then drains and leaves. Raises KafkaStoppedError."""
    inbox, clock = Inbox(), time.monotonic
    pipeline = pipeline_of(settings, job.selection, job.rate)
    pipeline.intake.reopen = job.reopen
    if settings.log_level is LogLevel.DEBUG:
        pipeline.intake.witness = reporter.decided
    watchdog = Watchdog(patience_seconds(settings), clock, lambda stacks: end_starved(pipeline, stacks))
    loop = Loop(
        pipeline,
        inbox,
        reporter,
        watchdog,
        clock,
        revoke_seconds=revoke_seconds(consumer_properties(settings)),
        shutdown_seconds=settings.shutdown_timeout_seconds,
    )
    edges = edges_of(settings, job, loop, inbox, clock)
    watchdog.start()
    calm_the_collector()
    loop.run(edges, stop)
    watchdog.stop()
    close(edges)


def stopped_or(stop: threading.Event, stopping: Callable[[], None], done: Callable[[], bool]) -> Callable[[], bool]:
    """When a job that has an end is over: it is done, or somebody wants a stop, of which `stopping` is told once."""
    told = False

    def over() -> bool:
        nonlocal told
        if stop.is_set() and not told:
            told = True
            stopping()
        return told or done()

    return over


def bound_the_allocator() -> bool:
    """Keeps the C library from holding on to memory, a tenth of what the worker takes under a backlog; False where it
    is not glibc's. To be called before there are threads.
    """
    c_library = ctypes.CDLL(None)
    if not hasattr(c_library, "mallopt"):
        return False
    return all(c_library.mallopt(option, value) == 1 for option, value in _ALLOCATION.items())


def calm_the_collector() -> None:
    """What is there by now, libraries above all, stays to the end: it is not looked through again, nor once more before
    that (what little garbage imports have left behind stays with it).
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def end_starved(pipeline: Pipeline, stacks: Mapping[str, str]) -> None:
    """On the watchdog's thread: says what it found, and ends the process."""
    try:
        log.critical(
            "worker.starved",
            detail="no progress for WATCHDOG_SECONDS although there is work and nothing waits on purpose",
            lanes=[describe(lane) for lane in list(pipeline.lanes.values())],
            stacks=dict(stacks),
        )
    finally:
        os._exit(WATCHDOG_EXIT_CODE)


def _stop_on_signals() -> threading.Event:
    """The first SIGTERM or SIGINT asks; the second ends the process on the spot, which costs nothing but repeats."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def _end_the_process(failure: threading.ExceptHookArgs) -> None:
    """A thread that dies of a defect must not leave the others alive without progress: the supervisor starts afresh,
    nothing is lost.
    """
    try:
        if failure.exc_value is not None:
            name = failure.thread.name if failure.thread else ""
            log.critical("worker.crashed", thread=name, exc_info=failure.exc_value)
    finally:
        os._exit(1)
