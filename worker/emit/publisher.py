"""Records into a topic that exists, and where they came to lie. What is in them is not known here.

confluent_kafka's types and exceptions stay in here; whatever goes wrong is a NotPublishedError. For the one thread of a
command, which ends afterwards.
"""

import difflib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from worker.errors import NotPublishedError, SettingsError

TIMEOUT_SECONDS = 10.0

# Ctrl-C is heard between two of them.
_FLUSH_SECONDS = 0.2
# A report of the client's own time-out comes a moment later than that.
_GRACE_SECONDS = 2.0
_DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


Reporter = Callable[[KafkaError | None, Message], None]


class Written(NamedTuple):
    partition: int
    offset: int


class Publisher:
    """One producer. `properties` are what all clients of the worker have in common."""

    def __init__(self, properties: Mapping[str, Any], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._brokers = str(properties["bootstrap.servers"])
        self._timeout_seconds = timeout_seconds
        self._trouble: KafkaError | None = None
        self._refusal: KafkaError | None = None
        self._written: dict[int, Written] = {}
        try:
            self._producer = Producer(
                {
                    **properties,
                    "acks": "all",
                    "enable.idempotence": True,
                    "message.timeout.ms": int(timeout_seconds * 1000),
                    # the one Kafka's own clients use, so that a visitor is in the partition where Signal puts them
                    "partitioner": "murmur2_random",
                    "error_cb": self._on_error,
                }
            )
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error

    def publish(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[Written]:
        """Keys and values in this order; returns where each is, once every replica has it. Makes no topic."""
        self._require(topic)
        self._written.clear()
        number = 0
        for number, (key, value) in enumerate(records, start=1):
            try:
                self._producer.produce(topic, key=key, value=value, on_delivery=self._reporter(number))
            except KafkaException as error:
                raise NotPublishedError(f"Event {number} was not sent: {_words(error.args[0])}") from error
        deadline = time.monotonic() + self._timeout_seconds + _GRACE_SECONDS
        while len(self._producer) and self._refusal is None and time.monotonic() < deadline:
            self._producer.flush(_FLUSH_SECONDS)
        if len(self._written) < number:
            raise NotPublishedError(self._why_not(topic, number))
        return [self._written[each] for each in range(1, number + 1)]

    def _require(self, topic: str) -> None:
        """Before anything is produced: the client would look for a topic that is missing until its time is up."""
        try:
            topics = self._producer.list_topics(timeout=self._timeout_seconds).topics
        except KafkaException as error:
            # the callback with the reason runs in here
            self._producer.poll(0)
            detail = _words(self._trouble or error.args[0])
            raise NotPublishedError(
                f"No answer from Kafka at {self._brokers}: {detail} Check KAFKA_BROKERS, KAFKA_TLS_* and KAFKA_SASL_*."
            ) from error
        if topic not in topics:
            near = difflib.get_close_matches(topic, topics, n=1)
            hint = f"did you mean {near[0]}?" if near else "KAFKA_TOPICS or --topic names another one."
            raise NotPublishedError(
                f"There is no topic {topic} at {self._brokers}, or this user may not see it (DESCRIBE): {hint} "
                "It is not made here: its partitions and retention are yours to choose."
            )

    def _why_not(self, topic: str, number: int) -> str:
        taken = f"{len(self._written)} of {number} events for topic {topic}"
        if self._refusal is None or self._refusal.code() == KafkaError._MSG_TIMED_OUT:
            detail = f" It said meanwhile: {_words(self._trouble)}" if self._trouble else ""
            return f"Kafka confirmed {taken} in {self._timeout_seconds:g} seconds; the rest may be there.{detail}"
        return f"Kafka took {taken}: {_words(self._refusal)}"

    def _reporter(self, number: int) -> Reporter:
        def reported(error: KafkaError | None, message: Message) -> None:
            partition, offset = message.partition(), message.offset()
            if error is not None:
                self._refusal = self._refusal or error
            elif partition is not None and offset is not None:
                self._written[number] = Written(partition, offset)

        return reported

    def _on_error(self, error: KafkaError) -> None:
        # "all brokers down" follows whatever brought them down, and says less
        if self._trouble is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error


def _words(error: KafkaError) -> str:
    text = error.str().rstrip(".") + "."
    if error.code() in _DENIED:
        return f"{text} This user needs WRITE and DESCRIBE on the topic."
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return f"{text} It is larger than the topic takes (max.message.bytes) or the client (message.max.bytes)."
    return text
