"""The input of a benchmark: the demo site's visitors, every kind of event, in Confluent's framing. Measures nothing.

The same for the same number of events, so that results of two days can be compared.
"""

from collections.abc import Iterator
from itertools import islice

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from worker.core.outcomes import Outcome
from worker.demo.site import Produced, endless, produced
from worker.encoding import single_object_encoder

_FIRST_AT_MS = 1_780_744_274_000
_EVENTS_A_SECOND = 100
_SINGLE_OBJECT_PREFIX_BYTES = 10


def events(count: int, schema_text: str, schema_id: int) -> Iterator[Produced]:
    """Events only: what is no Avro would end a script that does not expect it."""
    prefix = b"\x00" + schema_id.to_bytes(4, "big")
    encode = single_object_encoder(schema_text)
    steps = (step for step in endless(1) if step.event is not None)
    for number, step in enumerate(islice(steps, count)):
        yield produced(
            step,
            _FIRST_AT_MS + number * 1_000 // _EVENTS_A_SECOND,
            lambda event: prefix + encode(event)[_SINGLE_OBJECT_PREFIX_BYTES:],
        )


def fill(brokers: str, topic: str, partitions: int, records: Iterator[Produced]) -> tuple[int, int]:
    """Makes the topic and writes all records to it; returns how many are to be delivered, and the bytes of all."""
    # named, because the answer does not come to a client that is gone
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "log_level": 2,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    deliverable = size = 0
    for record in records:
        deliverable += record.outcome is Outcome.DELIVERED
        size += len(record.value or b"")
        producer.produce(topic, key=record.key, value=record.value)
        producer.poll(0)
    if producer.flush(60):
        raise TimeoutError(f"not all records reached {topic} within a minute")
    return deliverable, size
