"""The expert's script: the same job as fast as plain Python libraries allow, by somebody who has measured.

Chunks of a thousand records, fastavro with the writer schema alone, msgspec for JSON, one encode an event, one join a
body, one thread. No error handling, retries or dead letters: what it leaves out only makes it faster.
Run as `python -m benchmarks.expert BROKERS TOPIC GROUP URL REGISTRY`; ends when all has been delivered.
"""

import json
import sys
import uuid
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import requests
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.straightforward import ENVELOPE_BYTES, EVENTS, MAX_BODY_BYTES, TRAITS, shaped

_encode = msgspec.json.Encoder().encode
_read = fastavro.schemaless_reader


def schema_of(registry: str, message_value: bytes) -> Any:
    schema_id = int.from_bytes(message_value[1:5], "big")
    answer = requests.get(f"{registry}/schemas/ids/{schema_id}", timeout=10).json()
    return fastavro.parse_schema(json.loads(answer["schema"]))


def payload(
    event: dict[str, Any], identities: dict[str, dict[str, Any]], names: dict[str, str | None]
) -> dict[str, Any] | None:
    context = event["context"]
    consent = context["consent"] or {}
    granted = consent.get("canonical") or consent.get("categories") or consent
    if granted.get("analytics") is not True or granted.get("marketing") is not True:
        return None
    kind, visitor = event["type"], event["anonymousId"]
    item: dict[str, Any] = {"type": kind}
    if kind == "track":
        name = event["event"]
        if name not in names:
            names[name] = EVENTS.get(name.replace(" ", "").replace("_", "").replace("-", "").lower())
        if (target := names[name]) is None:
            return None
        item["event"] = target
    elif kind == "page":
        if event["name"]:
            item["name"] = event["name"]
    else:
        if kind == "identify":
            known = {name: value for name, value in event["traits"].items() if name in TRAITS}
            identities[visitor] = {**identities.get(visitor, {}), **known}
        return None
    item["anonymousId"] = visitor
    if event["userId"]:
        item["userId"] = event["userId"]
    item["messageId"] = event["messageId"]
    item["timestamp"] = event["timestamp"].isoformat(timespec="milliseconds")[:-6] + "Z"
    item["properties"] = event["properties"]
    traits = identities.get(visitor)
    if traits:
        item["traits"] = traits
    item["context"] = shaped(context)
    return item


def post(session: requests.Session, url: str, items: list[bytes]) -> None:
    sent_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = b'{"messageId":"%b","sentAt":"%b","batch":[%b]}' % (
        str(uuid.uuid4()).encode(),
        sent_at.encode(),
        b",".join(items),
    )
    session.post(url, data=body, headers={"Content-Type": "application/json"})


def main() -> None:
    brokers, topic, group, url, registry = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    session = requests.Session()
    session.auth = ("benchmark-key", "")
    identities: dict[str, dict[str, Any]] = {}
    names: dict[str, str | None] = {}
    bodies: dict[int, list[bytes]] = {}
    sizes: dict[int, int] = {}
    schema = None
    ended = 0
    consumer.subscribe([topic])
    partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    while ended < partitions:
        for message in consumer.consume(1_000, 0.1):
            if (error := message.error()) is not None:
                ended += error.code() == KafkaError._PARTITION_EOF
                continue
            value, partition = message.value() or b"", message.partition() or 0
            schema = schema or schema_of(registry, value)
            stream = BytesIO(value)
            stream.seek(5)
            made = payload(_read(stream, schema, None), identities, names)  # type: ignore[arg-type]  # a record
            if made is None:
                continue
            item = _encode(made)
            size = sizes.get(partition, ENVELOPE_BYTES) + len(item) + 1
            if size >= MAX_BODY_BYTES:
                post(session, f"{url}/v1/batch", bodies.pop(partition))
                offset = TopicPartition(topic, partition, message.offset() or 0)
                consumer.commit(offsets=[offset], asynchronous=False)
                size = ENVELOPE_BYTES + len(item) + 1
            sizes[partition] = size
            bodies.setdefault(partition, []).append(item)
    for items in bodies.values():
        post(session, f"{url}/v1/batch", items)
    consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
