from uuid import UUID

import pytest

from tests.builders_avro import confluent, guid_header, record, shipped_schema, single_object
from worker.core.decoding import DecodeError, SchemaRef, framing

GUID = UUID("89791762-2336-186f-9674-299b90a802e2")


def test_a_confluent_prefix_names_the_schema_by_its_big_endian_id() -> None:
    assert framing(record(confluent(0x01020304, b"body"))) == (SchemaRef.of_id(0x01020304), 5)


def test_a_confluent_prefix_without_a_body_is_framed_all_the_same() -> None:
    assert framing(record(confluent(7, b""))) == (SchemaRef.of_id(7), 5)


def test_a_guid_header_leaves_the_whole_value_to_the_body() -> None:
    assert framing(record(b"body", guid_header(GUID))) == (SchemaRef.of_guid(GUID), 0)


@pytest.mark.parametrize(
    "value",
    [pytest.param(confluent(7, b"x"), id="0x00"), pytest.param(b"\xc3\x01" + bytes(8), id="0xC3 0x01")],
)
def test_a_guid_header_wins_over_what_a_bare_body_happens_to_begin_with(value: bytes) -> None:
    assert framing(record(value, guid_header(GUID))) == (SchemaRef.of_guid(GUID), 0)


def test_the_last_of_two_guid_headers_counts() -> None:
    other = UUID(int=1)
    assert framing(record(b"body", guid_header(other), guid_header(GUID)))[0] == SchemaRef.of_guid(GUID)


def test_single_object_encoding_names_the_schema_by_its_fingerprint_as_on_the_wire() -> None:
    ref, start = framing(record(single_object(shipped_schema(), b"body")))
    assert (ref.kind, len(ref.raw), start) == ("fingerprint", 8, 10)


def test_other_headers_do_not_matter() -> None:
    assert framing(record(confluent(7, b""), ("trace", b"1"), ("empty", None)))[0] == SchemaRef.of_id(7)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        pytest.param(None, (), id="null value"),
        pytest.param(b"", (), id="empty value"),
        pytest.param(b"", (guid_header(GUID),), id="empty value with a GUID header"),
        pytest.param(b'{"type": "page"}', (), id="JSON"),
        pytest.param(b"\x00\x00\x00\x01", (), id="0x00 and too short for an id"),
        pytest.param(b"\xc3", (), id="half a marker"),
        pytest.param(b"\xc3\x01" + bytes(7), (), id="0xC3 0x01 and too short for a fingerprint"),
        pytest.param(b"\xc3\x02" + bytes(8), (), id="another single-object version"),
        pytest.param(b"body", (("__value_schema_id", b"\x01short"),), id="GUID of five bytes"),
        pytest.param(b"body", (("__value_schema_id", b"\x00" + GUID.bytes),), id="GUID without its magic"),
        pytest.param(b"body", (("__value_schema_id", None),), id="GUID header without a value"),
    ],
)
def test_what_is_framed_in_none_of_the_three_ways_is_undecodable(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    with pytest.raises(DecodeError):
        framing(record(value, *headers))


def test_the_message_does_not_hold_the_bytes() -> None:
    with pytest.raises(DecodeError) as caught:
        framing(record(b"jane.doe@acme.com"))
    assert "acme" not in str(caught.value)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        pytest.param(SchemaRef.of_id(7), "id:7", id="id"),
        pytest.param(SchemaRef.of_guid(GUID), "guid:89791762-2336-186f-9674-299b90a802e2", id="guid"),
        pytest.param(SchemaRef.of_fingerprint(bytes(range(8))), "fingerprint:0001020304050607", id="fingerprint"),
    ],
)
def test_a_reference_prints_as_the_dead_letter_header_has_it(ref: SchemaRef, text: str) -> None:
    assert str(ref) == text


def test_two_records_of_one_schema_share_a_key() -> None:
    assert len({framing(record(confluent(7, body)))[0] for body in (b"a", b"b")}) == 1
