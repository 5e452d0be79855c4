"""A file's events as records: JSON lines, or an Avro object container file. Told apart by content, never by name.

Nothing is judged in here: a line that is no event becomes a record all the same, and a dead letter where decisions are
made. Offsets are the numbers of lines or records, from 0. There is no Kafka timestamp: it is -1, as where a broker has
none.
"""

import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import fastavro
from fastavro._read_py import skip_data
from fastavro.io.binary_decoder import BinaryDecoder
from fastavro.schema import SchemaParseException

from worker.core.decoding import Plan, SchemaError, SchemaRef, json_plan, plan
from worker.core.records import Record
from worker.core.schema_facts import Survey
from worker.errors import SettingsError
from worker.schema_directory import crc_64_avro

CONTAINER_MAGIC = b"Obj\x01"
# Stands in for a fingerprint, so that a line can be framed as a record is.
JSON_LINES = SchemaRef.of_fingerprint(b"\x00" * 8)
NO_TIMESTAMP = -1

_SINGLE_OBJECT_MAGIC = b"\xc3\x01"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# what fastavro raises on a damaged container, its decompression included
_DAMAGED = (ValueError, TypeError, LookupError, EOFError, OSError, OverflowError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file's records in single-object encoding, the schema they name, and the plan that reads it."""

    schema: SchemaRef
    plan: Plan
    records: list[Record]


def read_events(name: str, content: bytes, first: int = 0, count: int | None = None) -> EventFile:
    """At most `count` records from number `first` on. Raises SettingsError, with the file's `name`, if a container is
    damaged or its schema is none.
    """
    if content.startswith(CONTAINER_MAGIC):
        schema, found, values = _container(name, content)
    else:
        schema, found, values = JSON_LINES, json_plan(), _lines(content)
    head = _SINGLE_OBJECT_MAGIC + schema.raw
    records = (Record(number, NO_TIMESTAMP, None, head + value) for number, value in values if number >= first)
    return EventFile(schema, found, list(islice(records, count)))


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """With their numbers; an empty one has a number and is no record."""
    lines = content.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    return ((number, line) for number, line in enumerate(lines) if line.strip())


def _container(name: str, content: bytes) -> tuple[SchemaRef, Plan, Iterator[tuple[int, bytes]]]:
    try:
        blocks = fastavro.block_reader(BytesIO(content))
        schema = json.loads(blocks.metadata["avro.schema"])
    except (*_DAMAGED, SchemaParseException, RecursionError) as error:
        raise SettingsError([f"{name} begins like an Avro file, but its header cannot be read: {error}"]) from error
    try:
        found = plan(schema)
        names: dict[str, Any] = {}
        parsed: Any = fastavro.parse_schema(schema, names)
        ref = SchemaRef.of_fingerprint(crc_64_avro(schema))
    except SchemaError as error:
        raise SettingsError([f"{name}: the schema in its header is none: {error}"]) from error
    if Survey(parsed, names).bomb:
        raise SettingsError([f"{name}: its schema has an array whose items take no bytes: no length can be believed"])
    return ref, found, _container_records(name, blocks, parsed, names)


def _container_records(
    name: str, blocks: Any, parsed: Any, names: dict[str, Any]
) -> Iterator[tuple[int, bytes]]:  # Any: fastavro's stub hides a block's bytes
    number = 0
    try:
        for block in blocks:
            yield from enumerate(_split(block.bytes_.getvalue(), block.num_records, parsed, names), number)
            number += block.num_records
    except _DAMAGED as error:
        raise SettingsError(
            [f"{name} is damaged behind record {number}, or uses a codec that is not installed: {error}"]
        ) from error


def _split(block: bytes, records: int, parsed: Any, names: dict[str, Any]) -> Iterator[bytes]:
    """The bytes of each record of a block, as they are. Where one does not fit the schema, the rest of the block is one
    record: nobody can say where it ends.
    """
    stream = BytesIO(block)
    decoder = BinaryDecoder(stream)  # type: ignore[no-untyped-call]  # untyped there
    for _ in range(records):
        start = stream.tell()
        try:
            skip_data(decoder, parsed, {"writer": names, "reader": {}})  # type: ignore[no-untyped-call]  # untyped there
        except (*_DAMAGED, RecursionError):
            yield block[start:]
            return
        yield block[start : stream.tell()]
