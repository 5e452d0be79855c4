"""A redrive: the same pipeline and edges as `run`, over dead-letter topics, with an end. Puts the parts together.

Who is known is read once, before the first letter: of the visitors that occur in the letters, what the identity logs
know now. Nothing is written to them.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from itertools import islice

import structlog

from worker.assembly import Job
from worker.client_properties import consumer_properties
from worker.cluster import Cluster
from worker.core.identity import Remembered
from worker.core.records import Record, TopicPartition
from worker.core.restoring import Restoration
from worker.dead_letters import opened
from worker.finish import FinishLine, Standings, standings_of
from worker.identity_log import LogFinding, Restored, Visitors
from worker.letters.known import known_of
from worker.letters.looking import Rehearser, rehearser_of, visitors_of
from worker.letters.reopening import Reopener
from worker.letters.selection import State, redrive_group
from worker.letters.sources import LetterTopic
from worker.letters.stretching import Stretches, Wanted, agreed
from worker.letters.summary import Summary, Unmatched, count_judged, summary_of
from worker.logs import Throttle
from worker.outgoing import ReturnWriter
from worker.planners import StretchPlanner
from worker.ranges import Bounds, records_of
from worker.render.rehearsal import WAITS_FOR_SCHEMA, Judged, Waiting
from worker.reporter import Reporter
from worker.running import stopped_or, work
from worker.scout import Place
from worker.settings import Settings
from worker.topics import TopicNames

CHUNK_LETTERS = 500
ASK_AGAIN_SECONDS = 5.0
PROGRESS_SECONDS = 10.0

log = structlog.get_logger()

Known = dict[TopicPartition, Remembered]


def redrive(
    settings: Settings,
    cluster: Cluster,
    topics: Sequence[LetterTopic],
    stretches: Stretches,
    wanted: Wanted,
    *,
    rate: int | None,
    reporter: Reporter,
    stop: threading.Event,
) -> Standings:
    """Works until the ends are reached or it is told to stop; returns how far it is then, all its processes together.

    Raises KafkaStoppedError, OtherRedriveError, or KafkaUnavailableError.
    """
    visitors = collected(settings, cluster, stretches, wanted, stop)
    group = redrive_group(wanted.owner.group)
    if visitors is not None:
        agreed(cluster, stretches, wanted)
        job = _job(settings, cluster, topics, Reopener(wanted.owner, wanted.selection, visitors), group, rate)
        line = FinishLine(cluster, group, list(stretches), _seldom())
        line.start()
        try:
            # what fails returns, be it all of it: there is nothing to be held for
            unlimited = settings.model_copy(update={"rejection_limit": 0})
            work(unlimited, job, reporter, stopped_or(stop, _stopping, line.reached))
        finally:
            line.close()
    return standings_of(cluster, group, list(stretches))


def nothing_matches(settings: Settings, stretches: Stretches, wanted: Wanted) -> Unmatched | None:
    """Where a filter takes none of what waits: a redrive would write all of it again, and send nothing.

    Raises KafkaUnavailableError.
    """
    if wanted.selection.all:
        return None
    found = Unmatched()
    for tp, chunk in chunks(settings, stretches):
        for record in chunk:
            letter = opened(record)
            state = wanted.owner.state(letter, record.offset, 0)
            if letter is None or state is State.FOREIGN:
                continue
            taken = wanted.selection.takes(tp, record.offset, letter)
            if state is State.WAITING and taken:
                return None
            if state is State.WAITING:
                found.waiting += 1
            elif taken:
                found.exhausted += 1
                found.most_redrives = max(found.most_redrives, letter.redrives)
    return found


def _seldom() -> Callable[[Standings], None]:
    """Says now and then how far it is."""
    throttle = Throttle(PROGRESS_SECONDS, time.monotonic)

    def looked(standings: Standings) -> None:
        if throttle.admit("progress") is not None:
            summary = summary_of(standings)
            log.info("redrive.progress", letters=summary.read, offsets_left=summary.left)

    return looked


def _stopping() -> None:
    log.info("redrive.stopping")


def _job(
    settings: Settings,
    cluster: Cluster,
    topics: Sequence[LetterTopic],
    reopener: Reopener,
    group: str,
    rate: int | None,
) -> Job:
    names = TopicNames(
        [topic.name for topic in topics],
        settings.kafka_consumer_group,
        dead_letter="{topic}",  # a letter returns to where it lay
        identity=settings.identity_topic,
    )
    return Job(
        group,
        names,
        cluster,
        StretchPlanner(),
        (ReturnWriter({topic.name: topic.source for topic in topics}, cluster),),
        lambda report, _: _NoVisitors(report),
        rate,
        reopen=reopener,
    )


class _NoVisitors:
    """Nobody lives in a dead-letter topic: whoever is known comes with the letter's source."""

    def __init__(self, report: Callable[[LogFinding], None]) -> None:
        self._report = report

    def restore(self, places: Collection[Place]) -> None:
        if places:
            nobody = (Visitors(place, "", Restoration(place.start.offset, ""), 0) for place in places)
            self._report(Restored(tuple(nobody)))

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """There is nothing to be let go."""

    def close(self) -> None:
        """There is nothing to be ended."""


