import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.builders_avro import FREE, STRINGS, encode, read, read_one, schema_of
from worker.core.decoding import Event, plan


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (("messageId", "message_id"), "message_id"),
        (("anonymousId", "anonymous_id"), "anonymous_id"),
        (("userId", "user_id"), "user_id"),
        (("groupId", "group_id"), "group_id"),
    ],
)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(("a", None), "a", id="camel alone"),
        pytest.param((None, "b"), "b", id="snake alone"),
        pytest.param(("a", "b"), "a", id="camel wins"),
        pytest.param((None, None), None, id="neither"),
    ],
)
def test_the_first_spelling_that_is_not_null_counts(
    names: tuple[str, str], field: str, values: tuple[str | None, str | None], expected: str | None
) -> None:
    schema = schema_of(**{key: ["null", "string"] for key in names})
    assert getattr(read(schema, dict(zip(names, values, strict=True))), field) == expected


def test_a_schema_in_snake_case_alone_is_read() -> None:
    assert read_one("string", "u1", "user_id").user_id == "u1"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param("string", "", None, id="empty text"),
        pytest.param("long", 42, "42", id="number"),
        pytest.param({"type": "string", "logicalType": "uuid"}, UUID(int=5), str(UUID(int=5)), id="uuid"),
        pytest.param("boolean", True, None, id="boolean"),
        pytest.param("double", 1.0, None, id="double"),
        pytest.param("bytes", b"u1", None, id="bytes"),
        pytest.param(STRINGS, {}, None, id="map"),
    ],
)
def test_an_id_is_a_text_a_number_or_a_uuid(kind: Any, value: Any, expected: str | None) -> None:
    assert read_one(kind, value, "userId").user_id == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param("string", "Track", "track", id="string"),
        pytest.param({"type": "enum", "name": "T", "symbols": ["PAGE", "TRACK"]}, "TRACK", "track", id="enum"),
        pytest.param("string", "screen", "screen", id="unknown"),
        pytest.param(["null", "string"], None, None, id="null"),
    ],
)
def test_the_type_comes_in_lower_case(kind: Any, value: Any, expected: str | None) -> None:
    assert read_one(kind, value, "type").type == expected


def test_fields_it_does_not_know_are_ignored() -> None:
    assert read(schema_of(partner="string", vendorIds=STRINGS), {"partner": "x", "vendorIds": {}}) == Event()


def long_of(logical_type: str) -> dict[str, str]:
    return {"type": "long", "logicalType": logical_type}


