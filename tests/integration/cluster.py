"""A real broker seen from outside, past every client of the worker's own.

No fixtures and no assertions in here.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import confluent_kafka
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # in no __all__ of the client's
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.integration.harness import wait_until
from tests.integration.offsets import GroupOffsets
from worker.core.records import Headers, Record


@dataclass(frozen=True, slots=True)
class Message:
    """One record to produce. Without a partition (-1) the key decides."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int = -1
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies in Kafka."""

    topic: str
    partition: int
    record: Record

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text, the last of each name."""
        return {name: (value or b"").decode(errors="replace") for name, value in self.record.headers}


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    producer: Producer

    def commit(self) -> None:
        self.producer.commit_transaction(10)


class Cluster:
    """A broker seen from outside: topics are made, filled and read back past every client the worker uses itself."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        # Every name of this test run carries it, so that runs on one broker do not meet.
        self.run = f"t{uuid.uuid4().hex[:8]}"
        # every five minutes a client asks for the topics it was asked about, and would make those that are gone
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap_servers, "allow.auto.create.topics": False, "log_level": 0}
        )
        self._offsets = GroupOffsets(bootstrap_servers)

    def wake_coordinators(self) -> None:
        """Returns when groups can be asked for: a broker makes the topic of their offsets at the first question.

        An AdminClient that asks meanwhile may bring the process down (a segmentation fault, seen with 2.16).
        """
        asking = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": self.unique("waking"), "log_level": 0}
        )
        try:
            wait_until(lambda: _answers(asking, self.unique("nothing")), 60, "a coordinator")
        finally:
            asking.close()

    def unique(self, what: str) -> str:
        """A name no other test uses."""
        return f"{what}-{self.run}-{uuid.uuid4().hex[:8]}"

    def make_topic(self, partitions: int = 1, name: str | None = None, **config: str) -> str:
        """A new topic; `config` with underscores for dots (`max_message_bytes="2000000"`)."""
        topic = name or self.unique("delivery")
        settings = {key.replace("_", "."): value for key, value in config.items()}
        made = self._admin.create_topics([NewTopic(topic, partitions, config=settings)])
        made[topic].result(timeout=10)
        wait_until(lambda: self._has_leaders(topic, partitions), 10, f"leaders for the partitions of {topic}")
        return topic

    def add_partitions(self, topic: str, total: int) -> None:
        self._admin.create_partitions([NewPartitions(topic, total)])[topic].result(timeout=10)
        wait_until(lambda: self._has_leaders(topic, total), 10, f"leaders for the partitions of {topic}")

    def set_config(self, topic: str, name: str, value: str) -> None:
        self._set_config(ResourceType.TOPIC, topic, name, value)

    def set_group_config(self, group: str, name: str, value: str) -> None:
        """What the broker grants this group under KIP-848 (`consumer.session.timeout.ms`)."""
        self._set_config(ResourceType.GROUP, group, name, value)

    def _set_config(self, kind: ResourceType, of: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(kind, of, incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(timeout=10)

    def config(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self._admin.describe_configs([resource])[resource].result(timeout=10)
        return {name: entry.value for name, entry in entries.items()}

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Moves the log's start, as retention does."""
        part = TopicPartition(topic, partition, before_offset)
        self._admin.delete_records([part])[part].result(timeout=10)

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        """Moves a group that has no members."""
        self._offsets.commit(group, topic, offsets)

    def delete_group(self, group: str) -> None:
        """Its offsets are gone, as those of a group without members are after a week."""
        self._admin.delete_consumer_groups([group])[group].result(timeout=10)

    def delete_topic(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(timeout=10)
        wait_until(lambda: topic not in self.topics(), 10, f"{topic} is gone")

    def topics(self) -> set[str]:
        return set(self._admin.list_topics(timeout=10).topics)

    def groups(self) -> set[str]:
        """Every consumer group the cluster knows of, with members or without."""
        return {group.group_id for group in self._admin.list_consumer_groups().result(timeout=10).valid}

    def group_state(self, group: str) -> str:
        """Kafka's name of it (`STABLE`)."""
        described = self._admin.describe_consumer_groups([group])[group].result(timeout=10)
        return str(described.state.name)

    def produce(self, topic: str, messages: Iterable[Message], **properties: str) -> list[Stored]:
        """Writes them in order, returns them with their offsets; raises KafkaException when one is refused."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "message.max.bytes": 8_000_000,
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 5,
                "log_level": 0,
                **{name.replace("_", "."): value for name, value in properties.items()},
            }
        )
        stored: list[Stored] = []
        errors: list[KafkaError] = []

        def reported(error: KafkaError | None, message: confluent_kafka.Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                stored.append(_stored(message))

        for message in messages:
            producer.produce(
                topic,
                value=message.value,
                key=message.key,
                headers=list(message.headers),
                on_delivery=reported,
                timestamp=message.timestamp_ms,
                partition=message.partition,
            )
            producer.poll(0)
        producer.flush(30)
        if errors:
            raise KafkaException(errors[0])
        return stored

    def produce_in_transaction(self, topic: str, messages: Iterable[Message], *, commit: bool) -> None:
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "transactional.id": self.unique("txn"), "log_level": 0}
        )
        producer.init_transactions(10)
        producer.begin_transaction()
        for message in messages:
            producer.produce(topic, value=message.value, key=message.key)
        producer.flush(10)
        if commit:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)

    @contextmanager
    def open_transaction(self, topic: str, messages: Iterable[Message]) -> Iterator["OpenTransaction"]:
        """Records that a reader of committed ones neither sees nor gets past, until it is told to commit."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "transactional.id": self.unique("txn"), "log_level": 0}
        )
        producer.init_transactions(10)
        producer.begin_transaction()
        for message in messages:
            producer.produce(topic, message.value, message.key, headers=list(message.headers), partition=0)
        producer.flush(10)
        yield OpenTransaction(producer)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The next offset of each partition the group has committed; the others are missing."""
        known = self._admin.list_topics(timeout=10).topics.get(topic)
        return {} if known is None else self._offsets.committed(group, topic, sorted(known.partitions))

    def end_offsets(
        self, topic: str, isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[int, int]:
        """The last stable offset of each partition: what a read_committed reader gets to."""
        asked = {
            TopicPartition(topic, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's own
            for partition in self._partitions(topic)
        }
        answered = self._admin.list_offsets(asked, isolation_level=isolation_level)
        return {tp.partition: future.result(timeout=10).offset for tp, future in answered.items()}

    def is_stable(self, topic: str) -> bool:
        """Whether no transaction is open in it."""
        return self.end_offsets(topic) == self.end_offsets(topic, IsolationLevel.READ_UNCOMMITTED)

    def read_topic(self, topic: str) -> list[Stored]:
        """All a read_committed reader sees, each partition in order of offsets; nothing if there is no such topic."""
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": self.unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        open_partitions = set(self._partitions(topic))
        found: list[Stored] = []
        deadline = time.monotonic() + 30
        try:
            reader.assign([TopicPartition(topic, partition, 0) for partition in open_partitions])
            while open_partitions and time.monotonic() < deadline:
                for message in reader.consume(1000, timeout=0.1):
                    error = message.error()
                    if error is None:
                        found.append(_stored(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_partitions.discard(message.partition())
                    else:
                        raise KafkaException(error)
        finally:
            reader.close()
        if open_partitions:
            raise TimeoutError(f"the end of {topic} {sorted(open_partitions)} was not reached within 30 s")
        return sorted(found, key=lambda stored: (stored.partition, stored.record.offset))

    def delete_topics_of_this_run(self) -> None:
        ours = [topic for topic in self.topics() if self.run in topic]
        if ours:
            for future in self._admin.delete_topics(ours).values():
                future.result(timeout=10)

    def _partitions(self, topic: str) -> list[int]:
        return sorted(self._admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        known = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        return len(known) == partitions and all(partition.leader >= 0 for partition in known.values())


def _answers(asking: Consumer, topic: str) -> bool:
    try:
        asking.committed([TopicPartition(topic, 0)], timeout=10)
    except KafkaException:
        return False
    return True


def _stored(message: confluent_kafka.Message) -> Stored:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Stored(
        topic,
        partition,
        Record(
            offset=offset,
            timestamp_ms=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
            headers=tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs),
        ),
    )
