"""`run`: the main job. Has the parts put together, serves the status pages, and ends as asked. No logic of its own."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import click
import structlog

from worker import __version__, logs
from worker.assembly import close, edges_of, mapping_of, patience_seconds, pipeline_of, revoke_seconds
from worker.core.pipeline import Pipeline
from worker.core.reports import describe
from worker.facts import Inbox
from worker.kafka import consumer_properties
from worker.loop import Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.settings import Settings, load
from worker.settings.values import NOT_REQUIRED, LogLevel
from worker.status import StatusServer
from worker.tap.pictures import Pictures
from worker.tap.recorder import Tap
from worker.watchdog import Watchdog

WATCHDOG_EXIT_CODE = 4

log = structlog.get_logger()


@click.command(
    epilog="""\b
Example:
  DREAMDATA_API_KEY_FILE=/run/secrets/key CONSENT_CATEGORIES=analytics,marketing \\
    KAFKA_BROKERS=kafka:9092 dreamdata-worker run
"""
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)
def run(config: Path | None) -> None:
    """Deliver events from Kafka to Dreamdata until told to stop (SIGTERM, Ctrl-C).

    Settings are environment variables, or lower-case names in the file: the README lists all of them.
    """
    settings = load(os.environ, config)
    logs.configure(level=settings.log_level, log_format=settings.log_format, stream=sys.stderr)
    threading.excepthook = _end_the_process
    stop = _stop_on_signals()
    for warning in settings.warnings:
        log.warning("settings.doubted", detail=warning)
    metrics, clock = Metrics(), time.monotonic
    tap = Tap(mapping_of(settings), clock, time.time)
    reporter = Reporter(metrics, tap, clock)
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
    log.info(
        "worker.started",
        version=__version__,
        port=status.port,
        api=settings.dreamdata_url,
        brokers=list(settings.kafka_brokers),
        group=settings.kafka_consumer_group,
        topics=list(settings.kafka_topics),
        variant=settings.variant.value,
        consent_categories=list(settings.consent_categories) or NOT_REQUIRED,
    )
    try:
        _work(settings, reporter, clock, stop.is_set)
    finally:
        status.stop()
    log.info("worker.stopped")


def _work(settings: Settings, reporter: Reporter, clock: Callable[[], float], stop: Callable[[], bool]) -> None:
    inbox: Inbox = Inbox()
    pipeline = pipeline_of(settings)
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
    edges = edges_of(settings, loop, inbox, clock)
    watchdog.start()
    loop.run(edges, stop)
    watchdog.stop()
    close(edges)


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
