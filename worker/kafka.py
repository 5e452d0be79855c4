"""The Kafka consumer: records in chunks, partitions that come and go. Commits nothing and decides nothing about
offsets.

confluent_kafka's types and exceptions stay in here. Everything runs on the loop's thread; the listener is called from
within `poll` and `close`.

An assigned partition is not read until `start` names its offset. It is not assigned to the fetcher and paused
meanwhile, as one would: librdkafka would look for an offset of its own, and the answer to that may overtake a later
seek (seen with 2.16: the partition then starts at its end).
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Protocol

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from worker.client_properties import COOPERATIVE
from worker.complaints import advised
from worker.core.records import Headers, Record, TopicPartition
from worker.errors import KafkaStoppedError, SettingsError

# How often the positions of quiet partitions are looked at: they move past transaction markers without any record.
POSITIONS_INTERVAL_SECONDS = 0.25
GATHER_SECONDS = 0.005
# How long nobody asks for the group after its right was refused: each question costs a client of its own.
SHUT_OUT_SECONDS = 30.0

_NOT_ALLOWED = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED).str()
_ONE_ID_TWICE = ". Usually another process has the same group.instance.id: KAFKA_CLIENT must give each its own"


class Listener(Protocol):
    """Whoever wants to know what becomes of partitions. Revoked ones are still ours until the call returns."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    def revoked(self, partitions: Collection[TopicPartition]) -> None: ...

    def lost(self, partitions: Collection[TopicPartition]) -> None: ...

    def out_of_range(self, tp: TopicPartition) -> None:
        """The offset to read next does not exist: `start` it anew."""

    def refused(self, tp: TopicPartition | None, detail: str) -> None:
        """To read it, or (None) to join the group: not allowed. Said once."""

    def shut_out(self, detail: str) -> None:
        """Every partition is lost, and none comes until the right to the group is back."""

    def kafka_trouble(self, detail: str, *, cause: bool) -> None:
        """Something is wrong that mends itself or must be mended; said again while it lasts. On any thread."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one `poll` read, by partition in offset order, and all positions where it looked at them."""

    records: Mapping[TopicPartition, Sequence[Record]] = field(default_factory=dict)
    positions: Mapping[TopicPartition, int] = field(default_factory=dict)


