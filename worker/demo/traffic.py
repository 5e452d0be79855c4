"""The demo's records into Kafka, and how many dead letters came of them.

What the records are is `site.py`'s business.
"""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from worker.demo.site import Produced
from worker.errors import KafkaUnavailableError

_TIMEOUT_SECONDS = 20


class Traffic:
    """Writes to one topic, which it makes. Raises KafkaUnavailableError where Kafka refuses or is silent."""

    def __init__(self, bootstrap_servers: str, topic: str, *, partitions: int = 4) -> None:
        self.topic = topic
        self._client: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        self._refused: list[KafkaError] = []
        # Named, because the answer does not come to a client that is gone.
        admin = AdminClient(self._client)
        made = admin.create_topics([NewTopic(topic, partitions, 1)])
        try:
            made[topic].result(timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise KafkaUnavailableError(f"the topic {topic} could not be made: {error}") from error
        # The partitioner of Kafka's own clients, so that a visitor is in the partition where Signal would put him.
        self._producer = Producer({**self._client, "enable.idempotence": True, "partitioner": "murmur2_random"})

    def send(self, records: Iterable[Produced]) -> None:
        """Returns when Kafka has them all; on the main thread only. A Ctrl-C meanwhile is raised at the end."""
        with _uninterrupted():
            for record in records:
                self._producer.produce(self.topic, key=record.key, value=record.value, on_delivery=self._delivered)
                self._producer.poll(0)
            left = self._producer.flush(_TIMEOUT_SECONDS)
        if self._refused or left:
            raise KafkaUnavailableError(f"{self.topic} did not take every record: {self._refused[:1] or 'no answer'}")

    def count(self, topic: str) -> int:
        """How many committed records a topic holds; its offsets also count the markers of transactions."""
        reader = Consumer(
            {
                **self._client,
                "group.id": "demo-count",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        try:
            metadata = reader.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
            return _count(reader, [TopicPartition(topic, partition, 0) for partition in metadata.partitions])
        except KafkaException as error:
            raise KafkaUnavailableError(f"{topic} could not be read: {error}") from error
        finally:
            reader.close()

    def _delivered(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._refused.append(error)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back: raised within a callback of the client's it would come out as a SystemError without a word."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _count(reader: Consumer, partitions: list[TopicPartition]) -> int:
    reader.assign(partitions)
    found, ended = 0, 0
    while ended < len(partitions):
        messages = reader.consume(500, timeout=0.2)
        for message in messages:
            error = message.error()
            if error is None:
                found += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise KafkaException(error)
    return found
