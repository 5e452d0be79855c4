from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_avro import Shape, encode, record, shaped, shipped_schema, writer_schema
from worker.core.decoding import DecodeError, Event, framing, plan

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=6)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
).filter(lambda value: _depth(value) <= 4)
objects = st.none() | st.dictionaries(names, nested, max_size=4)
optional_texts = st.none() | texts
flags = st.none() | st.dictionaries(names, st.none() | st.booleans(), max_size=3)


@st.composite
def consents(draw: st.DrawFn) -> dict[str, Any]:
    flat = draw(flags) or {}
    return flat | {"canonical": draw(flags), "categories": draw(flags)}


contexts = st.none() | st.fixed_dictionaries(
    {
        "ip": optional_texts,
        "userAgent": optional_texts,
        "page": st.none() | st.fixed_dictionaries(dict.fromkeys(("url", "path", "title", "referrer"), optional_texts)),
        "campaign": st.none() | st.fixed_dictionaries(dict.fromkeys(("source", "medium", "term"), optional_texts)),
        "consent": st.none() | consents(),
    }
)
events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["page", "track", "identify", "group"]),
        "event": optional_texts,
        "name": optional_texts,
        "messageId": optional_texts,
        "anonymousId": optional_texts,
        "userId": optional_texts,
        "groupId": optional_texts,
        "timestamp": st.none() | st.integers(-62_135_596_800_000, 253_402_300_799_999),
        "properties": objects,
        "traits": objects,
        "context": contexts,
    }
)
shapes = st.builds(
    Shape,
    names=st.sampled_from(["camel", "snake"]),
    objects=st.sampled_from(["record", "map"]),
    free=st.sampled_from(["record", "map", "json"]),
    consent=st.sampled_from(["record", "map", "json"]),
    time=st.sampled_from(["millis", "micros", "iso"]),
    type=st.sampled_from(["string", "enum"]),
)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _present(values: dict[str, Any] | None, *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys if values and values.get(key)}


def expected(event: dict[str, Any], shape: Shape) -> Event:
    """The event as the contract reads it, said once more and more slowly."""
    context = event["context"] or {}
    shaped_context = {
        **_present(context, "ip", "userAgent"),
        "page": _present(context.get("page"), "url", "title", "referrer"),
        "campaign": _present(context.get("campaign"), "source", "medium", "name", "term", "content"),
    }
    traits = event["traits"]
    if shape.free == "record" and traits is not None:
        traits = {key: value for key, value in traits.items() if value is not None}
    consent = context.get("consent")
    if consent is not None:
        flat = {key: value for key, value in consent.items() if key not in ("canonical", "categories")}
        consent = next((consent[key] for key in ("canonical", "categories") if consent[key] is not None), flat)
    return Event(
        type=event["type"],
        event=event["event"] or None,
        name=event["name"] or None,
        message_id=event["messageId"] or None,
        anonymous_id=event["anonymousId"] or None,
        user_id=event["userId"] or None,
        group_id=event["groupId"] or None,
        timestamp_ms=event["timestamp"],
        properties=event["properties"],
        traits=traits,
        consent=consent,
        context={key: value for key, value in shaped_context.items() if value},
    )


@given(event=events, shape=shapes)
def test_an_event_reads_the_same_whatever_its_schema_looks_like(event: dict[str, Any], shape: Shape) -> None:
    schema = writer_schema(shape, event)
    assert plan(schema).read(encode(schema, shaped(shape, event)), 0) == expected(event, shape)


@pytest.mark.parametrize("start", [0, 5, 10])
@given(event=events)
def test_an_event_reads_the_same_with_the_shipped_schema_behind_any_prefix(start: int, event: dict[str, Any]) -> None:
    body = encode(shipped_schema(), event)
    assert SHIPPED.read(bytes(start) + body, start) == expected(event, Shape())


@given(event=events, shape=shapes)
def test_an_event_cut_short_anywhere_is_undecodable(event: dict[str, Any], shape: Shape) -> None:
    schema = writer_schema(shape, event)
    body = encode(schema, shaped(shape, event))
    made = plan(schema)
    for length in range(len(body)):
        with pytest.raises(DecodeError):
            made.read(body[:length], 0)


@given(event=events, shape=shapes, more=st.binary(min_size=1, max_size=4))
def test_an_event_with_bytes_behind_it_is_undecodable(event: dict[str, Any], shape: Shape, more: bytes) -> None:
    schema = writer_schema(shape, event)
    with pytest.raises(DecodeError):
        plan(schema).read(encode(schema, shaped(shape, event)) + more, 0)


SHIPPED = plan(shipped_schema())
VALUE = {
    "type": "record",
    "name": "V",
    "fields": [{"name": "v", "type": ["null", "long", {"type": "map", "values": "V"}]}],
}
SAMPLE = {"properties": {"a": 1}, "traits": {"email": "x"}}
PLANS = {
    "shipped": SHIPPED,
    "recursive": plan({"type": "record", "name": "E", "fields": [{"name": "properties", "type": VALUE}]}),
    "records": plan(writer_schema(Shape(free="record", time="micros"), SAMPLE)),
    "JSON": plan(writer_schema(Shape(free="json", time="iso", consent="json"), SAMPLE)),
}


@pytest.mark.parametrize("plan_name", PLANS)
@given(value=st.binary(max_size=200))
def test_random_bytes_raise_decode_error_or_nothing(plan_name: str, value: bytes) -> None:
    with suppress(DecodeError):
        PLANS[plan_name].read(value, 0)


@pytest.mark.parametrize("plan_name", PLANS)
@given(event=events, at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_changed_byte_raises_decode_error_or_nothing(
    plan_name: str, event: dict[str, Any], at: int, byte: int
) -> None:
    body = bytearray(encode(shipped_schema(), event))
    body[at % len(body)] = byte
    with suppress(DecodeError):
        PLANS[plan_name].read(bytes(body), 0)


@given(value=st.none() | st.binary(max_size=20), header=st.none() | st.binary(max_size=20))
def test_framing_raises_decode_error_or_names_a_schema(value: bytes | None, header: bytes | None) -> None:
    try:
        ref, start = framing(record(value, ("__value_schema_id", header)))
    except DecodeError:
        return
    assert value is not None
    assert start <= len(value)
    assert str(ref).startswith(f"{ref.kind}:")
