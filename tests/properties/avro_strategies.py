"""Schemas of all of Avro, and bytes written with them, the way no one writer would write them.

The bytes are made without fastavro: it would write every array in one block, and pick the branches of unions itself.
"""

import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from worker.core.events import CAMPAIGN, IDS, PAGE, SNAKE_CASE

LOGICAL_TYPES: list[Any] = [
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    {"type": "string", "logicalType": "uuid"},
    {"type": "string", "logicalType": "made-up"},
]
PRIMITIVES: list[Any] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
JAVA_STRING = {"type": "string", "avro.java.string": "String"}
OPTIONAL_TEXTS: list[Any] = [["null", "string"], ["string", "null"], "string", ["null", JAVA_STRING], JAVA_STRING]

# numbers whose logical type has a value for them: a day, or a time of day, or an instant
_WITHIN = {"date": (-700_000, 2_900_000), "time-millis": (0, 86_399_999), "time-micros": (0, 86_399_999_999)}
_MILLIS = (-62_135_596_800_000, 253_402_300_799_999)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text("ab", min_size=64, max_size=70)
keys = st.sampled_from(["a", "b", "canonical", "categories", "url", "ip", "source", "userAgent", "user_agent", "é"])


class SchemaMaker:
    """Draws schemas whose named types have names of their own, and may be used again, also in themselves."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._defined: list[str] = []
        self._names = 0

    def any(self, depth: int) -> Any:
        kinds: list[Callable[[int], Any]] = [self._simple]
        if depth:
            kinds += [self._union, self._array, self._map, self._record, self._named]
        return self._draw(st.sampled_from(kinds))(depth)

    def record(self, fields: dict[str, Any]) -> Any:
        return {
            "type": "record",
            "name": self._new_name(),
            "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
        }

    def _new_name(self) -> str:
        self._names += 1
        return f"N{self._names}"

    def _simple(self, _depth: int) -> Any:
        kind = self._draw(st.sampled_from([*PRIMITIVES, JAVA_STRING, *LOGICAL_TYPES, "fixed", "decimal", "enum"]))
        if kind == "fixed":
            return {"type": "fixed", "name": self._new_name(), "size": self._draw(st.integers(0, 5))}
        if kind == "decimal":
            decimal = {"logicalType": "decimal", "precision": 6, "scale": 1}
            return {"type": "fixed", "name": self._new_name(), "size": 4, **decimal}
        if kind == "enum":
            return {"type": "enum", "name": self._new_name(), "symbols": ["page", "TRACK", "other"]}
        return kind

    def _union(self, depth: int) -> Any:
        drawn = [self.any(depth - 1) for _ in range(self._draw(st.integers(1, 4)))]
        unlike = {_kind(branch): branch for branch in drawn if not isinstance(branch, list)}
        return self._draw(st.permutations(["null", *(b for k, b in unlike.items() if k != "null")]))

    def _array(self, depth: int) -> Any:
        return {"type": "array", "items": self.any(depth - 1)}

    def _map(self, depth: int) -> Any:
        return {"type": "map", "values": self.any(depth - 1)}

    def _record(self, depth: int) -> Any:
        name = self._new_name()
        self._defined.append(name)
        circles: list[Any] = [[], [["null", name]], [["null", {"type": "map", "values": name}]]]
        kinds = [
            *self._draw(st.sampled_from(circles)),
            *(self.any(depth - 1) for _ in range(self._draw(st.integers(0, 3)))),
        ]
        fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
        return {"type": "record", "name": name, "fields": fields}

    def _named(self, depth: int) -> Any:
        # optional: a record that must hold itself has no end
        return ["null", self._draw(st.sampled_from(self._defined))] if self._defined else self._record(depth)


def _kind(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema.get("name", schema["type"]))
    return str(schema)


def _settled(schema: Any, defined: set[str]) -> Any:
    """Without names of types that were drawn and not taken, or come later: text stands for them."""
    match schema:
        case list():
            return [_settled(branch, defined) for branch in schema]
        case {"type": "record", "name": name, "fields": fields}:
            defined.add(name)
            settled = [field | {"type": _settled(field["type"], defined)} for field in fields]
            return schema | {"fields": settled}
        case {"type": "array", "items": inner}:
            return {"type": "array", "items": _settled(inner, defined)}
        case {"type": "map", "values": inner}:
            return {"type": "map", "values": _settled(inner, defined)}
        case str(name) if name not in PRIMITIVES and name not in defined:
            return "string"
    return schema


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    return _settled(SchemaMaker(draw).any(3), set())


@st.composite
def event_schemas(draw: st.DrawFn) -> Any:
    """Records with the names an event has, in both spellings and any order, mostly with the types one expects."""
    maker = SchemaMaker(draw)

    def some(names: list[str]) -> list[str]:
        spelled = [*names, *(SNAKE_CASE[name] for name in names if name in SNAKE_CASE), "other", "another"]
        return draw(st.lists(st.sampled_from(spelled), unique=True, max_size=len(spelled)))

    def usual(name: str) -> Any:
        match name:
            case "page" | "campaign" | "context":
                inside = {"page": [*PAGE], "campaign": [*CAMPAIGN]}.get(name, ["ip", "userAgent", *PARTS])
                record = maker.record({each: field(each) for each in some(inside)})
                return draw(st.sampled_from([record, ["null", record], [record, "null"], [record]]))
            case "timestamp":
                kind = {"type": "long", "logicalType": draw(st.sampled_from(["timestamp-millis", "timestamp-micros"]))}
                return draw(st.sampled_from([kind, ["null", kind], [kind, "string", "null"], "string"]))
            case "properties" | "traits":
                free = maker.any(2)
                return draw(st.sampled_from([["null", {"type": "map", "values": free}, "string"], "string"]))
            case "consent":
                flags = {"type": "map", "values": ["null", "boolean"]}
                return ["null", {"type": "map", "values": ["boolean", flags, "null"]}, "string"]
        return draw(st.sampled_from(OPTIONAL_TEXTS))

    def field(name: str) -> Any:
        return usual(name) if draw(st.integers(0, 4)) else maker.any(2)

    names = ["type", "event", "name", *IDS, "timestamp", "properties", "traits", "context"]
    return _settled(maker.record({name: field(name) for name in some(names)}), set())


PARTS = ("page", "campaign", "consent")


class BodyMaker:
    """Draws bytes of a schema that fastavro has parsed."""

    def __init__(self, draw: st.DrawFn, names: dict[str, Any]) -> None:
        self._draw = draw
        self._names = names

    def of(self, schema: Any, depth: int = 12) -> bytes:
        if isinstance(schema, str) and schema in self._names:
            schema = self._names[schema]
        if isinstance(schema, list):
            return self._union(schema, depth)
        if isinstance(schema, str):
            schema = {"type": schema}
        match schema["type"]:
            case "record":
                return b"".join(self.of(field["type"], depth - 1) for field in schema["fields"])
            case "array":
                return self._blocks(lambda: self.of(schema["items"], depth - 1), depth)
            case "map":
                return self._blocks(lambda: text(self._draw(keys)) + self.of(schema["values"], depth - 1), depth)
            case "enum":
                return long(self._draw(st.integers(0, len(schema["symbols"]) - 1)))
            case "fixed":
                return self._draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
            case kind:
                return self._primitive(kind, schema.get("logicalType", ""))

    def _union(self, schema: list[Any], depth: int) -> bytes:
        number = self._draw(st.integers(0, len(schema) - 1))
        if depth <= 0 and "null" in schema:
            number = schema.index("null")
        return long(number) + self.of(schema[number], depth - 1)

    def _blocks(self, item: Callable[[], bytes], depth: int) -> bytes:
        written = b""
        for _ in range(self._draw(st.integers(0, 2 if depth > 0 else 0))):
            items = [item() for _ in range(self._draw(st.integers(1, 3)))]
            sized = self._draw(st.booleans())
            head = long(-len(items)) + long(sum(map(len, items))) if sized else long(len(items))
            written += head + b"".join(items)
        return written + b"\x00"

    def _primitive(self, kind: str, logical_type: str) -> bytes:
        draw = self._draw
        match kind:
            case "null":
                return b""
            case "boolean":
                return draw(st.sampled_from([b"\x00", b"\x01"]))
            case "int" | "long":
                return long(draw(_numbers(kind, logical_type)))
            case "float":
                return struct.pack("<f", draw(st.floats(width=32)))
            case "double":
                return struct.pack("<d", draw(st.floats()))
            case "string" if logical_type == "uuid":
                return text(str(draw(st.uuids())))
            case "string":
                return text(draw(texts | st.sampled_from(JSON_TEXTS)))
        # few enough digits for the decimals' precision
        return long(size := draw(st.integers(0, 3))) + draw(st.binary(min_size=size, max_size=size))


JSON_TEXTS = ('{"a": 1, "b": null}', "{", "[]", '{"canonical": {"analytics": true}}', "2026-06-06T11:11:14.000Z")


def _numbers(kind: str, logical_type: str) -> st.SearchStrategy[int]:
    if logical_type in _WITHIN:
        return st.integers(*_WITHIN[logical_type])
    if logical_type.startswith(("timestamp", "local")):
        first, last = _MILLIS
        unit = 1000 if logical_type.endswith("micros") else 1
        return st.integers(first * unit, last * unit)
    bits = 31 if kind == "int" else 63
    return st.integers(-(2**bits), 2**bits - 1) | st.integers(-70, 70)


def long(value: int) -> bytes:
    zigzag = (value << 1) ^ (value >> 63)
    written = bytearray()
    while zigzag > 127:
        written.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*written, zigzag])


def text(value: str) -> bytes:
    encoded = value.encode()
    return long(len(encoded)) + encoded
