"""A replay from its command line to its summary: begun or gone on with, worked on until it is done or told to stop.
Prints nothing but logs and progress; what it returns is for the command to show.
"""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

import structlog

from worker import __version__
from worker.assembly import selection_of, wall_ms
from worker.cluster import Cluster
from worker.extents import RangeOptions
from worker.finish import FinishLine, standings_of
from worker.metrics import Metrics
from worker.patience import patiently
from worker.replay.job import job_of
from worker.replay.options import WarmUp
from worker.replay.progress import view_of
from worker.replay.runs import Replay, asked_for, begin_replay, check_same, extents_for, find_replay, in_words
from worker.running import begin, reporting, stopped_or, work
from worker.settings import Settings
from worker.settings.values import LogLevel

log = structlog.get_logger()


EVERYTHING = WarmUp()


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants replayed, and how. `rate` None: as fast as it goes."""

    name: str
    options: RangeOptions
    events: tuple[str, ...] = ()
    rate: int | None = None
    warm_up: WarmUp = EVERYTHING


def registered(settings: Settings, cluster: Cluster, order: Order) -> Replay:
    """The replay of this name: as it stands, or begun. Raises SettingsError, or KafkaUnavailableError."""
    live, asked = settings.kafka_consumer_group, asked_for(order.options, order.events)
    found = patiently(lambda: find_replay(cluster, live, order.name))
    if found is not None:
        check_same(found, asked)
        return found
    selection_of(settings, order.events)
    extents = extents_for(cluster, settings.topic_names(), order.options, wall_ms(time.monotonic()))
    return patiently(lambda: begin_replay(cluster, live, order.name, asked, extents))


def perform(settings: Settings, cluster: Cluster, order: Order, replay: Replay) -> tuple[Replay, dict[str, int]]:
    """Works on it until it is done or a signal comes. Returns how it stands then, and what this process has done of it.

    Raises KafkaStoppedError.
    """
    metrics = Metrics()
    selection = selection_of(settings, replay.events)
    with ExitStack() as resources:
        reporter, port = resources.enter_context(reporting(settings, serve=settings.is_given("port"), metrics=metrics))
        view = view_of(sys.stderr, replay.name, time.monotonic, reporter.reasons)
        resources.enter_context(view.shown())
        # after the view, which may stand between us and the terminal
        stop = begin(_quiet(settings) if sys.stderr.isatty() else settings)
        log.info(
            "replay.started",
            version=__version__,
            port=port,
            name=replay.name,
            group=replay.group,
            range=in_words(replay.asked),
            topics=replay.topics,
            offsets_left=replay.left,
        )
        line = FinishLine(cluster, replay.group, list(replay.standings), view.looked)
        line.start()
        resources.callback(line.close)
        job = job_of(settings, replay, cluster, selection, order.warm_up, order.rate, resources)
        work(settings, job, reporter, stopped_or(stop, view.stopping, line.reached))
        standings = patiently(lambda: standings_of(cluster, replay.group, list(replay.standings)))
        view.looked(standings)
    after = replace(replay, standings=standings)
    log.info("replay.stopped" if after.left else "replay.finished", name=replay.name, offsets_left=after.left)
    return after, metrics.outcomes()


def _quiet(settings: Settings) -> Settings:
    """A bar is no place for a line a batch; whoever wants them says so."""
    return settings if settings.is_given("log_level") else settings.model_copy(update={"log_level": LogLevel.WARNING})