@pytest.mark.parametrize(
    ("logical_type", "value", "expected"),
    [
        pytest.param("timestamp-millis", 1_780_744_274_123, 1_780_744_274_123, id="millis"),
        pytest.param("timestamp-micros", 1_780_744_274_123_999, 1_780_744_274_123, id="micros are cut"),
        pytest.param("timestamp-micros", -1, -1, id="micros before 1970 are cut downwards"),
        pytest.param("timestamp-nanos", 1_780_744_274_123_999_999, 1_780_744_274_123, id="nanos are cut"),
        pytest.param("timestamp-millis", -62_135_596_800_000, -62_135_596_800_000, id="year 1"),
        pytest.param("timestamp-millis", -62_135_596_800_001, None, id="before year 1"),
        pytest.param("timestamp-millis", 253_402_300_799_999, 253_402_300_799_999, id="year 9999"),
        pytest.param("timestamp-millis", 253_402_300_800_000, None, id="after year 9999"),
        pytest.param("local-timestamp-millis", 0, None, id="local millis"),
        pytest.param("local-timestamp-micros", 0, None, id="local micros"),
        pytest.param("timestamp-hours", 0, None, id="a logical type nobody knows"),
    ],
)
@pytest.mark.parametrize("optional", [False, True], ids=["required", "optional"])
def test_a_number_is_a_time_if_its_type_says_which(
    logical_type: str, value: int, expected: int | None, *, optional: bool
) -> None:
    kind: Any = long_of(logical_type)
    schema = schema_of(timestamp=["null", kind] if optional else kind)
    bare = schema_of(timestamp=["null", "long"] if optional else "long")
    assert plan(schema).read(encode(bare, {"timestamp": value}), 0).timestamp_ms == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("long", 1_780_744_274_000, id="plain long"),
        pytest.param("double", 1_780_744_274.0, id="double"),
        pytest.param({"type": "int", "logicalType": "timestamp-millis"}, 5, id="int"),
        pytest.param({"type": "int", "logicalType": "date"}, 20_000, id="date"),
        pytest.param(["null", "string"], None, id="null"),
    ],
)
def test_what_does_not_say_which_instant_it_is_has_no_time(kind: Any, value: Any) -> None:
    assert read_one(kind, value, "timestamp").timestamp_ms is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2026-06-06T11:11:14.000Z", 1_780_744_274_000, id="Z"),
        pytest.param("2026-06-06T13:11:14+02:00", 1_780_744_274_000, id="offset"),
        pytest.param("2026-06-06T11:11:14.123999Z", 1_780_744_274_123, id="micros are cut"),
        pytest.param("2026-06-06T11:11:14.123999999Z", 1_780_744_274_123, id="nanos are cut"),
        pytest.param("1969-12-31T23:59:59.999999Z", -1, id="before 1970 they are cut downwards"),
        pytest.param("9999-12-31T23:59:59.999Z", 253_402_300_799_999, id="last"),
        pytest.param("9999-12-31T23:59:59-01:00", None, id="in year 10000 of UTC"),
        pytest.param("0001-01-01T00:00:00+01:00", None, id="in year 0 of UTC"),
        pytest.param("2026-06-06T11:11:14", None, id="no zone"),
        pytest.param("2026-06-06", None, id="a day"),
        pytest.param("1780744274000", None, id="a number as text"),
        pytest.param("yesterday", None, id="words"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_text_is_a_time_if_it_is_iso_8601_with_a_zone(text: str, expected: int | None) -> None:
    assert read_one("string", text, "timestamp").timestamp_ms == expected


def test_a_union_of_number_and_text_takes_both() -> None:
    kind = ["null", long_of("timestamp-millis"), "string"]
    times = [read_one(kind, value, "timestamp").timestamp_ms for value in (5, "1970-01-01T00:00:00.005Z")]
    assert times == [5, 5]


def test_the_schema_given_is_left_as_it_is() -> None:
    schema = schema_of(timestamp=["null", long_of("timestamp-millis")])
    before = json.dumps(schema)
    plan(schema)
    assert json.dumps(schema) == before


@pytest.mark.parametrize("field", ["properties", "traits"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": [1, {"b": null}], "c": ""}', {"a": [1, {"b": None}], "c": ""}, id="object"),
        pytest.param("", None, id="empty means absent"),
        pytest.param('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}, id="big number"),
        pytest.param('{"a": 1, "a": 2}', {"a": 2}, id="the last of two equal names"),
    ],
)
def test_a_free_object_may_be_a_json_text(field: str, text: str, expected: Any) -> None:
    event = read_one("string", text, field)
    assert (getattr(event, field), event.malformed) == (expected, "")


@pytest.mark.parametrize("field", ["properties", "traits"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="cut off"),
        pytest.param("[1]", id="array"),
        pytest.param("null", id="null"),
        pytest.param('"text"', id="text"),
        pytest.param("jane.doe@acme.com", id="no JSON"),
        pytest.param('{"a": 1} x', id="something behind it"),
        pytest.param('{"a": NaN}', id="NaN"),
        pytest.param('{"a": 1e400}', id="a number beyond doubles"),
        pytest.param('{"a": "\\ud800"}', id="half a surrogate pair"),
        pytest.param('{"a": ' + "9" * 5000 + "}", id="a number of 5,000 digits"),
        pytest.param('{"a": ' + "[" * 101 + "]" * 101 + "}", id="nested over 100 deep"),
        pytest.param('{"a": ' * 50_000 + "1" + "}" * 50_000, id="nested 50,000 deep"),
    ],
)
def test_a_text_that_holds_no_json_object_is_named(field: str, text: str) -> None:
    event = read_one("string", text, field)
    assert (getattr(event, field), event.malformed) == (None, field)


def test_many_brackets_are_not_depth() -> None:
    value = {"products": [{"id": [n]} for n in range(200)]}
    assert read_one("string", json.dumps(value), "properties").properties == value


def test_what_is_neither_object_nor_text_is_named_too() -> None:
    assert read_one({"type": "array", "items": "long"}, [1], "properties").malformed == "properties"


def test_null_in_a_record_of_traits_means_absent() -> None:
    kind = schema_of(email=["null", "string"], name=["null", "string"]) | {"name": "Traits"}
    assert read_one(kind, {"email": None, "name": "Jane Doe"}, "traits").traits == {"name": "Jane Doe"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param({"type": "map", "values": FREE}, {"a": None}, id="map"),
        pytest.param("string", '{"a":null}', id="json"),
    ],
)
def test_null_in_a_map_of_traits_stays_because_it_removes(kind: Any, value: Any) -> None:
    assert read_one(kind, value, "traits").traits == {"a": None}


def test_null_in_a_text_stays_even_where_a_record_could_have_stood() -> None:
    kind = ["null", schema_of(email=["null", "string"]) | {"name": "Traits"}, "string"]
    assert read_one(kind, '{"email": null}', "traits").traits == {"email": None}


def test_null_in_a_record_of_properties_stays() -> None:
    kind = schema_of(value=["null", "long"]) | {"name": "Properties"}
    assert read_one(kind, {"value": None}, "properties").properties == {"value": None}


@pytest.mark.parametrize("field", ["properties", "traits"])
def test_values_json_does_not_have_come_in_its_own_types(field: str) -> None:
    kinds = {
        "at": long_of("timestamp-millis"),
        "id": {"type": "string", "logicalType": "uuid"},
        "price": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        "raw": "bytes",
        "deep": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
    }
    value = {
        "at": dt.datetime(2026, 6, 6, 11, 11, 14, tzinfo=dt.UTC),
        "id": UUID(int=5),
        "price": Decimal("19.99"),
        "raw": b"x",
        "deep": [b"x"],
    }
    event = read_one(schema_of(**kinds) | {"name": "Free"}, value, field)
    assert getattr(event, field) == {
        "at": "2026-06-06T11:11:14Z",
        "id": str(UUID(int=5)),
        "price": 19.99,
        "raw": "eA==",
        "deep": ["eA=="],
    }
