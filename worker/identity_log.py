"""Reads the identity log (DESIGN §3): all of a partition before its first event is decided, then what operators add.

Nothing is written here: entries go with the offsets they belong to (`committer.py`). Which of them count is decided in
`core/restoring.py`. Everything is reported from threads of this module.

One thread and one consumer for each set of partitions that were assigned together. Its assignment is made once and
never changed: partitions that are given away are no longer listened to, and the consumer goes with the last of them.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition as KafkaPartition
from tenacity import RetryCallState, Retrying, wait_exponential

from worker.core.records import TopicPartition
from worker.core.restoring import Entry, Restoration
from worker.errors import KafkaUnavailableError, TopicRefusedError
from worker.identity_entries import EntryError, entry_of
from worker.kafka import record_of
from worker.scout import KafkaUnreachable, Place
from worker.topics import TopicNames

CHUNK_ENTRIES = 10_000
POLL_SECONDS = 0.1
PROGRESS_SECONDS = 1.0
RETRY_MAX_SECONDS = 5.0
# A log that was made this moment has no leaders yet; before this many tries in a row nothing is worth a word.
QUIET_TRIES = 4
CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Visitors:
    """What the log says of one partition, for the assignment that `place` is of. `restoration.known` is the taker's."""

    place: Place
    topic_id: str
    restoration: Restoration
    unreadable: int


@dataclass(frozen=True, slots=True)
class Restored:
    """Partitions of one assignment, to be started together."""

    visitors: tuple[Visitors, ...]


@dataclass(frozen=True, slots=True)
class Restoring:
    """How far it is, in words; or, where it is `refused`, what somebody has to mend before it goes on."""

    partitions: tuple[TopicPartition, ...]
    progress: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class LogDoubted:
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VisitorForgotten:
    """An operator has had a visitor forgotten, below this offset of the source partition."""

    tp: TopicPartition
    visitor: str
    until: int


OfVisitors = Restored | Restoring | LogDoubted | VisitorForgotten
LogFinding = OfVisitors | KafkaUnreachable


class LogKeeper(Protocol):
    """The cluster, as far as the log needs it. Blocking; raises KafkaUnavailableError or TopicRefusedError."""

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]: ...

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]: ...

    def high_watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...

    def partitions(self) -> dict[str, int]: ...


@dataclass(slots=True)
class _Log:
    """One partition of the log while it is read, up to its `end` when reading began; None where it is missing."""

    place: Place
    restoration: Restoration
    topic_id: str
    end: int | None
    position: int = 0
    unreadable: int = 0

    @property
    def target(self) -> int:
        return self.end or 0

    def visitors(self) -> Visitors:
        return Visitors(self.place, self.topic_id, self.restoration, self.unreadable)

    def take(self, message: Message) -> Entry | None:
        record = record_of(message)
        self.position = record.next_offset
        try:
            return entry_of(record.key, record.value, record.headers)
        except EntryError:
            self.unreadable += 1
            return None


