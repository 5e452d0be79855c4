"""Writes an operator's tombstones into the identity log, each into its own partition. What they mean is not known here.

confluent_kafka's types and exceptions stay in here. For the one thread of a command, which ends afterwards.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from worker.core.records import Headers, TopicPartition
from worker.errors import SettingsError

TIMEOUT_SECONDS = 10.0
# A report of the client's own time-out comes a moment later than that.
_GRACE_SECONDS = 2.0
_DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


class Tombstone(NamedTuple):
    tp: TopicPartition
    key: bytes
    headers: Headers


class Written(NamedTuple):
    """`offset` None: Kafka did not take it, and `refusal` says why."""

    tp: TopicPartition
    offset: int | None
    refusal: str = ""


def write(
    properties: Mapping[str, Any], tombstones: Sequence[Tombstone], timeout_seconds: float = TIMEOUT_SECONDS
) -> list[Written]:
    """What became of each, in their order: one that is refused does not keep back the others. The topics must exist."""
    try:
        producer = Producer(
            {
                **properties,
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": int(timeout_seconds * 1000),
            }
        )
    except KafkaException as error:
        raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error
    written = [Written(each.tp, None, "no answer in time, it may be there") for each in tombstones]
    for number, (tp, key, headers) in enumerate(tombstones):
        producer.produce(
            tp.topic,
            None,
            key,
            partition=tp.partition,
            headers=list(headers),
            on_delivery=partial(_reported, written, number),
        )
    producer.flush(timeout_seconds + _GRACE_SECONDS)
    return written


def _reported(written: list[Written], number: int, error: KafkaError | None, message: Message) -> None:
    tp = written[number].tp
    written[number] = Written(tp, message.offset()) if error is None else Written(tp, None, _words(error))


def _words(error: KafkaError) -> str:
    text = error.str().rstrip(".")
    return f"{text}; this user needs WRITE and DESCRIBE on the topic" if error.code() in _DENIED else text
