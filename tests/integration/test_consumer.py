from collections.abc import Collection
from typing import Any, cast

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message as Read
from confluent_kafka import TopicPartition as KafkaPartition

from tests.integration.cluster import Cluster, Message
from tests.integration.harness import wait_until
from worker.core.records import TopicPartition
from worker.kafka import Consumer


class Owner:
    """Takes what it is given, and wants to hear of nothing else."""

    def __init__(self) -> None:
        self.partitions: set[TopicPartition] = set()
        self.assignments = 0

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.partitions.update(partitions)
        self.assignments += 1

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.partitions.difference_update(partitions)

    lost = revoked

    def out_of_range(self, tp: TopicPartition) -> None:
        raise AssertionError(f"{tp} is out of range")

    def refused(self, tp: TopicPartition | None, detail: str) -> None:
        raise AssertionError(detail)

    def shut_out(self, detail: str) -> None:
        raise AssertionError(detail)

    def kafka_trouble(self, detail: str, *, cause: bool) -> None:
        """Mends itself."""


class HastyGroup:
    """A client whose group takes its partition away and gives it back after the first record it has handed out."""

    def __init__(self, client: KafkaConsumer) -> None:
        self._client = client
        self._moved = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._callbacks = callbacks
        self._client.subscribe(topics, **callbacks)

    def consume(self, count: int, timeout_seconds: float) -> list[Read]:
        found = self._client.consume(count, timeout_seconds)
        if found and not self._moved:
            self._moved = True
            partitions = [KafkaPartition(found[0].topic() or "", found[0].partition() or 0)]
            self._callbacks["on_revoke"](self._client, partitions)
            self._callbacks["on_assign"](self._client, partitions)
        return found


class HastyConsumer(Consumer):
    def _client(self) -> KafkaConsumer:
        return cast(KafkaConsumer, HastyGroup(super()._client()))


def properties(cluster: Cluster, strategy: str) -> dict[str, object]:
    return {
        "bootstrap.servers": cluster.bootstrap_servers,
        "group.id": cluster.unique("group"),
        "group.protocol": "classic",
        "partition.assignment.strategy": strategy,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
    }


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_what_was_read_before_a_partition_left_and_came_back_is_not_handed_out(cluster: Cluster, strategy: str) -> None:
    """It would be of the new assignment, which begins where the group has committed, and be read twice."""
    topic = cluster.make_topic()
    cluster.produce(topic, [Message(b"%d" % number) for number in range(10)])
    tp, owner, read = TopicPartition(topic, 0), Owner(), list[int]()
    consumer = HastyConsumer(properties(cluster, strategy), owner)

    def has_read(count: int) -> bool:
        read.extend(record.offset for record in consumer.poll(100, 0.1).records.get(tp, ()))
        return len(read) >= count

    consumer.subscribe([topic])
    wait_until(lambda: has_read(0) and owner.partitions, 30, "it is assigned")
    consumer.start({tp: 0})
    wait_until(lambda: has_read(0) and owner.assignments == 2, 30, "it came back")
    assert not read
    consumer.start({tp: 0})
    wait_until(lambda: has_read(10), 30, "all is read")
    consumer.close()
    assert read == list(range(10))


def test_an_eager_member_goes_on_where_it_was_when_a_partition_starts_later(cluster: Cluster) -> None:
    """After a resume the client knows of no position until the next record, and here there is none."""
    topic = cluster.make_topic(2)
    cluster.produce(topic, [Message(b"%d" % number, partition=number % 2) for number in range(20)])
    first, later = TopicPartition(topic, 0), TopicPartition(topic, 1)
    owner, read = Owner(), list[tuple[int, int]]()
    consumer = Consumer(properties(cluster, "range"), owner)

    def has_read(count: int) -> bool:
        for tp, records in consumer.poll(100, 0.1).records.items():
            read.extend((tp.partition, record.offset) for record in records)
        return len(read) >= count

    consumer.subscribe([topic])
    wait_until(lambda: has_read(0) and owner.partitions == {first, later}, 30, "both are assigned")
    consumer.start({first: 0})
    wait_until(lambda: has_read(10), 30, "the first is read")
    consumer.pause([first])
    consumer.resume([first])

    consumer.start({later: 0})
    wait_until(lambda: (1, 9) in read if has_read(20) else False, 30, "the other is read, too")
    consumer.close()
    assert sorted(read) == [(partition, offset) for partition in (0, 1) for offset in range(10)]