def collected(
    settings: Settings, cluster: Cluster, stretches: Stretches, wanted: Wanted, stop: threading.Event
) -> Known | None:
    """What is known now of all visitors in the letters that will be taken; None where it was told to stop meanwhile.

    It waits for schemas, as `run` does: without the event nobody can tell whose it is.
    """
    visitors: dict[TopicPartition, set[str]] = defaultdict(set)
    with rehearser_of(settings) as rehearser:
        reopener = Reopener(wanted.owner, wanted.selection, {})
        for tp, chunk in chunks(settings, stretches):
            judged = _judged(rehearser, tp, chunk, reopener, stop)
            if stop.is_set():
                return None
            for source, found in visitors_of(judged).items():
                visitors[source] |= found
    known = known_of(settings, cluster, visitors)
    log.info("redrive.started", visitors_known=sum(map(len, known.values())))
    return known


def rehearsed(settings: Settings, stretches: Stretches, wanted: Wanted) -> Summary:
    """What a redrive of these stretches would do, were the API to take all. Raises KafkaUnavailableError."""
    summary = Summary()
    reopener = Reopener(wanted.owner, wanted.selection, {})
    with rehearser_of(settings) as rehearser:
        for tp, chunk in chunks(settings, stretches):
            for judged in rehearser.rehearse(tp, chunk, reopener).judged:
                count_judged(summary, judged)
    summary.lost = sum(stretch.lost for stretch in stretches.values())
    return summary


def _judged(
    rehearser: Rehearser, tp: TopicPartition, chunk: Sequence[Record], reopener: Reopener, stop: threading.Event
) -> Sequence[Judged]:
    while not stop.is_set():
        judged = rehearser.rehearse(tp, chunk, reopener).judged
        waiting = [each.decision for each in judged if isinstance(each.decision, Waiting)]
        if not any(each.reason == WAITS_FOR_SCHEMA for each in waiting):
            return judged
        log.warning("schema.unavailable", detail=waiting[0].detail)
        stop.wait(ASK_AGAIN_SECONDS)
    return []


def chunks(settings: Settings, stretches: Stretches) -> Iterator[tuple[TopicPartition, list[Record]]]:
    """The letters of these stretches, a few at a time. Raises KafkaUnavailableError."""
    for tp, stretch in stretches.items():
        bounds = Bounds(stretch.first_offset, stretch.end_offset, stretch.first_offset)
        with closing(records_of(consumer_properties(settings), tp, bounds)) as records:
            while chunk := list(islice(records, CHUNK_LETTERS)):
                yield tp, chunk
