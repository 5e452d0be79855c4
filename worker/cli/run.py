"""`run`: the main job. Puts the parts together, serves the status pages, and ends as asked. No logic of its own."""

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
from worker.api import Api
from worker.cluster import Cluster
from worker.committer import Committer
from worker.core.consent import Consent
from worker.core.decisions import Decider, Policy
from worker.core.lanes import Limits
from worker.core.mapping import EventMapping
from worker.core.pipeline import Pipeline
from worker.core.reports import describe
from worker.kafka import Consumer, client_properties, consumer_properties
from worker.loop import Answered, Edges, Inbox, Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.schemas import RegistryConfig, Schemas
from worker.scout import Scout
from worker.sender import Backoff, Sender
from worker.settings import Settings, load
from worker.settings.checks import MAX_POLL_INTERVAL_MS
from worker.settings.values import NOT_REQUIRED, LogLevel, UnmappedEvents
from worker.status import StatusServer
from worker.topics import TopicNames
from worker.watchdog import Watchdog

MS_PER_DAY = 24 * 60 * 60 * 1000
MAX_REVOKE_SECONDS = 10.0
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
    reporter = Reporter(metrics, clock)
    status = StatusServer(
        settings.host,
        settings.port,
        alive=reporter.alive,
        reasons=reporter.reasons,
        metrics=metrics,
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


def pipeline_of(settings: Settings) -> Pipeline:
    """The core, as these settings want it."""
    policy = Policy(
        consent=Consent(settings.consent_categories),
        mapping=EventMapping(
            settings.variant.value,
            settings.event_mapping,
            forward_unmapped=settings.unmapped_events is UnmappedEvents.FORWARD,
        ),
        traits=settings.traits,
        placement=settings.traits_placement,
        forward_identify=settings.forward_identify,
        event_max_bytes=settings.event_max_bytes,
        batch_max_bytes=settings.batch_max_bytes,
    )
    limits = Limits(
        batch_max_bytes=settings.batch_max_bytes,
        batch_max_events=settings.batch_max_events,
        linger_seconds=settings.batch_linger_ms / 1000,
        in_flight=settings.max_in_flight_per_partition,
        rejection_limit=settings.rejection_limit,
        give_up_after_seconds=settings.give_up_after_seconds,
    )
    return Pipeline(Decider(policy), limits, identity_ttl_ms=settings.identity_ttl_days * MS_PER_DAY)


def _work(settings: Settings, reporter: Reporter, clock: Callable[[], float], stop: Callable[[], bool]) -> None:
    inbox: Inbox = Inbox()
    consumer_settings = consumer_properties(settings)
    pipeline = pipeline_of(settings)
    if settings.log_level is LogLevel.DEBUG:
        pipeline.intake.witness = reporter.decided
    watchdog = Watchdog(_patience_seconds(settings), clock, lambda stacks: end_starved(pipeline, stacks))
    loop = Loop(
        pipeline,
        inbox,
        reporter,
        watchdog,
        clock,
        revoke_seconds=_revoke_seconds(consumer_settings),
        shutdown_seconds=settings.shutdown_timeout_seconds,
    )
    names = TopicNames(
        settings.kafka_topics,
        settings.kafka_consumer_group,
        dead_letter=settings.dead_letter_topic,
        identity=settings.identity_topic,
    )
    group, cluster = settings.kafka_consumer_group, Cluster(client_properties(settings))
    edges = Edges(
        consumer=Consumer(consumer_settings, loop),
        sender=Sender(
            Api(settings.dreamdata_url, settings.api_key, settings.request_timeout_seconds, clock=clock),
            lambda batch, answer: inbox.put(Answered(batch, answer)),
            clock,
            concurrency=settings.delivery_concurrency,
            rate_per_second=settings.rate_limit_per_second,
            backoff=Backoff(settings.retry_initial_seconds, settings.retry_max_seconds),
        ),
        committer=Committer(client_properties(settings), names, group, cluster, inbox.put, _wall_ms),
        schemas=Schemas(settings.schema_dir, _registry(settings), inbox.put, clock),
        scout=Scout(cluster, names, group, settings.kafka_auto_offset_reset, inbox.put, clock),
    )
    watchdog.start()
    loop.run(edges, stop)
    watchdog.stop()
    edges.sender.close()
    edges.committer.close()
    edges.schemas.close()
    edges.scout.close()


def _patience_seconds(settings: Settings) -> float:
    """WATCHDOG_SECONDS, but never less than a single request or a lingering batch may take."""
    lingering = 2 * settings.batch_linger_ms / 1000
    return max(settings.watchdog_seconds, settings.request_timeout_seconds + 5, lingering)


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


def _registry(settings: Settings) -> RegistryConfig | None:
    if settings.schema_registry_url is None:
        return None
    return RegistryConfig(
        settings.schema_registry_url,
        settings.schema_registry_username,
        settings.secret("schema_registry_password"),
        ca_file=os.environ.get("REQUESTS_CA_BUNDLE"),
    )


def _revoke_seconds(consumer_settings: dict[str, object]) -> float:
    """Half of what the broker grants between two polls, if that is less than ten seconds."""
    max_poll_interval_ms = str(consumer_settings.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS))
    # what is no number is refused by the client, a moment later and with better words
    milliseconds = int(max_poll_interval_ms) if max_poll_interval_ms.isdecimal() else MAX_POLL_INTERVAL_MS
    return min(MAX_REVOKE_SECONDS, milliseconds / 2000)


def _wall_ms(moment: float) -> int:
    """The time of day of a moment on the monotonic clock, in epoch milliseconds."""
    return round((time.time() - (time.monotonic() - moment)) * 1000)


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
