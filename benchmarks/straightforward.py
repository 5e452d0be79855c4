"""The straightforward script: what somebody writes in an afternoon with the libraries everybody names first.

The same job as the worker's on a good day: consent, identity, mapping, bodies below 500,000 bytes, offsets after
delivery. One thread, one event at a time, confluent-kafka's own `AvroDeserializer`, the standard library's json, and
requests. No retries, no dead letters, no rebalances: what it leaves out only makes it faster.
Run as `python -m benchmarks.straightforward BROKERS TOPIC GROUP URL REGISTRY`; ends when all has been delivered.
"""

import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import requests
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

MAX_BODY_BYTES = 500_000
ENVELOPE_BYTES = 120
REQUIRED = ("analytics", "marketing")
EVENTS = {
    "signedup": "sign_up",
    "loggedin": "login",
    "leadgenerated": "lead_generated",
    "formsubmitted": "form_submitted",
    "contentviewed": "content_viewed",
    "trialstarted": "trial_started",
    "subscriptionstarted": "subscription_started",
}
TRAITS = ("email", "name", "company")


def consented(context: dict[str, Any]) -> bool:
    consent = context.get("consent") or {}
    granted = consent.get("canonical") or consent.get("categories") or consent
    return all(granted.get(category) is True for category in REQUIRED)


def payload(event: dict[str, Any], identities: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """What is sent for an event; None where nothing is. Learns from `identify` on the way."""
    context = event.get("context") or {}
    visitor = event["anonymousId"]
    if not consented(context):
        return None
    if event["type"] == "identify":
        known = {name: value for name, value in (event.get("traits") or {}).items() if name in TRAITS}
        identities[visitor] = {**identities.get(visitor, {}), **known}
        return None
    item = named(event)
    if item is None:
        return None
    for field in ("anonymousId", "userId", "messageId"):
        if event.get(field):
            item[field] = event[field]
    item["timestamp"] = event["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if event.get("properties") is not None:
        item["properties"] = event["properties"]
    if visitor in identities:
        item["traits"] = identities[visitor]
    item["context"] = shaped(context)
    return item


def named(event: dict[str, Any]) -> dict[str, Any] | None:
    if event["type"] == "track":
        name = EVENTS.get(event["event"].replace(" ", "").replace("_", "").replace("-", "").lower())
        return {"type": "track", "event": name} if name else None
    if event["type"] != "page":
        return None
    return {"type": "page", "name": event["name"]} if event.get("name") else {"type": "page"}


def shaped(context: dict[str, Any]) -> dict[str, Any]:
    page, campaign = context.get("page") or {}, context.get("campaign") or {}
    result = {name: context[name] for name in ("ip", "userAgent") if context.get(name)}
    result["page"] = {name: page[name] for name in ("url", "title", "referrer") if page.get(name)}
    names = ("source", "medium", "name", "term", "content")
    result["campaign"] = {name: campaign[name] for name in names if campaign.get(name)}
    return {name: value for name, value in result.items() if value}


class Batch:
    """The open body of one partition."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.size = ENVELOPE_BYTES

    def fits(self, item: bytes) -> bool:
        return self.size + len(item) + 1 < MAX_BODY_BYTES

    def add(self, item: bytes) -> None:
        self.items.append(item)
        self.size += len(item) + 1

    def send(self, session: requests.Session, url: str) -> None:
        sent_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = json.dumps({"messageId": str(uuid.uuid4()), "sentAt": sent_at})[:-1].encode()
        body = head + b', "batch": [' + b",".join(self.items) + b"]}"
        session.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=30).raise_for_status()


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
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    session = requests.Session()
    session.auth = ("benchmark-key", "")
    identities: dict[str, dict[str, Any]] = {}
    batches: dict[int, Batch] = {}
    ended: set[int] = set()
    consumer.subscribe([topic])
    partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    while len(ended) < partitions:
        message = consumer.poll(1.0)
        if message is None:
            continue
        partition = message.partition() or 0
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                ended.add(partition)
            continue
        batch = batches.setdefault(partition, Batch())
        item = encoded(message, deserialize, identities)
        if item is None:
            continue
        if not batch.fits(item):
            batch.send(session, f"{url}/v1/batch")
            consumer.commit(offsets=[TopicPartition(topic, partition, message.offset() or 0)], asynchronous=False)
            batch = batches[partition] = Batch()
        batch.add(item)
    for batch in batches.values():
        batch.send(session, f"{url}/v1/batch")
    consumer.commit(asynchronous=False)
    consumer.close()


def encoded(message: Message, deserialize: AvroDeserializer, identities: dict[str, dict[str, Any]]) -> bytes | None:
    event = deserialize(message.value(), SerializationContext(message.topic() or "", MessageField.VALUE))
    item = payload(event, identities) if isinstance(event, dict) else None
    return None if item is None else json.dumps(item).encode()


if __name__ == "__main__":
    main()
