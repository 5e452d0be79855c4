"""The worker as `run` puts it together, but for a part that ends its own process, or stops it, at a named point.

Run by path, with the settings in the environment: `python tests/crash/driver.py POINT OCCURRENCE SIGNAL`. Whatever is
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
from worker.committer import Committed, Committer
from worker.core.outcomes import Verdict
from worker.core.records import TopicPartition
from worker.facts import Answered, Fact
from worker.kafka import client_properties, consumer_properties
from worker.loop import Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.settings import load
from worker.tap.recorder import Tap
from worker.watchdog import Watchdog


class Point(StrEnum):
    """Where a process can end, in the order of an event's way."""

    ASSIGNED = "assigned"  # partitions are ours, nothing is read yet
    ANSWERED = "answered"  # the API has taken a batch, the core has not heard of it
    HALVING = "halving"  # the API has refused a batch, and then a piece of it
    SETTLED = "settled"  # the core wants a commit, no transaction has begun
    LETTERS_WRITTEN = "letters-written"  # a transaction is open, its dead letters are with the broker
    OFFSETS_WRITTEN = "offsets-written"  # ... and its offsets
    COMMITTED = "committed"  # the transaction has gone through, the core has not heard of it
    REVOKING = "revoking"  # partitions are to be given away, nothing is waited for yet
    REVOKED = "revoked"  # ... and their last commit is done
    DRAINING = "draining"  # asked to stop, an answer came in
    LEAVING = "leaving"  # asked to stop, the last commit is still to come
    LEFT = "left"  # ... and is done


class Strike:
    """Sends this process the signal when it reaches the point for the n-th time."""

    def __init__(self, point: Point, occurrence: int, number: signal.Signals) -> None:
        self._point = point
        self._left = occurrence
        self._number = number

    def reached(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                # the monotonic clock is the whole machine's
                sys.stderr.write(json.dumps({"event": "struck", "monotonic": time.monotonic()}) + "\n")
                sys.stderr.flush()
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
        self._letters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def begin_transaction(self) -> None:
        self._strike.reached(Point.SETTLED)
        self._producer.begin_transaction()

    def produce(self, *arguments: Any, **properties: Any) -> None:
        self._letters += 1
        self._producer.produce(*arguments, **properties)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        if self._letters:
            self._producer.flush()
            self._strike.reached(Point.LETTERS_WRITTEN)
        self._producer.send_offsets_to_transaction(*arguments)
        self._strike.reached(Point.OFFSETS_WRITTEN)


class MortalCommitter(Committer):
    def __init__(self, strike: Strike, *parts: Any) -> None:
        self._strike = strike
        super().__init__(*parts)

    def _ready(self) -> Producer:
        return cast(Producer, MortalProducer(super()._ready(), self._strike))


def main(point: str, occurrence: str, number: str) -> None:
    settings = load(os.environ, None)
    logs.configure(level=settings.log_level, log_format=settings.log_format, stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    strike = Strike(Point(point), int(occurrence), signal.Signals[number])
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