class Consumer:
    """One member of the group."""

    def __init__(self, properties: Mapping[str, Any], listener: Listener) -> None:
        self._properties = properties
        self._listener = listener
        self._topics: Sequence[str] = ()
        strategy = properties.get("partition.assignment.strategy", COOPERATIVE)
        self._eager = properties["group.protocol"] == "classic" and strategy != COOPERATIVE
        self._started: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._joined = False
        self._hint = _ONE_ID_TWICE if "group.instance.id" in properties else ""
        self._fatal: KafkaError | None = None
        self._join_at: float | None = None
        self._looked_at = float("-inf")
        self._consumer = self._client()

    def _client(self) -> KafkaConsumer:
        try:
            return KafkaConsumer({**self._properties, "error_cb": self._on_error}, logger=getLogger("librdkafka"))
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error

    def subscribe(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, max_records: int, timeout_seconds: float) -> Chunk:
        """Reads what comes soon after a first record, for which it waits until the time-out; KafkaStoppedError."""
        read: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        # asked for all of them at once, the client would wait for all to come
        first = self._consumer.consume(1, max(0.0, timeout_seconds - GATHER_SECONDS))
        for message in first + self._consumer.consume(max_records - len(first), GATHER_SECONDS):
            error = message.error()
            if error is not None:
                self._on_message_error(message, error)
                continue
            read[message.topic() or "", message.partition() or 0].append(record_of(message))
        if self._fatal is not None:
            self._begin_again(self._fatal)
        self._join_again()
        # A partition may have left, and come back, between two records of one poll: what was read before is the former
        # assignment's, and the new one has not been started.
        records = {tp: chunk for place, chunk in read.items() if (tp := TopicPartition(*place)) in self._started}
        self._started.update({tp: chunk[-1].next_offset for tp, chunk in records.items()})
        return Chunk(records, self._positions() if not records else {})

    def _begin_again(self, fatal: KafkaError) -> None:
        """Under KIP-848 a refused right to the group is the end of a client: a successor goes on asking for it.

        Librdkafka says that it is fatal, and why in its own words alone. KafkaStoppedError where that was not the
        reason: a fenced static member must not come back.
        """
        if _NOT_ALLOWED not in fatal.str():
            raise KafkaStoppedError(f"Kafka says this client cannot go on: {fatal.str()}{self._hint}")
        # before the client is closed, which may tell of a revocation: nothing could be committed
        self._listener.shut_out(advised("GROUP_AUTHORIZATION_FAILED", fatal.str()))
        self._consumer.close()
        self._consumer, self._fatal, self._joined = self._client(), None, False
        self._started.clear()
        self._paused.clear()
        self._join_at = time.monotonic() + SHUT_OUT_SECONDS

    def _join_again(self) -> None:
        if self._join_at is not None and time.monotonic() >= self._join_at:
            self._join_at = None
            self.subscribe(self._topics)

    def _positions(self) -> dict[TopicPartition, int]:
        now = time.monotonic()
        if not self._started or now - self._looked_at < POSITIONS_INTERVAL_SECONDS:
            return {}
        self._looked_at = now
        found = self._consumer.position([KafkaPartition(*tp) for tp in self._started])
        return {TopicPartition(part.topic, part.partition): part.offset for part in found if part.offset >= 0}

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Begins, or begins anew, to read assigned partitions at these offsets, all of them in one step: an assignment
        that changes again within milliseconds may leave a partition unread for good (seen with 2.16).
        """
        if not offsets:
            return
        anew = [KafkaPartition(*tp) for tp in offsets if tp in self._started]
        self._started.update(offsets)
        if self._eager:
            self._assign_all(offsets)
            return
        if anew:
            self._consumer.incremental_unassign(anew)
        self._consumer.incremental_assign([KafkaPartition(*tp, offset) for tp, offset in offsets.items()])
        self._pause_again()

    def _assign_all(self, moved: Mapping[TopicPartition, int]) -> None:
        """Under the eager protocol an assignment is always whole; the others go on from where they are."""
        others = [KafkaPartition(*tp) for tp in self._started if tp not in moved]
        for part in self._consumer.position(others) if others else ():
            # after a seek the client knows of no position until the next record: then it is what was read last
            tp = TopicPartition(part.topic, part.partition)
            self._started[tp] = max(self._started[tp], part.offset)
        self._consumer.assign([KafkaPartition(*tp, offset) for tp, offset in self._started.items()])
        self._pause_again()

    def _pause_again(self) -> None:
        """Whether a pause outlives a change of the assignment differs between protocols (2.16), so it is said again.

        A pause forgotten reads past the lane's bound; one that came back with a partition leaves it unread for ever.
        """
        self._consumer.resume([KafkaPartition(*tp) for tp in self._started if tp not in self._paused])
        self._consumer.pause([KafkaPartition(*tp) for tp in self._paused])

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = [tp for tp in partitions if tp in self._started]
        self._paused.update(wanted)
        self._consumer.pause([KafkaPartition(*tp) for tp in wanted])

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = [KafkaPartition(*tp) for tp in partitions if tp in self._started]
        self._paused.difference_update(TopicPartition(part.topic, part.partition) for part in wanted)
        positions = self._consumer.position(wanted)
        self._consumer.resume(wanted)
        for part in positions:
            # A resumed partition waits until the fetcher wakes, up to a second; a seek to where it is wakes it at once.
            # It only saves time: where the partition is not in a state to seek, the fetcher comes by itself.
            with suppress(KafkaException):
                if part.offset >= 0:
                    self._consumer.seek(part)

    @property
    def joined(self) -> bool:
        """Whether the group has taken us in, be it without a partition: under KIP-848 no callback tells a spare member.

        Librdkafka's serialized metadata begins with the generation, negative before the first (rdkafka_cgrp.c, CGMDv2).
        """
        if not self._joined:
            metadata = self._consumer.consumer_group_metadata()
            known, generation = metadata.startswith(b"CGMDv2:"), int.from_bytes(metadata[7:11], "little", signed=True)
            self._joined = known and generation >= 0
        return self._joined

    def group_metadata(self) -> object:
        """What a transaction has to carry; to be taken in the same breath as what it covers."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Leaves the group; the listener hears of a last revocation."""
        self._consumer.close()

    def _on_assign(self, consumer: KafkaConsumer, parts: list[KafkaPartition]) -> None:
        if self._eager:
            consumer.assign([])
            self._started.clear()
            self._paused.clear()
        else:
            consumer.incremental_assign([])
        self._joined = True
        self._listener.assigned(_ours(parts))

    def _on_revoke(self, consumer: KafkaConsumer, parts: list[KafkaPartition]) -> None:
        self._listener.revoked(_ours(parts))
        self._drop(consumer, parts)

    def _on_lost(self, consumer: KafkaConsumer, parts: list[KafkaPartition]) -> None:
        self._listener.lost(_ours(parts))
        self._drop(consumer, parts)

    def _drop(self, consumer: KafkaConsumer, parts: list[KafkaPartition]) -> None:
        started = [tp for tp in _ours(parts) if self._started.pop(tp, None) is not None]
        self._paused.difference_update(started)
        if self._eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign([KafkaPartition(*tp) for tp in started])
            self._pause_again()

    def _on_message_error(self, message: Message, error: KafkaError) -> None:
        tp = TopicPartition(message.topic() or "", message.partition() or 0)
        if error.fatal() or error.code() == KafkaError._FATAL:  # a consumer's own come without the mark (2.16)
            self._fatal = error
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if tp in self._started:
                self._listener.out_of_range(tp)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and tp in self._started:
            self._listener.refused(tp, advised(error.name(), f"{tp}: {error.str()}"))
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._listener.refused(None, advised(error.name(), error.str()))
        elif not error.retriable() and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # the scout names those
            self._listener.kafka_trouble(advised(error.name(), error.str()), cause=True)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        elif error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._ALL_BROKERS_DOWN):
            down = error.code() == KafkaError._ALL_BROKERS_DOWN  # which follows from a password that all refuse
            self._listener.kafka_trouble(advised(error.name(), error.str()), cause=not down)


def _ours(parts: Iterable[KafkaPartition]) -> list[TopicPartition]:
    return [TopicPartition(part.topic, part.partition) for part in parts]


def record_of(message: Message) -> Record:
    """The client's message as the core's record, its bytes untouched."""
    return Record(message.offset() or 0, message.timestamp()[1], message.key(), message.value(), _headers(message))


def _headers(message: Message) -> Headers:
    """None at all where a header's name is no UTF-8: the client can hand out all of a record's headers or none."""
    try:
        return tuple(message.headers() or ())  # type: ignore[arg-type]  # values are bytes, whatever the stub says
    except (SystemError, UnicodeDecodeError):
        return ()
