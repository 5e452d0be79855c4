"""Reads a range of one partition's records, once and without a group: nothing is committed, no topic is made.

confluent_kafka's types and exceptions stay in here. Every call blocks.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from worker.cluster import Cluster
from worker.core.records import Record, TopicPartition
from worker.errors import KafkaUnavailableError, SettingsError
from worker.kafka import record_of

CHUNK_RECORDS = 1_000
POLL_SECONDS = 0.2
WATERMARK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition as it was found: `[log_start, end)`, and where in it a range begins."""

    log_start: int
    end: int
    first_offset: int


def find_partition(cluster: Cluster, topic: str, partition: int | None) -> TopicPartition:
    """The partition that is meant; without a number, the only one. Raises SettingsError, or KafkaUnavailableError."""
    counts = cluster.partitions()
    if topic not in counts:
        raise SettingsError([f"--topic: there is no topic {topic} in this cluster (or no right to see it)"])
    count = counts[topic]
    if partition is None and count > 1:
        raise SettingsError([f"--partition: {topic} has {count} partitions, name one (0 to {count - 1})"])
    if partition is not None and partition >= count:
        raise SettingsError([f"--partition: {topic} has {count} partitions, 0 to {count - 1}: there is no {partition}"])
    return TopicPartition(topic, partition or 0)


def find_bounds(cluster: Cluster, tp: TopicPartition, from_offset: int | None, count: int) -> Bounds:
    """Where the range begins: at `from_offset`, or so that `count` offsets are left before the end.

    Raises SettingsError for an offset that is not there, or KafkaUnavailableError.
    """
    log_start, end = cluster.bounds(tp)
    if from_offset is None:
        return Bounds(log_start, end, max(log_start, end - count))
    if from_offset < log_start:
        raise SettingsError([f"--from-offset: {tp} begins at offset {log_start}, {from_offset} is deleted already"])
    if from_offset > end:
        raise SettingsError([f"--from-offset: {from_offset} is beyond the end of {tp}, whose next offset is {end}"])
    return Bounds(log_start, end, from_offset)


def read_range(
    properties: Mapping[str, Any], tp: TopicPartition, bounds: Bounds, count: int, *, patience_seconds: float = 30.0
) -> list[Record]:
    """At most `count` records from `bounds.first_offset` on, as far as the end as it was found.

    `properties` are the consumer's: the client demands a group's name, but the group is never joined. Raises
    KafkaUnavailableError where nothing comes for so long, or SettingsError where retention has deleted the range
    meanwhile.
    """
    with closing(records_of(properties, tp, bounds, patience_seconds=patience_seconds)) as records:
        return list(islice(records, count))


def records_of(
    properties: Mapping[str, Any], tp: TopicPartition, bounds: Bounds, *, patience_seconds: float = 30.0
) -> Generator[Record]:
    """As `read_range`, one by one, so that a topic of any size can be gone through. Close it where it is left early."""
    if bounds.first_offset >= bounds.end:
        return
    try:
        consumer = KafkaConsumer({**properties, "enable.partition.eof": True})
    except KafkaException as error:
        raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error
    with closing(consumer):
        yield from _read(consumer, tp, bounds, patience_seconds)


def _read(consumer: KafkaConsumer, tp: TopicPartition, bounds: Bounds, patience_seconds: float) -> Iterator[Record]:
    read, next_offset = 0, bounds.first_offset
    consumer.assign([KafkaPartition(*tp, next_offset)])
    deadline = time.monotonic() + patience_seconds
    while True:
        chunk = consumer.consume(CHUNK_RECORDS, POLL_SECONDS)
        for message in chunk:
            if _is_out_of_range(message):
                # said, under load, of a range that is there as well (seen once with 2.16)
                _refuse_deleted(consumer, tp, next_offset)
                consumer.assign([KafkaPartition(*tp, next_offset)])
                chunk = []
                break
            if _at_end(message, tp, bounds):
                return
            if message.error() is None:
                record = record_of(message)
                read, next_offset = read + 1, record.next_offset
                yield record
        if chunk:
            deadline = time.monotonic() + patience_seconds
        elif time.monotonic() > deadline:
            raise KafkaUnavailableError(
                f"nothing came of {tp} for {patience_seconds:g} s, after {read} records from offset "
                f"{bounds.first_offset} on"
            )


def _is_out_of_range(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET


def _refuse_deleted(consumer: KafkaConsumer, tp: TopicPartition, offset: int) -> None:
    """Raises SettingsError where the offset is none of the partition's."""
    try:
        first, end = consumer.get_watermark_offsets(KafkaPartition(*tp), timeout=WATERMARK_SECONDS)
    except KafkaException as error:
        raise KafkaUnavailableError(f"{tp} cannot be read: {error.args[0].str()}") from error
    if not first <= offset <= end:
        raise SettingsError([f"--from-offset: {tp}, offset {offset} was deleted while it was to be read"])


def _at_end(message: Message, tp: TopicPartition, bounds: Bounds) -> bool:
    """Whether the range is over here; raises what else the message says of the partition."""
    error = message.error()
    if error is None:
        return (message.offset() or 0) >= bounds.end
    if error.code() == KafkaError._PARTITION_EOF:
        # behind the last record there may be transaction markers, which are never handed out
        return True
    if message.topic() and not error.retriable():
        raise KafkaUnavailableError(f"{tp} cannot be read: {error.str()}")
    # of the group, say, whose coordinator nobody needs here
    return False
