from collections.abc import Collection

from tests.integration.cluster import Cluster, Message
from tests.integration.harness import wait_until
from worker.core.records import TopicPartition
from worker.kafka import Consumer


class Owner:
    """Takes what it is given, and wants to hear of nothing else."""

    def __init__(self) -> None:
        self.partitions: set[TopicPartition] = set()

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.partitions.update(partitions)

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


def test_an_eager_member_goes_on_where_it_was_when_a_partition_starts_later(cluster: Cluster) -> None:
    """After a resume the client knows of no position until the next record, and here there is none."""
    topic = cluster.make_topic(2)
    cluster.produce(topic, [Message(b"%d" % number, partition=number % 2) for number in range(20)])
    first, later = TopicPartition(topic, 0), TopicPartition(topic, 1)
    owner, read = Owner(), list[tuple[int, int]]()
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": cluster.unique("group"),
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
        },
        owner,
    )

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
