"""Avro bytes for tests: an event as Signal's JSON has it, with a writer schema of any accepted shape, in any framing.

`Shape` says how a producer spelled it; `shaped` turns the event into what that producer would have written.
"""

import datetime as dt
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import fastavro

from worker.core.decoding import GUID_HEADER, Event, SchemaRef, plan
from worker.core.records import Record
from worker.schema_directory import crc_64_avro

SHIPPED_SCHEMA_FILE = Path(__file__).parent.parent / "schemas" / "signal_event.avsc"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

STRINGS = {"type": "map", "values": "string"}

# map values of any depth need a name in Avro; a test event is nested four deep
SCALAR: list[Any] = ["null", "boolean", "long", "double", "string"]
FREE: list[Any] = SCALAR
for _ in range(4):
    FREE = [*SCALAR, {"type": "array", "items": FREE}, {"type": "map", "values": FREE}]


def schema_of(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "E", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}


def read(schema: Any, datum: Any) -> Event:
    """What the worker reads of a datum written with this schema."""
    return plan(schema).read(encode(schema, datum), 0)


def read_one(kind: Any, value: Any, field: str) -> Event:
    return read(schema_of(**{field: kind}), {field: value})


def shipped_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SHIPPED_SCHEMA_FILE.read_bytes())
    return schema


@dataclass(frozen=True, slots=True)
class Shape:
    """How a writer schema spells an event."""

    names: Literal["camel", "snake"] = "camel"
    objects: Literal["record", "map"] = "record"
    free: Literal["record", "map", "json"] = "map"
    consent: Literal["record", "map", "json"] = "map"
    time: Literal["millis", "micros", "iso"] = "millis"
    type: Literal["string", "enum"] = "string"


PAGE_KEYS = ("url", "path", "title", "referrer", "search")
CAMPAIGN_KEYS = ("source", "medium", "name", "term", "content")
CAMEL = ("messageId", "anonymousId", "userId", "groupId", "userAgent")


def name(shape: Shape, camel: str) -> str:
    """`user_id` for `userId`, where the shape is in snake case; only the contract's own names are spelled anew."""
    if shape.names == "camel" or camel not in CAMEL:
        return camel
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel)


def writer_schema(shape: Shape, event: dict[str, Any]) -> dict[str, Any]:
    """A schema of that shape that can hold the event: records have the fields that the event's objects have."""
    types: dict[str, Any] = {
        "millis": {"type": "long", "logicalType": "timestamp-millis"},
        "micros": {"type": "long", "logicalType": "timestamp-micros"},
        "iso": "string",
    }
    kind: Any = "string"
    if shape.type == "enum":
        kind = {"type": "enum", "name": "Type", "symbols": ["page", "track", "identify", "group"]}
    fields = [{"name": "type", "type": ["null", kind]}]
    fields += [
        {"name": name(shape, each), "type": ["null", "string"]}
        for each in ("event", "name", "messageId", "anonymousId", "userId", "groupId")
    ]
    fields.append({"name": "timestamp", "type": ["null", types[shape.time]]})
    for free in ("properties", "traits"):
        fields.append({"name": free, "type": ["null", _free_type(shape.free, free, event.get(free))]})
    fields.append({"name": "context", "type": ["null", _context_type(shape, event.get("context") or {})]})
    return {"type": "record", "name": "Event", "namespace": "test", "fields": fields}


def shaped(shape: Shape, event: dict[str, Any]) -> dict[str, Any]:
    """The event as a producer with such a schema hands it to its serializer. `timestamp` is given in milliseconds."""
    datum = {name(shape, key): value for key, value in event.items()}
    if (milliseconds := event.get("timestamp")) is not None:
        moment = EPOCH + dt.timedelta(milliseconds=milliseconds)
        written = {"millis": milliseconds, "micros": milliseconds * 1000 + 999, "iso": moment.isoformat()}
        datum["timestamp"] = written[shape.time]
    for free in ("properties", "traits"):
        if shape.free == "json" and event.get(free) is not None:
            datum[free] = json.dumps(event[free])
    if event.get("context") is not None:
        context = {name(shape, key): value for key, value in event["context"].items()}
        if shape.consent == "json" and context.get("consent") is not None:
            context["consent"] = json.dumps(context["consent"])
        datum["context"] = context
    return datum


def encode(schema: Any, datum: Any) -> bytes:
    """The bare Avro body."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, schema, datum)
    return stream.getvalue()


def confluent(schema_id: int, body: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def single_object(schema: Any, body: bytes) -> bytes:
    return b"\xc3\x01" + crc_64_avro(schema) + body


def guid_header(guid: UUID) -> tuple[str, bytes]:
    return GUID_HEADER, b"\x01" + guid.bytes


def record(value: bytes | None, *headers: tuple[str, bytes | None]) -> Record:
    return Record(offset=0, timestamp_ms=0, key=None, value=value, headers=headers)


def signal_record(event: dict[str, Any]) -> Record:
    """An event as the README tells producers to send it: the shipped schema, single-object encoding."""
    schema = shipped_schema()
    return record(single_object(schema, encode(schema, event)))


def _free_type(free: str, prefix: str, value: dict[str, Any] | None) -> Any:
    if free == "json":
        return "string"
    if free == "map":
        return {"type": "map", "values": FREE}
    return _record(prefix.capitalize(), dict.fromkeys(value or {}, FREE))


def _context_type(shape: Shape, context: dict[str, Any]) -> Any:
    if shape.objects == "map":
        return {"type": "map", "values": ["null", "string", {"type": "map", "values": FREE}]}
    flags = {"type": "map", "values": ["null", "boolean"]}
    consents: dict[str, Any] = {
        "map": {"type": "map", "values": ["null", "boolean", flags]},
        "json": "string",
        "record": _record(
            "Consent",
            {
                key: ["null", flags if key in ("canonical", "categories") else "boolean"]
                for key in context.get("consent") or {}
            },
        ),
    }
    types: dict[str, Any] = {name(shape, key): ["null", "string"] for key in ("ip", "userAgent", "locale")}
    types["page"] = ["null", _record("Page", dict.fromkeys(PAGE_KEYS, SCALAR))]
    types["campaign"] = ["null", _record("Campaign", dict.fromkeys(CAMPAIGN_KEYS, SCALAR))]
    types["consent"] = ["null", consents[shape.consent]]
    return _record("Context", types)


def _record(title: str, types: dict[str, Any]) -> dict[str, Any]:
    fields = [{"name": key, "type": kind, "default": None} for key, kind in types.items()]
    return {"type": "record", "name": title, "fields": fields}


def framing_of_shipped() -> SchemaRef:
    return SchemaRef.of_fingerprint(crc_64_avro(shipped_schema()))
