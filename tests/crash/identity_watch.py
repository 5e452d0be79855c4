"""The identity log beside the group's offsets, watched while a test runs: an entry is there once its offset is, and
once.

Nothing is started or produced in here.
"""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.integration.audit import Place
from tests.integration.cluster import Cluster
from tests.integration.harness import wait_until
from worker.identity_entries import SOURCE_OFFSET

_POLL_SECONDS = 0.05


class IdentityWatch:
    """Asks for the group's offsets whenever entries appear, for as long as its block lasts."""

    def __init__(self, cluster: Cluster, group: str, topic: str) -> None:
        self._cluster = cluster
        self._group = group
        self._topic = topic
        self._log = f"{group}.{topic}.identity"
        self._seen: list[tuple[Place, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="identity-watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        # asks as one who sees committed ones only: the answer waits until the offsets of a transaction have their end,
        # which Kafka writes partition by partition, the log's perhaps first
        reader = Consumer(
            {
                "bootstrap.servers": self._cluster.bootstrap_servers,
                "group.id": self._group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        try:
            while not self._stop.is_set() and self._log not in self._cluster.topics():
                self._stop.wait(_POLL_SECONDS)
            partitions = self._cluster.committed(self._group, self._topic) or self._cluster.end_offsets(self._topic)
            reader.assign([TopicPartition(self._log, partition, 0) for partition in partitions])
            while not self._stop.is_set():
                self._note(reader)
        finally:
            reader.close()

    def _note(self, reader: Consumer) -> None:
        messages = [message for message in reader.consume(1_000, _POLL_SECONDS) if message.error() is None]
        if not messages:
            return
        places = [_place_of(message.partition() or 0, message.headers() or []) for message in messages]
        committed = wait_until(
            lambda: self._committed(reader, {place.partition for place in places}), 30, "the offsets"
        )
        self._seen += [(place, committed[place.partition]) for place in places]

    def _committed(self, reader: Consumer, partitions: Iterable[int]) -> dict[int, int]:
        """Empty while nobody can tell."""
        try:
            asked = reader.committed([TopicPartition(self._topic, partition) for partition in partitions], timeout=5)
        except KafkaException:
            return {}
        return {} if any(each.error for each in asked) else {each.partition: each.offset for each in asked}

    def entries(self, partition: int | None = None) -> list[Place]:
        """The source offsets of all entries there are now, or of one partition's, in the order of the log."""
        if self._log not in self._cluster.topics():
            return []
        stored = self._cluster.read_topic(self._log)
        return [
            _place_of(each.partition, each.record.headers) for each in stored if partition in (None, each.partition)
        ]

    def verify(self, learned: Iterable[Place]) -> None:
        """Raises AssertionError unless each of these has left one entry, in order, and none was seen before its offset
        was committed.
        """
        early = [(place, committed) for place, committed in self._seen if place.offset >= committed]
        assert not early, f"an entry was there before its offset, {early[0][0]} with {early[0][1]} committed"
        wait_until(lambda: self._cluster.is_stable(self._log), 60, f"no transaction is open in {self._log}")
        assert self.entries() == sorted(learned)
        assert self._seen, "nothing was watched"


def _place_of(partition: int, headers: object) -> Place:
    assert isinstance(headers, list | tuple)
    [offset] = [value for name, value in headers if name == SOURCE_OFFSET]
    return Place(partition, int(offset))
