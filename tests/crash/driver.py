"""The worker as `run` puts it together, but for a part that ends its own process, or stops it, at a named point.

Run by path, with the settings in the environment: `python tests/crash/driver.py POINT OCCURRENCE SIGNAL`. The word
`STALL` in place of a signal's name stops the thread alone that has reached the point, until SIGUSR1 comes. Whatever is
not the point itself is the product's own: nothing is faked in here, and nothing asserted.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from enum import StrEnum
from typing import Any, cast

from confluent_kafka import Producer

from worker import logs
from worker.assembly import (
    close,
    edges_of,
    live_job,
    mapping_of,
    patience_seconds,
    pipeline_of,
    revoke_seconds,
)
from worker.client_properties import client_properties, consumer_properties
from worker.committer import Committed, Committer
from worker.core.outcomes import Verdict
from worker.core.records import TopicPartition
from worker.facts import Answered, Fact
from worker.loop import Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.settings import load
from worker.tap.recorder import Tap
from worker.watchdog import Watchdog

STALL = "STALL"


class Point(StrEnum):
    """Where a process can end, in the order of an event's way."""

    REGISTERING = "registering"  # the committer has yet to get its transactional id, commits queue up before it
    ASSIGNED = "assigned"  # partitions are ours, nothing is read yet
    ANSWERED = "answered"  # the API has taken a batch, the core has not heard of it
    HALVING = "halving"  # the API has refused a batch, and then a piece of it
    SETTLED = "settled"  # the core wants a commit, no transaction has begun
    LETTERS_WRITTEN = "letters-written"  # a transaction is open, its dead letters are with the broker
    IDENTITIES_WRITTEN = "identities-written"  # ... what was learned of visitors is
    OFFSETS_WRITTEN = "offsets-written"  # ... and its offsets
    COMMITTED = "committed"  # the transaction has gone through, the core has not heard of it
    REVOKING = "revoking"  # partitions are to be given away, nothing is waited for yet
    REVOKED = "revoked"  # ... and their last commit is done
    DRAINING = "draining"  # asked to stop, an answer came in
    LEAVING = "leaving"  # asked to stop, the last commit is still to come
    LEFT = "left"  # ... and is done


class Strike:
    """Sends this process the signal when it reaches the point for the n-th time; without one, stalls the thread."""

    def __init__(self, point: Point, occurrence: int, number: signal.Signals | None) -> None:
        self._point = point
        self._left = occurrence
        self._number = number
        self._released = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: self._released.set())

    def reached(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                # the monotonic clock is the whole machine's
                sys.stderr.write(json.dumps({"event": "struck", "monotonic": time.monotonic()}) + "\n")
                sys.stderr.flush()
                if self._number is None:
                    self._released.wait()
                else:
                    os.kill(os.getpid(), self._number)


class MortalInbox(queue.SimpleQueue[Fact]):
    """Strikes on the thread that brings the news, before the loop hears it."""

    def __init__(self, strike: Strike, stopping: Callable[[], bool]) -> None:
        super().__init__()
        self._strike = strike
        self._stopping = stopping

    def put(self, item: Fact, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002  # as SimpleQueue's
        match item:
            case Answered(answer=answer) if self._stopping() and answer.verdict is Verdict.TAKEN:
                self._strike.reached(Point.DRAINING)
            case Answered(answer=answer) if answer.verdict is Verdict.TAKEN:
                self._strike.reached(Point.ANSWERED)
            case Answered(answer=answer) if answer.verdict is Verdict.BAD:
                self._strike.reached(Point.HALVING)
            case Committed():
                self._strike.reached(Point.COMMITTED)
        super().put(item, block, timeout)


class MortalLoop(Loop):
    def __init__(self, strike: Strike, stopping: Callable[[], bool], *parts: Any, **bounds: Any) -> None:
        super().__init__(*parts, **bounds)
        self._strike = strike
        self._stopping = stopping

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        super().assigned(partitions)
        self._strike.reached(Point.ASSIGNED)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        before, after = (Point.LEAVING, Point.LEFT) if self._stopping() else (Point.REVOKING, Point.REVOKED)
        self._strike.reached(before)
        super().revoked(partitions)
        self._strike.reached(after)


class MortalProducer:
    """A producer for one transaction, that strikes between two of its steps."""

    def __init__(self, producer: Producer, strike: Strike) -> None:
        self._producer = producer
        self._strike = strike
        self._written: set[Point] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def begin_transaction(self) -> None:
        self._strike.reached(Point.SETTLED)
        self._producer.begin_transaction()

    def produce(self, topic: str, *arguments: Any, **properties: Any) -> None:
        self._written.add(Point.IDENTITIES_WRITTEN if topic.endswith(".identity") else Point.LETTERS_WRITTEN)
        self._producer.produce(topic, *arguments, **properties)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        for point in sorted(self._written):
            self._producer.flush()
            self._strike.reached(point)
        self._producer.send_offsets_to_transaction(*arguments)
        self._strike.reached(Point.OFFSETS_WRITTEN)


class MortalCommitter(Committer):
    def __init__(self, strike: Strike, *parts: Any) -> None:
        self._strike = strike
        super().__init__(*parts)

    def _work(self) -> None:
        self._strike.reached(Point.REGISTERING)
        super()._work()

    def _ready(self) -> Producer:
        return cast(Producer, MortalProducer(super()._ready(), self._strike))


def main(point: str, occurrence: str, number: str) -> None:
    settings = load(os.environ, None)
    logs.configure(level=settings.log_level, log_format=settings.log_format, stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    strike = Strike(Point(point), int(occurrence), None if number == STALL else signal.Signals[number])
    clock, inbox = time.monotonic, MortalInbox(strike, stop.is_set)
    loop = MortalLoop(
        strike,
        stop.is_set,
        pipeline_of(settings),
        inbox,
        Reporter(Metrics(), Tap(mapping_of(settings), clock, time.time), clock),
        Watchdog(patience_seconds(settings), clock, lambda stacks: None),
        clock,
        revoke_seconds=revoke_seconds(consumer_properties(settings)),
        shutdown_seconds=settings.shutdown_timeout_seconds,
    )
    job = live_job(settings)
    edges = edges_of(settings, job, loop, inbox, clock)
    edges.committer.close()
    committer = MortalCommitter(strike, client_properties(settings), job.group, job.writers, inbox.put)
    edges = replace(edges, committer=committer)
    loop.run(edges, stop.is_set)
    close(edges)


if __name__ == "__main__":
    main(*sys.argv[1:])
