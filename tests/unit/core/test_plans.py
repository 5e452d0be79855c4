import json
from typing import Any

import pytest

from tests.builders_avro import STRINGS, encode, read, schema_of, shipped_schema
from worker.core.decoding import DecodeError, Event, SchemaError, plan, refusal


def test_the_contracts_example_is_read_with_the_shipped_schema() -> None:
    event = read(
        shipped_schema(),
        {
            "type": "track",
            "event": "Lead Generated",
            "messageId": "evt_6f47f5a0",
            "anonymousId": "df_8f2a1c9e",
            "userId": "user-123",
            "timestamp": 1_780_744_274_000,
            "properties": {"form_id": "demo-request", "value": 0, "currency": "USD"},
            "context": {
                "ip": "24.5.68.47",
                "userAgent": "Mozilla/5.0",
                "locale": "en-US",
                "page": {"url": "https://acme.com/pricing", "path": "/pricing", "title": "Pricing", "referrer": ""},
                "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026"},
                "consent": {"canonical": {"analytics": True, "marketing": False}},
                "vendorIds": {"ga": "1"},
            },
        },
    )
    assert event == Event(
        type="track",
        event="Lead Generated",
        message_id="evt_6f47f5a0",
        anonymous_id="df_8f2a1c9e",
        user_id="user-123",
        timestamp_ms=1_780_744_274_000,
        properties={"form_id": "demo-request", "value": 0, "currency": "USD"},
        consent={"analytics": True, "marketing": False},
        context={
            "ip": "24.5.68.47",
            "userAgent": "Mozilla/5.0",
            "page": {"url": "https://acme.com/pricing", "title": "Pricing"},
            "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026"},
        },
    )


@pytest.mark.parametrize("field", ["properties", "traits"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"products": [{"id": "p1", "tags": ["a", {"b": [1]}]}]}, id="five levels"),
        pytest.param({"zero": 0, "no": False, "text": "", "nothing": None}, id="empty values"),
        pytest.param({"price": 19.99, "third": 1 / 3}, id="doubles keep every digit"),
        pytest.param({"most": 2**63 - 1, "least": -(2**63)}, id="longs"),
        pytest.param({}, id="empty map"),
    ],
)
def test_the_shipped_schema_carries_free_objects_unchanged(field: str, value: Any) -> None:
    assert getattr(read(shipped_schema(), {"type": "page", field: value}), field) == value


def test_the_shipped_schema_carries_deeper_objects_as_json() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = {"a": [deep]}
    assert read(shipped_schema(), {"type": "page", "properties": json.dumps(deep)}).properties == deep


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        pytest.param({"canonical": {"a": True}, "categories": {"a": False}}, {"a": True}, id="canonical"),
        pytest.param({"canonical": None, "categories": {"a": True}, "a": False}, {"a": True}, id="categories"),
        pytest.param({"canonical": None, "categories": None, "a": True}, {"a": True}, id="flat"),
        pytest.param({"canonical": {}, "a": True}, {}, id="an empty one is not null"),
        pytest.param({"canonical": True, "a": True}, None, id="a first one that is no object"),
        pytest.param(None, None, id="none"),
    ],
)
def test_the_first_consent_shape_that_is_not_null_counts(consent: Any, expected: Any) -> None:
    assert read(shipped_schema(), {"type": "page", "context": {"consent": consent}}).consent == expected


@pytest.mark.parametrize("consent", ["{not json", "[true]", "true", ""])
def test_an_unreadable_consent_text_is_no_consent(consent: str) -> None:
    schema = schema_of(context=schema_of(consent="string") | {"name": "Context"})
    event = read(schema, {"context": {"consent": consent}})
    assert (event.consent, event.malformed) == (None, "")


def test_left_over_bytes_are_undecodable() -> None:
    with pytest.raises(DecodeError, match="1 bytes are left over"):
        plan(schema_of(type="string")).read(encode("string", "page") + b"x", 0)


def test_bytes_that_end_early_are_undecodable() -> None:
    with pytest.raises(DecodeError, match="end before the event does"):
        plan(schema_of(type="string")).read(encode("string", "page")[:-1], 0)


def test_the_message_holds_no_content() -> None:
    with pytest.raises(DecodeError) as caught:
        plan(schema_of(type="string")).read(b"\x12acme.com\xff", 0)
    assert str(caught.value) == "the bytes do not fit the writer schema (UnicodeDecodeError)"
    assert caught.value.__cause__ is None


VALUE = {
    "type": "record",
    "name": "Value",
    "fields": [{"name": "value", "type": ["null", "long", {"type": "array", "items": "Value"}]}],
}
RECURSIVE = schema_of(type="string", properties=["null", {"type": "map", "values": VALUE}])


def test_a_schema_that_contains_itself_is_read() -> None:
    value = {"a": {"value": [{"value": 1}, {"value": None}]}}
    assert read(RECURSIVE, {"type": "page", "properties": value}).properties == value


