"""Values: for each type of Avro a function that reads one from the bytes.

The value is the one fastavro reads, logical types included, whose conversions are fastavro's own. What a value means
for an event is not decided here.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from fastavro.read import LOGICAL_READERS

from worker.core.avro.building import Build, Builder, Makers, Step, by_branch, text_branch
from worker.core.avro.wire import block, length, long
from worker.core.events import DecodeError
from worker.core.schema_facts import Names

Value = tuple[Any, int]
Read = Step[Value]

_float = Struct("<f").unpack_from
_double = Struct("<d").unpack_from


def reader(names: Names, recursive: set[str]) -> Builder[Value]:
    """Makes functions that return the value at an index, and the index behind it."""
    return Builder(_MAKERS, names, recursive)


def _null(_data: bytes, at: int) -> Value:
    return None, at


def _boolean(data: bytes, at: int) -> Value:
    return data[at] != 0, at + 1


def _read_float(data: bytes, at: int) -> Value:
    return _float(data, at)[0], at + 4


def _read_double(data: bytes, at: int) -> Value:
    return _double(data, at)[0], at + 8


def _bytes(data: bytes, at: int) -> Value:
    size, at = length(data, at)
    end = at + size
    return data[at:end], end


def _string(data: bytes, at: int) -> Value:
    size = data[at]
    if size & 129:
        size, at = length(data, at)
    else:
        size >>= 1
        at += 1
    end = at + size
    return data[at:end].decode(), end


def _fixed(schema: Any, _build: Build[Value]) -> Read:
    size = schema["size"]

    def read(data: bytes, at: int) -> Value:
        end = at + size
        if end > len(data):
            raise EOFError
        return data[at:end], end

    return _logical(schema, read)


def _enum(schema: Any, _build: Build[Value]) -> Read:
    symbols = schema["symbols"]

    def read(data: bytes, at: int) -> Value:
        number, at = long(data, at)
        if not 0 <= number < len(symbols):
            raise DecodeError("the bytes do not fit the writer schema (an enum has no such symbol)")
        return symbols[number], at

    return read


def _record(schema: Any, build: Build[Value]) -> Read:
    fields = tuple((field["name"], build(field["type"])) for field in schema["fields"])

    def read(data: bytes, at: int) -> Value:
        record = {}
        for name, read_field in fields:
            record[name], at = read_field(data, at)
        return record, at

    return read


def _union(schema: Any, build: Build[Value]) -> Read:
    branches = by_branch(schema, build)

    def read(data: bytes, at: int) -> Value:
        branch = data[at]
        if branch & 128:
            number, at = long(data, at)
            return branches[2 * number](data, at)
        return branches[branch](data, at + 1)

    return read


def _array(schema: Any, build: Build[Value]) -> Read:
    if isinstance(schema["items"], list):
        return _array_of_union(schema["items"], build)
    read_item = build(schema["items"])

    def read(data: bytes, at: int) -> Value:
        values: list[Any] = []
        count, at, _ = block(data, at)
        while count:
            for _ in range(count):
                value, at = read_item(data, at)
                values.append(value)
            count, at, _ = block(data, at)
        return values, at

    return read


def _array_of_union(items: list[Any], build: Build[Value]) -> Read:
    """With the branch looked up in place: one call less for each item."""
    branches = by_branch(items, build)
    read_any = build(items)

    def read(data: bytes, at: int) -> Value:
        values: list[Any] = []
        count, at, _ = block(data, at)
        while count:
            for _ in range(count):
                branch = data[at]
                value, at = read_any(data, at) if branch & 128 else branches[branch](data, at + 1)
                values.append(value)
            count, at, _ = block(data, at)
        return values, at

    return read


def _map(schema: Any, build: Build[Value]) -> Read:
    values = schema["values"]
    if isinstance(values, list):
        return _map_of_union(values, build)
    read_value = build(values)

    def read(data: bytes, at: int) -> Value:
        entries: dict[str, Any] = {}
        count, at, _ = block(data, at)
        while count:
            for _ in range(count):
                key, at = _string(data, at)
                entries[key], at = read_value(data, at)
            count, at, _ = block(data, at)
        return entries, at

    return read


def _map_of_union(values: list[Any], build: Build[Value]) -> Read:
    """With keys, text values and one-byte counts read in place: most of a free object is made of these."""
    branches = by_branch(values, build)
    read_any = build(values)
    text = text_branch(values)

    def read(data: bytes, at: int) -> Value:
        entries: dict[str, Any] = {}
        count = data[at]
        while count:
            if count & 129:
                count, at, _ = block(data, at)
                if not count:
                    return entries, at
            else:
                count >>= 1
                at += 1
            for _ in range(count):
                size = data[at]
                if size & 129:
                    size, at = length(data, at)
                else:
                    size >>= 1
                    at += 1
                end = at + size
                key = data[at:end].decode()
                branch = data[end]
                if branch == text:
                    entries[key], at = _string(data, end + 1)
                elif branch & 128:
                    entries[key], at = read_any(data, end)
                else:
                    entries[key], at = branches[branch](data, end + 1)
            count = data[at]
        return entries, at + 1

    return read


def _logical(schema: Any, read: Read) -> Read:
    convert = None
    if isinstance(schema, dict) and "logicalType" in schema:
        convert = LOGICAL_READERS.get(f"{schema['type']}-{schema['logicalType']}")
    if convert is None:
        return read

    def read_logical(data: bytes, at: int) -> Value:
        value, at = read(data, at)
        return convert(value, schema, None), at

    return read_logical


def _primitive(read: Read) -> Callable[[Any, Build[Value]], Read]:
    return lambda schema, _build: _logical(schema, read)


_PRIMITIVES: Mapping[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": long,
    "long": long,
    "float": _read_float,
    "double": _read_double,
    "bytes": _bytes,
    "string": _string,
}
_MAKERS: Makers[Value] = {
    **{kind: _primitive(read) for kind, read in _PRIMITIVES.items()},
    "fixed": _fixed,
    "enum": _enum,
    "record": _record,
    "union": _union,
    "array": _array,
    "map": _map,
}
