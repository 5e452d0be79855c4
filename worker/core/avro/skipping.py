"""The way past a value nobody wants: for each type of Avro a function that returns the index behind it.

What is skipped is held against the schema as far as it takes to find its end: lengths, counts and branches of unions
are, the text in between is not. A block that says how long it is, is jumped over.
"""

from collections.abc import Mapping
from typing import Any

from worker.core.avro.building import Build, Builder, Makers, Step, always, by_branch, text_branch
from worker.core.avro.wire import block, length, long
from worker.core.schema_facts import Names

Skip = Step[int]


def skipper(names: Names, recursive: set[str]) -> Builder[int]:
    """Makes functions that return the index behind the value at an index."""
    return Builder(_MAKERS, names, recursive)


def _long(data: bytes, at: int) -> int:
    while data[at] > 127:
        at += 1
    return at + 1


def _text(data: bytes, at: int) -> int:
    size = data[at]
    if size & 129:
        size, at = length(data, at)
        return at + size
    return at + 1 + (size >> 1)


def _bytes_of(size: int) -> Skip:
    def skip(data: bytes, at: int) -> int:
        at += size
        # not even looking at the bytes, an array of these could be as long as it claims
        if at > len(data):
            raise EOFError
        return at

    return skip


def _fixed(schema: Any, _build: Build[int]) -> Skip:
    return _bytes_of(schema["size"])


def _record(schema: Any, build: Build[int]) -> Skip:
    fields = tuple(build(field["type"]) for field in schema["fields"])

    def skip(data: bytes, at: int) -> int:
        for skip_field in fields:
            at = skip_field(data, at)
        return at

    return skip


def _union(schema: Any, build: Build[int]) -> Skip:
    branches = by_branch(schema, build)

    def skip(data: bytes, at: int) -> int:
        branch = data[at]
        if branch & 128:
            number, at = long(data, at)
            return branches[2 * number](data, at)
        return branches[branch](data, at + 1)

    return skip


def _array(schema: Any, build: Build[int]) -> Skip:
    skip_item = build(schema["items"])

    def skip(data: bytes, at: int) -> int:
        count, at, end = block(data, at)
        while count:
            if end:
                at = end
            else:
                for _ in range(count):
                    at = skip_item(data, at)
            count, at, end = block(data, at)
        return at

    return skip


def _map(schema: Any, build: Build[int]) -> Skip:
    values = schema["values"]
    skip_value = build(values)
    text = text_branch(values)

    def skip(data: bytes, at: int) -> int:
        count = data[at]
        while count:
            if count & 129:
                count, at, end = block(data, at)
                if not count:
                    return at
                if end:
                    at, count = end, 0
            else:
                count >>= 1
                at += 1
            for _ in range(count):
                size = data[at]
                at = _text(data, at) if size & 129 else at + 1 + (size >> 1)
                branch = data[at]
                if branch == text:
                    size = data[at + 1]
                    at = _text(data, at + 1) if size & 129 else at + 2 + (size >> 1)
                else:
                    at = skip_value(data, at)
            count = data[at]
        return at + 1

    return skip


_SKIPS: Mapping[str, Skip] = {
    "null": _bytes_of(0),
    "boolean": _bytes_of(1),
    "int": _long,
    "long": _long,
    "float": _bytes_of(4),
    "double": _bytes_of(8),
    "bytes": _text,
    "string": _text,
    "enum": _long,
}
_MAKERS: Makers[int] = {
    **{kind: always(skip) for kind, skip in _SKIPS.items()},
    "fixed": _fixed,
    "record": _record,
    "union": _union,
    "array": _array,
    "map": _map,
}
