"""Dead letters, identity changes and offsets in one Kafka transaction, on a thread of its own. Decides nothing about
what is settled.

One transaction at a time. The group's metadata comes with each commit, taken on the poll thread together with what it
covers, and is never renewed for the same commit: the broker checks membership, not ownership, so fresh metadata would
let an old owner's offsets through.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from worker import dead_letters, identity_entries
from worker.complaints import in_short
from worker.core.commands import Commit, LaneCommit
from worker.core.outcomes import HoldReason
from worker.core.records import Headers
from worker.errors import KafkaUnavailableError, SettingsError, TopicRefusedError
from worker.topics import TopicNames
from worker.transactions import (
    STEP_TIMEOUT_SECONDS,
    OffsetsLostError,
    RefusedError,
    refused_for,
    send_offsets,
    transactional_producer,
)

# the client's word for "by the key"
ANY_PARTITION = -1

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


class TopicMaker(Protocol):
    """Makes the worker's own topics where they are missing. Raises TopicRefusedError or KafkaUnavailableError."""

    def make_dead_letter_topic(self, source: str, name: str) -> None: ...

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]: ...


class Committer:
    """`report` is called from the committer's thread, once for every commit. The other methods return at once."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        names: TopicNames,
        group: str,
        topics: TopicMaker,
        report: Callable[[CommitResult], None],
        wall_ms: Callable[[float], int],
        *,
        identity_ttl_ms: int,
    ) -> None:
        self._properties = dict(properties)
        self._names = names
        self._group = group
        self._topics = topics
        self._report = report
        self._wall_ms = wall_ms
        self._identity_ttl_ms = identity_ttl_ms
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
            try:
                self._make_topics(commit)
                self._transact(commit, group_metadata)
            except RefusedError as refused:
                # What is wrong may be a topic that was there a moment ago: it is looked for again before the next try.
                self._made.clear()
                self._report(CommitFailed(commit, refused.refusal, str(refused)))
            else:
                self._report(Committed(commit))

    def _make_topics(self, commit: Commit) -> None:
        """Before the producer touches a name: asking for a missing topic may make it, with the broker's seven days of
        retention.
        """
        for share in commit.lanes:
            source = share.tp.topic
            if share.dead_letters:
                name = self._names.dead_letter(source)
                make: Callable[[], object] = partial(self._topics.make_dead_letter_topic, source, name)
                self._make(name, make, HoldReason.DEAD_LETTER_REFUSED)
            if share.changes:
                name = self._names.identity(source)
                make = partial(self._topics.make_identity_topic, source, name, self._identity_ttl_ms)
                self._make(name, make, HoldReason.IDENTITY_REFUSED)

    def _make(self, name: str, make: Callable[[], object], refusal: HoldReason) -> None:
        if name in self._made:
            return
        try:
            make()
        except TopicRefusedError as error:
            raise RefusedError(refusal, str(error)) from error
        except KafkaUnavailableError as error:
            raise RefusedError(None, str(error)) from error
        self._made.add(name)

    def _transact(self, commit: Commit, group_metadata: object) -> None:
        producer = self._ready()
        self._undelivered.clear()
        try:
            producer.begin_transaction()
            for share in commit.lanes:
                self._write(producer, share)
            offsets = [KafkaPartition(*share.tp, share.next_offset) for share in commit.lanes]
            send_offsets(producer, offsets, group_metadata)
            producer.commit_transaction(STEP_TIMEOUT_SECONDS)
        except OffsetsLostError:
            self._drop()
            raise
        except KafkaException as error:
            raise self._aborted(producer, commit, error.args[0]) from error

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

    def _write(self, producer: Producer, share: LaneCommit) -> None:
        tp = share.tp
        for letter in share.dead_letters:
            headers = dead_letters.headers_of(letter, tp, self._group, self._wall_ms)
            topic, record = self._names.dead_letter(tp.topic), letter.record
            self._produce(producer, topic, ANY_PARTITION, record.key, record.value, headers)
        for change in share.changes:
            headers = identity_entries.headers_of(change, share.topic_id)
            topic, visitor = self._names.identity(tp.topic), change.visitor.encode()
            self._produce(producer, topic, tp.partition, visitor, change.state, headers)

    def _produce(
        self, producer: Producer, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        while True:
            try:
                producer.produce(
                    topic, value, key, partition=partition, headers=list(headers), on_delivery=self._delivered
                )
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._undelivered.append((message.topic() or "", error))

    def _aborted(self, producer: Producer, commit: Commit, error: KafkaError) -> RefusedError:
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
            refused = self._refused_by(*reasons[0], commit)
        if error.fatal():
            self._drop()
        return refused

    def _refused_by(self, topic: str, reason: KafkaError, commit: Commit) -> RefusedError:
        if topic in {self._names.identity(share.tp.topic) for share in commit.lanes}:
            what, refusal = "what was learned of a visitor", HoldReason.IDENTITY_REFUSED
        else:
            what, refusal = "a dead letter", HoldReason.DEAD_LETTER_REFUSED
        detail = f"{what} was refused by topic {topic}: {in_short(reason.str())}"
        detail += _WRITE_CURES.get(reason.code(), "")
        return RefusedError(refusal, detail)

    def _drop(self) -> None:
        self._producer, self._registered = None, False
