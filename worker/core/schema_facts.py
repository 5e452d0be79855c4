"""What can be said of an Avro schema before any record is read: what shape its parts have, and whether it is safe to
read with.

No bytes and no events in here, and nothing about Dreamdata. Schemas come as fastavro's `parse_schema` leaves them:
names in full, and every named type in `names`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Names = Mapping[str, Any]
# a tree of field names: each with what is wanted inside it
Wanted = tuple[tuple[str, "Wanted"], ...]

_PER_MILLISECOND = {"timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
_NUMBERS = ("int", "long", "float", "double")


class Survey:
    """One walk over a schema, every named type looked at once.

    `recursive`: types that contain themselves, so that the bytes decide how deep reading goes; on every way round there
    is one of them. `bomb`: an array's items take
    no bytes, so that a few bytes can claim 2**63 of them. `odd`: some value is none that JSON has (bytes, fixed, a
    logical type).
    """

    def __init__(self, schema: Any, names: Names) -> None:
        self._names = names
        self._open: set[str] = set()
        self._widths: dict[str, int] = {}
        self.recursive: set[str] = set()
        self.bomb = False
        self.odd = False
        self._width(schema)

    def _width(self, schema: Any) -> int:
        """The least number of bytes a value of this schema takes: 0 or more."""
        if isinstance(schema, str):
            return self._width_of_name(schema)
        if isinstance(schema, list):
            for branch in schema:
                self._width(branch)
            return 1
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._width_of_record(schema)
        if kind == "array":
            self.bomb |= self._width(schema["items"]) == 0
        elif kind == "map":
            self._width(schema["values"])
        elif kind == "fixed":
            self.odd = True
            return int(schema["size"])
        elif kind != "enum":
            self.odd |= "logicalType" in schema
            return self._width(kind)
        return 1

    def _width_of_name(self, name: str) -> int:
        if name in self._open:
            self.recursive.add(name)
            return 1
        if name in self._widths:
            return self._widths[name]
        if name in self._names:
            return self._width(self._names[name])
        self.odd |= name == "bytes"
        return 0 if name == "null" else 1

    def _width_of_record(self, schema: Any) -> int:
        name = schema["name"]
        if name not in self._widths:
            self._open.add(name)
            width = sum([self._width(field["type"]) for field in schema["fields"]])
            self._open.remove(name)
            self._widths[name] = width
        return self._widths[name]


def branches(schema: Any, names: Names) -> list[Any]:
    """The alternatives of a union, or the schema alone, with names replaced by what they stand for."""
    alternatives = schema if isinstance(schema, list) else [schema]
    return [names.get(branch, branch) if isinstance(branch, str) else branch for branch in alternatives]


def is_record(schema: Any) -> bool:
    return isinstance(schema, dict) and schema["type"] in ("record", "error")


def is_text(schema: Any) -> bool:
    """A string and nothing made of it, whatever else a code generator has noted down."""
    return schema == "string" or (
        isinstance(schema, dict) and schema["type"] == "string" and "logicalType" not in schema
    )


def units_per_millisecond(schema: object) -> int:
    """What a number in the field `timestamp` is to be divided by; 0 if it does not say what instant it means.

    Only a long with a `timestamp-*` logical type does: a plain long may be seconds as well, and the local types lack a
    zone.
    """
    for branch in _timestamp_branches(schema):
        match branch:
            case {"type": "long", "logicalType": str(logical_type)}:
                return _PER_MILLISECOND.get(logical_type, 0)
    return 0


def tells_instant(schema: object) -> bool:
    """Whether a value of the field `timestamp` can say what instant it means; False where it is but a bare number."""
    if units_per_millisecond(schema):
        return True
    kinds = [branch.get("type") if isinstance(branch, dict) else branch for branch in _timestamp_branches(schema)]
    return any(kind not in ("null", *_NUMBERS) for kind in kinds) or not kinds


def without_timestamp_type(schema: object) -> object:
    """The schema with the logical type of the field `timestamp` taken off, so that it is read as the number it is.

    fastavro would make a datetime of it: slow, and an error for years a datetime cannot hold, where only the timestamp
    is unreadable.
    """
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return schema
    return {**schema, "fields": [_without_logical_type(field) for field in schema["fields"]]}


def _without_logical_type(field: Any) -> Any:
    if not isinstance(field, dict) or field.get("name") != "timestamp" or "type" not in field:
        return field

    def bare(branch: Any) -> Any:
        if not isinstance(branch, dict):
            return branch
        return {key: value for key, value in branch.items() if key != "logicalType"}

    kind = field["type"]
    return {**field, "type": [bare(branch) for branch in kind] if isinstance(kind, list) else bare(kind)}


def _timestamp_branches(schema: object) -> Iterator[Any]:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict) and field.get("name") == "timestamp":
            kind = field.get("type")
            yield from kind if isinstance(kind, list) else [kind]


def compared(
    alternatives: Iterable[Any], wanted: Wanted, spellings: Mapping[str, str], names: Names, prefix: str = ""
) -> tuple[list[str], list[str]]:
    """Which of the `wanted` fields (a tree of names) a record schema has, under either spelling, and which not, as
    dotted paths.

    Where something wanted inside is a map or a string, only itself is named: its content shows in the records alone.
    """
    records = [branch for branch in alternatives if is_record(branch)]
    fields = {field["name"]: field["type"] for record in records for field in record["fields"]}
    if not records:
        return [prefix.rstrip(".")], []
    found: list[str] = []
    missing: list[str] = []
    for name, inside in wanted:
        kind = fields.get(name, fields.get(spellings.get(name, name)))
        path = prefix + name
        if kind is None:
            missing.append(path)
        elif not inside:
            found.append(path)
        else:
            found_inside, missing_inside = compared(branches(kind, names), inside, spellings, names, f"{path}.")
            found += found_inside
            missing += missing_inside
    return found, missing