def test_bytes_that_nest_without_end_are_undecodable_and_end_no_process() -> None:
    schema = schema_of(next=["null", "E"])
    with pytest.raises(DecodeError, match="more than 100 times"):
        plan(schema).read(b"\x02" * 100_000 + b"\x00", 0)


@pytest.mark.parametrize(
    "items",
    [
        pytest.param("null", id="null"),
        pytest.param({"type": "record", "name": "Empty", "fields": []}, id="empty record"),
        pytest.param({"type": "record", "name": "N", "fields": [{"name": "n", "type": "null"}]}, id="record of nulls"),
        pytest.param({"type": "fixed", "name": "F", "size": 0}, id="fixed of no bytes"),
    ],
)
def test_an_array_that_could_claim_any_length_is_not_read(items: Any) -> None:
    with pytest.raises(DecodeError, match="any length"):
        plan(schema_of(type={"type": "array", "items": items})).read(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 0)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(None, id="null"),
        pytest.param(5, id="number"),
        pytest.param({}, id="empty object"),
        pytest.param([], id="empty union"),
        pytest.param("Unheard", id="unknown name"),
        pytest.param({"type": "record", "name": "E"}, id="record without fields"),
        pytest.param({"type": "record", "fields": []}, id="record without name"),
        pytest.param({"type": "record", "name": "E", "fields": 5}, id="fields that are a number"),
        pytest.param({"type": "record", "name": "E", "fields": [5]}, id="a field that is a number"),
        pytest.param({"type": "object", "properties": {}}, id="JSON schema"),
    ],
)
def test_what_is_no_avro_schema_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        plan(schema)


@pytest.mark.parametrize(
    "schema",
    ["string", ["null", schema_of(type="string")], STRINGS, {"type": "enum", "name": "T", "symbols": ["A"]}],
    ids=["string", "union", "map", "enum"],
)
def test_a_schema_whose_top_level_is_no_record_reads_nothing(schema: Any) -> None:
    with pytest.raises(DecodeError, match="top level is not a record"):
        plan(schema).read(b"\x00", 0)


def test_a_refusal_says_why_for_every_record() -> None:
    with pytest.raises(DecodeError, match="Protobuf"):
        refusal("it is Protobuf").read(b"\x00", 0)


def test_types_defined_elsewhere_are_resolved() -> None:
    page = {"type": "record", "name": "acme.Page", "fields": [{"name": "url", "type": "string"}]}
    context = {"type": "record", "name": "Context", "fields": [{"name": "page", "type": "acme.Page"}]}
    inline = {"type": "record", "name": "Context", "fields": [{"name": "page", "type": page}]}
    body = encode(schema_of(context=inline), {"context": {"page": {"url": "https://acme.com"}}})
    event = plan(schema_of(context=context), {"acme.Page": page}).read(body, 0)
    assert event.context == {"page": {"url": "https://acme.com"}}


def test_a_plan_says_what_its_schema_can_tell() -> None:
    page = {"type": "record", "name": "Page", "fields": [{"name": "url", "type": "string"}]}
    schema = schema_of(
        user_id="string",
        context={
            "type": "record",
            "name": "C",
            "fields": [
                {"name": "user_agent", "type": "string"},
                {"name": "page", "type": ["null", page]},
                {"name": "campaign", "type": STRINGS},
            ],
        },
    )
    found = {"userId", "context.userAgent", "context.page.url", "context.campaign"}
    made = plan(schema)
    assert set(made.fields_found) == found
    assert {"messageId", "context.ip", "context.page.title", "context.consent"} <= set(made.fields_missing)


def test_the_shipped_schema_misses_nothing() -> None:
    assert plan(shipped_schema()).fields_missing == ()


@pytest.mark.parametrize(
    ("kind", "tells"),
    [
        pytest.param({"type": "long", "logicalType": "timestamp-millis"}, True, id="milliseconds"),
        pytest.param(["null", {"type": "long", "logicalType": "timestamp-micros"}], True, id="microseconds or null"),
        pytest.param("string", True, id="text"),
        pytest.param(["null", {"type": "string"}], True, id="text or null"),
        pytest.param("long", False, id="plain long"),
        pytest.param(["null", "double"], False, id="number or null"),
        pytest.param({"type": "long", "logicalType": "local-timestamp-millis"}, False, id="local time"),
        pytest.param(["long", "string"], True, id="number or text"),
        pytest.param("null", False, id="always null"),
    ],
)
def test_a_plan_knows_whether_a_timestamp_can_say_what_instant_it_means(kind: Any, tells: bool) -> None:  # noqa: FBT001 - a column of the table
    assert plan(schema_of(timestamp=kind)).tells_instant is tells


def test_a_plan_that_refuses_every_record_says_why_without_any() -> None:
    assert plan("string").refused == "the writer schema's top level is not a record"
    assert refusal("id:7 is a schema of type JSON, not AVRO").refused == "id:7 is a schema of type JSON, not AVRO"
    assert plan(shipped_schema()).refused == ""
