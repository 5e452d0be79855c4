"""What the bytes claim is never more than what they cost: the reader ends, soon, and with DecodeError."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import process_time
from typing import Any

import pytest

from tests.builders_avro import STRINGS, encode, schema_of
from worker.core.decoding import DecodeError, Plan, plan

HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # 2**63 - 1
LOWEST = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # -2**63
FIXED = {"type": "fixed", "name": "F", "size": 16}
DOUBLES = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}]}


@contextmanager
def soon() -> Iterator[None]:
    """In less CPU than a loop over a fraction of what is claimed would take."""
    began = process_time()
    yield
    assert process_time() - began < 2


def is_read(made: Plan, value: bytes) -> bool:
    with suppress(DecodeError):
        made.read(value, 0)
        return True
    return False


# "properties" are read, "other" is skipped
@pytest.mark.parametrize("field", ["properties", "other"])
@pytest.mark.parametrize(
    "items",
    ["boolean", "double", "string", FIXED, DOUBLES, ["null", "double"], STRINGS],
    ids=["boolean", "double", "string", "fixed", "record", "union", "map"],
)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_a_block_that_claims_more_than_there_is_is_undecodable(field: str, items: Any, kind: str) -> None:
    made = plan(schema_of(**{field: {"type": kind, "items" if kind == "array" else "values": items}}))
    heads = {
        "2**63 items": HUGE,
        "2**63 items in two bytes": LOWEST + b"\x04",
        "2**63 items in 2**63 bytes": LOWEST + HUGE,
        "one item in 2**63 bytes": b"\x01" + HUGE,
        "one item in -1 bytes": b"\x01\x01",
    }
    with soon():
        assert [claim for claim, head in heads.items() if is_read(made, head + bytes(50))] == []


@pytest.mark.parametrize("field", ["type", "other", "timestamp", "properties"])
@pytest.mark.parametrize("kind", ["string", "bytes", ["null", "string"], ["bytes", "null"]], ids=str)
def test_a_length_that_does_not_fit_is_undecodable(field: str, kind: Any) -> None:
    made = plan(schema_of(**{field: kind}))
    branch = b"\x02" if kind == ["null", "string"] else b"\x00" if isinstance(kind, list) else b""
    sizes = [HUGE, LOWEST, b"\x01", b"\x08", b"\x80\x02", b"\xff" * 20]
    assert [size for size in sizes if is_read(made, branch + size + b"abc")] == []
    assert is_read(made, branch + b"\x06abc")


@pytest.mark.parametrize("field", ["type", "timestamp", "properties", "context", "other"])
@pytest.mark.parametrize("kind", [["null", "string"], ["null", STRINGS], ["null", DOUBLES], ["null", "long"]], ids=str)
def test_a_branch_that_a_union_does_not_have_is_undecodable(field: str, kind: Any) -> None:
    made = plan(schema_of(**{field: kind}))
    missing = [b"\x04", b"\x01", b"\x03", b"\x7f", b"\x80\x01", HUGE, LOWEST]
    assert [branch for branch in missing if is_read(made, branch + bytes(8))] == []
    assert is_read(made, b"\x00")


@pytest.mark.parametrize("number", [b"\x04", b"\x01", HUGE])
def test_a_symbol_that_an_enum_does_not_have_is_undecodable(number: bytes) -> None:
    with pytest.raises(DecodeError, match="no such symbol"):
        plan(schema_of(type={"type": "enum", "name": "T", "symbols": ["page", "track"]})).read(number, 0)


@pytest.mark.parametrize("field", ["properties", "other"])
def test_a_type_that_contains_itself_is_read_100_times_deep_and_no_deeper(field: str) -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    made = plan(schema_of(**{field: node}))

    made.read(b"\x02" * 99 + b"\x00", 0)

    for levels in (100, 100_000):
        with pytest.raises(DecodeError, match="more than 100 times"):
            made.read(b"\x02" * levels + b"\x00", 0)


def test_types_that_use_each_other_twice_make_no_million_functions() -> None:
    kind: Any = "long"
    for number in range(60):
        name = f"R{number}"
        first = {"type": "record", "name": name, "fields": [{"name": "a", "type": kind}]}
        kind = {"type": "record", "name": f"{name}x2", "fields": [{"name": "a", "type": first}]}
        kind["fields"].append({"name": "b", "type": ["null", name]})
    with soon():
        plan(schema_of(properties=kind))


def test_text_that_is_no_utf_8_is_undecodable_where_it_is_read() -> None:
    with pytest.raises(DecodeError, match="UnicodeDecodeError"):
        plan(schema_of(type="string")).read(b"\x02\xff", 0)


def test_text_that_is_no_utf_8_goes_unseen_where_it_is_skipped() -> None:
    plan(schema_of(other="string", more=["null", "string"])).read(b"\x02\xff\x02\x02\xff", 0)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8_191, 8_192, 100_000])
@pytest.mark.parametrize("kind", ["string", ["null", "string"]], ids=str)
def test_text_of_any_length_is_read_whole(kind: Any, size: int) -> None:
    schema = schema_of(other=kind, name=kind)
    for text in ("x" * size, "ü" * (size // 2)):
        assert plan(schema).read(encode(schema, {"other": text, "name": text}), 0).name == (text or None)


@pytest.mark.parametrize("field", ["properties", "other"])
@pytest.mark.parametrize("items", ["long", ["null", "long"]], ids=str)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_a_block_of_nothing_is_the_last_even_where_the_nothing_takes_two_bytes(
    field: str, items: Any, kind: str
) -> None:
    schema = schema_of(**{field: {"type": kind, "items" if kind == "array" else "values": items}, "type": "string"})
    assert plan(schema).read(b"\x80\x00\x08page", 0).type == "page"
