"""Offsets and what belongs to them (`outgoing.py`) in one Kafka transaction, on a thread of its own. Decides nothing
about what is settled.

One transaction at a time. The group's metadata comes with each commit, taken on the poll thread together with what it
covers, and is never renewed for the same commit: the broker checks membership, not ownership, so fresh metadata would
let an old owner's offsets through.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from worker.complaints import in_short
from worker.core.commands import Commit, LaneCommit
from worker.core.outcomes import HoldReason
from worker.errors import KafkaUnavailableError, SettingsError, TopicRefusedError
from worker.outgoing import Destination, Outgoing, Writer
from worker.transactions import (
    STEP_TIMEOUT_SECONDS,
    OffsetsLostError,
    RefusedError,
    refused_for,
    send_offsets,
    transactional_producer,
)

_WRITE_CURES = {
    KafkaError.MSG_SIZE_TOO_LARGE: "; raise its max.message.bytes above the source topic's",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "; grant WRITE and DESCRIBE on it",
}


@dataclass(frozen=True, slots=True)
class Committed:
    commit: Commit


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """It was aborted, or nobody can tell how it ended: it is made again from what is settled then.

    `refusal` None: a passing fault; else somebody has to mend what `detail` says.
    """

    commit: Commit
    refusal: HoldReason | None
    detail: str


CommitResult = Committed | CommitFailed


class Committer:
    """`report` is called from the committer's thread, once for every commit. The other methods return at once."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        group: str,
        writers: Sequence[Writer],
        report: Callable[[CommitResult], None],
    ) -> None:
        self._properties = dict(properties)
        self._group = group
        self._writers = writers
        self._report = report
        self._registered = False
        try:
            self._producer: Producer | None = self._new_producer()
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error
        self._made: set[str] = set()
        self._undelivered: list[tuple[str, KafkaError]] = []
        self._queue: queue.SimpleQueue[tuple[Commit, object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._thread.start()

    def commit(self, commit: Commit, group_metadata: object) -> None:
        self._queue.put((commit, group_metadata))

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Ends the thread after the commits already handed over."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        # Until the first commit is through, a crash repeats all that was answered. It tries again, and reports.
        with suppress(RefusedError):
            self._ready()
        while (job := self._queue.get()) is not None:
            commit, group_metadata = job
            records = [each for share in commit.lanes for writer in self._writers for each in writer.records_of(share)]
            destinations = {each.to.topic: each.to for each in records}
            try:
                self._make_topics(destinations)
                self._transact(commit, records, destinations, group_metadata)
            except RefusedError as refused:
                # What is wrong may be a topic that was there a moment ago: it is looked for again before the next try.
                self._made.clear()
                self._report(CommitFailed(commit, refused.refusal, str(refused)))
            else:
                self._report(Committed(commit))

    def _make_topics(self, destinations: Mapping[str, Destination]) -> None:
        """Before the producer writes to them: it would wait for one that is missing, and then call it unknown."""
        for name, destination in destinations.items():
            if name in self._made:
                continue
            try:
                destination.make()
            except TopicRefusedError as error:
                raise RefusedError(destination.refusal, str(error)) from error
            except KafkaUnavailableError as error:
                raise RefusedError(None, str(error)) from error
            self._made.add(name)

    def _transact(
        self,
        commit: Commit,
        records: Sequence[Outgoing],
        destinations: Mapping[str, Destination],
        group_metadata: object,
    ) -> None:
        producer = self._ready()
        self._undelivered.clear()
        try:
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record)
            send_offsets(producer, [_committed(share) for share in commit.lanes], group_metadata)
            producer.commit_transaction(STEP_TIMEOUT_SECONDS)
        except OffsetsLostError:
            self._drop()
            raise
        except KafkaException as error:
            raise self._aborted(producer, destinations, error.args[0]) from error

    def _ready(self) -> Producer:
        """The producer, made and registered with its coordinator; a new one, with a new id, after a fatal error."""
        if not self._registered:
            producer = self._producer or self._new_producer()
            self._producer = producer
            try:
                producer.init_transactions(STEP_TIMEOUT_SECONDS)
            except KafkaException as error:
                self._producer = None
                raise refused_for(error.args[0]) from error
            self._registered = True
        assert self._producer is not None  # registered ones are
        return self._producer

    def _new_producer(self) -> Producer:
        return transactional_producer(self._properties, f"{self._group}-{uuid4()}")

    def _produce(self, producer: Producer, record: Outgoing) -> None:
        """Does not ask what became of it, which the end of the transaction tells: each question would leave the
        interpreter to the loop's thread, and wait until that lets go of it, up to 5 ms under a backlog.
        """
        while True:
            try:
                producer.produce(
                    record.to.topic,
                    record.value,
                    record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                    timestamp=record.timestamp_ms,
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._undelivered.append((message.topic() or "", error))

    def _aborted(self, producer: Producer, destinations: Mapping[str, Destination], error: KafkaError) -> RefusedError:
        """Ends the transaction, whatever state it is in, and says what was wrong with it."""
        refused = refused_for(error)
        try:
            producer.abort_transaction(STEP_TIMEOUT_SECONDS)
        except KafkaException:
            # Neither committed nor aborted: the broker ends it after its time-out. This producer is of no more use.
            self._drop()
            producer.purge()
        # A purged message is a consequence of the abort, not the reason for it. But where a topic is not ours to write,
        # the transaction says so, and never which topic: it is that of what has not got through.
        not_allowed = error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        reasons = [
            (topic, error if reason.code() == KafkaError._PURGE_QUEUE else reason)
            for topic, reason in self._undelivered
            if not_allowed or reason.code() != KafkaError._PURGE_QUEUE
        ]
        if reasons:
            refused = _refused_by(destinations[reasons[0][0]], reasons[0][1])
        if error.fatal():
            self._drop()
        return refused

    def _drop(self) -> None:
        self._producer, self._registered = None, False


def _committed(share: LaneCommit) -> KafkaPartition:
    """A commit without metadata would wipe out what the one before it has said."""
    return KafkaPartition(*share.tp, share.next_offset, "" if share.stretch is None else share.stretch.text())


def _refused_by(destination: Destination, reason: KafkaError) -> RefusedError:
    detail = f"{destination.what} was refused by topic {destination.topic}: {in_short(reason.str())}"
    return RefusedError(destination.refusal, detail + _WRITE_CURES.get(reason.code(), ""))