class IdentityLog:
    """`restore`, `drop` and `close` are for the loop's thread; all but the last return at once.

    A `foreign` log is another's to make: where it is missing it is as good as empty.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        names: TopicNames,
        group: str,
        keeper: LogKeeper,
        ttl_ms: int,
        report: Callable[[LogFinding], None],
        clock: Callable[[], float],
        *,
        foreign: bool = False,
    ) -> None:
        self._foreign = foreign
        self._properties = {
            **properties,
            # named, but never joined: partitions are assigned by hand, and nothing is committed
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 4_096,
            "fetch.queue.backoff.ms": 5,
        }
        self._names = names
        self._keeper = keeper
        self._ttl_ms = ttl_ms
        self._report = report
        self._clock = clock
        self._readings: list[_Reading] = []

    def restore(self, places: Collection[Place]) -> None:
        """Reads what is known of each partition before the offset where it is to start; each is `Restored` once."""
        self._readings = [reading for reading in self._readings if reading.thread.is_alive()]
        if places:
            reading = _Reading(places, self._ready, self._consumer, self._report, self._clock)
            self._readings.append(reading)
            reading.thread.start()

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """They are given away: nothing more is said of them."""
        for reading in self._readings:
            reading.drop(partitions)

    def close(self) -> None:
        for reading in self._readings:
            reading.drop(reading.wanted)
        for reading in self._readings:
            reading.thread.join(CLOSE_SECONDS)

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(self._properties, logger=getLogger("librdkafka"))

    def _ready(self, places: Collection[Place]) -> dict[TopicPartition, _Log]:
        """The logs of these partitions, made and looked at, by their own topic and partition."""
        topics = {place.tp.topic for place in places}
        for topic in () if self._foreign else sorted(topics):
            doubts = self._keeper.make_identity_topic(topic, self._names.identity(topic), self._ttl_ms)
            if doubts:
                self._report(LogDoubted(tuple(doubts)))
        ids = self._keeper.topic_ids(topics)
        if gone := topics - ids.keys():
            raise KafkaUnavailableError(f"{', '.join(sorted(gone))} is not there")
        own = {TopicPartition(self._names.identity(place.tp.topic), place.tp.partition): place for place in places}
        there = own.keys()
        if self._foreign:
            existing = self._keeper.partitions()
            there = {tp: own[tp] for tp in own if tp.partition < existing.get(tp.topic, 0)}.keys()
        ends = self._keeper.high_watermarks(there) if there else {}
        if missing := there - ends.keys():
            raise KafkaUnavailableError(f"no end of {', '.join(map(str, sorted(missing)))} could be had")
        return {
            tp: _Log(place, Restoration(place.start.offset, ids[place.tp.topic]), ids[place.tp.topic], ends.get(tp))
            for tp, place in own.items()
        }


class _Reading:
    """The partitions of one assignment, on a thread of their own, until all of them are given away."""

    def __init__(
        self,
        places: Collection[Place],
        ready: Callable[[Collection[Place]], dict[TopicPartition, _Log]],
        consumer: Callable[[], KafkaConsumer],
        report: Callable[[LogFinding], None],
        clock: Callable[[], float],
    ) -> None:
        self._places = places
        self._ready = ready
        self._consumer = consumer
        self._report = report
        self._clock = clock
        self._all_gone = threading.Event()
        self._said_at = clock()
        self._restored: frozenset[TopicPartition] = frozenset()
        self.wanted = frozenset(place.tp for place in places)
        self.thread = threading.Thread(target=self._work, name="identity-log", daemon=True)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        self.wanted = self.wanted.difference(partitions)
        if not self.wanted:
            self._all_gone.set()

    def _work(self) -> None:
        backoff = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
        wait = wait_exponential(multiplier=0.125, max=RETRY_MAX_SECONDS)
        while not self._all_gone.is_set():
            try:
                self._read(self._ready([place for place in self._places if place.tp in self.wanted]))
            except TopicRefusedError as error:
                self._report(Restoring(tuple(sorted(self.wanted)), str(error), refused=True))
            except (KafkaUnavailableError, KafkaException) as error:
                if backoff.attempt_number > QUIET_TRIES:
                    self._report(KafkaUnreachable(_text(error)))
            self._all_gone.wait(wait(backoff))
            backoff.attempt_number += 1

    def _read(self, logs: dict[TopicPartition, _Log]) -> None:
        """Restores what is not restored yet, then follows; returns when nobody wants any of them any more."""
        consumer = self._consumer()
        try:
            consumer.assign([KafkaPartition(*tp, OFFSET_BEGINNING) for tp, log in logs.items() if log.end is not None])
            while not self._all_gone.is_set():
                for log, entry in self._entries(consumer, logs):
                    self._take(log, entry)
                self._say_how_far([log for log in logs.values() if log.place.tp in self.wanted - self._restored])
        finally:
            consumer.close()

    def _take(self, log: _Log, entry: Entry) -> None:
        """Of what is restored, a log that has to be read again tells operators' words again: some may be new."""
        if log.place.tp not in self._restored:
            log.restoration.take(entry)
        elif entry.by_hand and log.place.tp in self.wanted:
            self._report(VisitorForgotten(log.place.tp, entry.visitor, entry.forgotten_until))

    def _entries(self, consumer: KafkaConsumer, logs: Mapping[TopicPartition, _Log]) -> Iterator[tuple[_Log, Entry]]:
        for message in consumer.consume(CHUNK_ENTRIES, POLL_SECONDS):
            log = logs[TopicPartition(message.topic() or "", message.partition() or 0)]
            error = message.error()
            if error is None:
                if log.place.tp in self._restored and message.value() is not None:
                    continue  # only operators' words are news, and those have no value: the rest are workers' own
                entry = log.take(message)
                if entry is not None:
                    yield log, entry
            elif error.code() == KafkaError._PARTITION_EOF:
                # past transaction markers and what was taken back, which no record tells
                log.position = max(log.position, message.offset() or 0)
            elif not error.retriable():
                raise KafkaUnavailableError(f"{message.topic()}: {error.str()}")

    def _say_how_far(self, logs: Collection[_Log]) -> None:
        """Reports those that are read as soon as all are, or once a second: the quick do not wait for the slow, and the
        consumer's assignment does not change from one moment to the next.
        """
        read = [log for log in logs if log.position >= log.target]
        if not logs or (len(read) < len(logs) and self._clock() - self._said_at < PROGRESS_SECONDS):
            return
        self._said_at = self._clock()
        if read:
            self._restored |= {log.place.tp for log in read}
            self._report(Restored(tuple(log.visitors() for log in read)))
        if rest := [log for log in logs if log.position < log.target]:
            entries, total = sum(log.position for log in rest), sum(log.target for log in rest)
            progress = f"restoring visitors, {entries:,} of {total:,} entries read"
            self._report(Restoring(tuple(log.place.tp for log in rest), progress))


def _text(error: KafkaUnavailableError | KafkaException) -> str:
    return error.args[0].str() if isinstance(error, KafkaException) else str(error)
