"""From a record's bytes to the schema that wrote them: the three framings, and what can become of asking for a schema.

No Avro in here (`plans.py` reads the body) and no look-ups (`schemas.py` asks the registry and the directory, off the
loop's thread). `framing` is called for every record and holds nothing between two calls.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import msgspec

from worker.core.events import DecodeError, Event
from worker.core.plans import Plan, SchemaError, json_plan, plan, refusal
from worker.core.records import Record

__all__ = [
    "GUID_HEADER",
    "DecodeError",
    "Event",
    "Plan",
    "SchemaAnswer",
    "SchemaError",
    "SchemaKnown",
    "SchemaRef",
    "SchemaUnavailable",
    "SchemaUnknown",
    "framing",
    "json_plan",
    "plan",
    "refusal",
]

GUID_HEADER = "__value_schema_id"
_GUID_MAGIC = 0x01
_CONFLUENT_MAGIC = 0x00
_SINGLE_OBJECT_MAGIC = b"\xc3\x01"


class SchemaRef(msgspec.Struct, frozen=True, gc=False):
    """What a record says of its writer schema: the name to ask for it by. `raw` is as on the wire.

    It keeps the bytes and not the number they mean, and is no named tuple, because one is made per record and only a
    new one is ever looked at closely.
    """

    kind: Literal["id", "guid", "fingerprint"]
    raw: bytes

    @classmethod
    def of_id(cls, schema_id: int) -> "SchemaRef":
        return cls("id", schema_id.to_bytes(4, "big"))

    @classmethod
    def of_guid(cls, guid: UUID) -> "SchemaRef":
        return cls("guid", guid.bytes)

    @classmethod
    def of_fingerprint(cls, fingerprint: bytes) -> "SchemaRef":
        """From the 8 bytes of a CRC-64-AVRO fingerprint in the order of the wire, little-endian."""
        return cls("fingerprint", fingerprint)

    @property
    def schema_id(self) -> int:
        """The registry's number, where `kind` is `id`."""
        return int.from_bytes(self.raw, "big")

    @property
    def guid(self) -> UUID:
        """The registry's GUID, where `kind` is `guid`."""
        return UUID(bytes=self.raw)

    def __str__(self) -> str:
        """As in the header `dl-schema`. A fingerprint is printed in the order of the wire, as fastavro and a hex dump
        do.
        """
        match self.kind:
            case "id":
                return f"id:{self.schema_id}"
            case "guid":
                return f"guid:{self.guid}"
            case "fingerprint":
                return f"fingerprint:{self.raw.hex()}"


@dataclass(frozen=True, slots=True)
class SchemaKnown:
    """The schema is found. Its plan may be one that refuses every record (a Protobuf schema, say): they are
    undecodable.
    """

    ref: SchemaRef
    plan: Plan


@dataclass(frozen=True, slots=True)
class SchemaUnknown:
    """There is definitely no such schema: the records that ask for it are dead letters (`unknown-schema`)."""

    ref: SchemaRef
    detail: str


@dataclass(frozen=True, slots=True)
class SchemaUnavailable:
    """Nobody can tell for now; it is being asked for again. `detail` says what happened and what to set."""

    ref: SchemaRef
    detail: str


SchemaAnswer = SchemaKnown | SchemaUnknown | SchemaUnavailable


def framing(record: Record) -> tuple[SchemaRef, int]:
    """The record's schema, and where in its value the Avro body begins.

    A GUID header is looked for first: the body behind it is bare and may begin with any byte. Raises DecodeError if the
    value is empty or framed in none of the three ways.
    """
    value = record.value
    if not value:
        raise DecodeError("the value is empty")
    if record.headers and (ref := _guid_ref(record)) is not None:
        return ref, 0
    if value[0] == _CONFLUENT_MAGIC and len(value) >= 5:
        return SchemaRef("id", value[1:5]), 5
    if value[:2] == _SINGLE_OBJECT_MAGIC and len(value) >= 10:
        return SchemaRef("fingerprint", value[2:10]), 10
    raise DecodeError(
        "the value begins with neither 0x00 and a schema id nor 0xC3 0x01 and a fingerprint, and there is no header "
        f"{GUID_HEADER}: it is not Avro as Kafka producers frame it"
    )


def _guid_ref(record: Record) -> SchemaRef | None:
    raw = None
    for name, content in record.headers:
        if name == GUID_HEADER:
            raw = content
    if raw is None:
        return None
    if len(raw) != 17 or raw[0] != _GUID_MAGIC:
        raise DecodeError(f"the header {GUID_HEADER} is not 0x01 and a GUID of 16 bytes")
    return SchemaRef("guid", raw[1:])
