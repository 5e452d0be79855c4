from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import SCHEMA, TIME_MS, record
from worker import __version__
from worker.core.decoding import SchemaRef
from worker.core.outcomes import DeadLetter, Reason, Stage
from worker.core.records import Headers, Record, TopicPartition
from worker.dead_letters import headers_again, headers_of, opened

TP = TopicPartition("delivery-dreamdata", 3)
FAILED_AT = 17.25
MAX_OWN_BYTES = 4_096
TEXTS = st.builds(lambda text, times: text * times, st.text(max_size=60), st.integers(1, 80))


def wall_ms(seconds: float) -> int:
    return TIME_MS + int(seconds * 1_000)


def rejected(of: Record | None = None) -> DeadLetter:
    """One with everything there is to say."""
    return DeadLetter(
        of or record(42),
        Reason.REJECTED,
        Stage.DELIVER,
        "the API refused it",
        FAILED_AT,
        schema=SCHEMA,
        http_status=400,
        http_body='{"error": "bad"}',
        attempts=9,
    )


def undecodable(detail: str = "no known framing", of: Record | None = None) -> DeadLetter:
    """One with as little as there can be."""
    return DeadLetter(of or record(42), Reason.UNDECODABLE, Stage.DECODE, detail, FAILED_AT)


def headers(letter: DeadLetter, *, group: str = "dreamdata-worker", tp: TopicPartition = TP) -> Headers:
    return headers_of(letter, tp, group, wall_ms)


def own(letter: DeadLetter, *, group: str = "dreamdata-worker") -> dict[str, str]:
    """The worker's headers as text."""
    return {name: (value or b"").decode() for name, value in headers(letter, group=group) if name.startswith("dl-")}


def test_every_header_says_what_is_known() -> None:
    assert own(rejected()) == {
        "dl-reason": "rejected",
        "dl-detail": "the API refused it",
        "dl-stage": "deliver",
        "dl-topic": "delivery-dreamdata",
        "dl-partition": "3",
        "dl-offset": "42",
        "dl-timestamp": "2026-06-06T11:11:14.000Z",
        "dl-first-failed-at": "2026-06-06T11:11:31.250Z",
        "dl-schema": "id:7",
        "dl-http-status": "400",
        "dl-http-body": '{"error": "bad"}',
        "dl-attempts": "9",
        "dl-worker-version": __version__,
        "dl-group": "dreamdata-worker",
        "dl-redrives": "0",
    }


def test_what_is_not_known_has_no_header() -> None:
    unknown = set(own(rejected())) - set(own(undecodable(detail="")))
    assert unknown == {"dl-detail", "dl-schema", "dl-http-status", "dl-http-body"}


def test_a_record_without_a_time_has_no_timestamp_header() -> None:
    assert "dl-timestamp" not in own(undecodable(of=record(42, timestamp_ms=-1)))


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        pytest.param(0, "1970-01-01T00:00:00.000Z", id="epoch"),
        pytest.param(7, "1970-01-01T00:00:00.007Z", id="millis"),
        pytest.param(1_780_744_274_999, "2026-06-06T11:11:14.999Z", id="not rounded"),
        pytest.param(2**62, "4611686018427387904", id="beyond the calendar"),
    ],
)
def test_times_are_iso_in_utc_with_milliseconds(timestamp_ms: int, text: str) -> None:
    assert own(undecodable(of=record(42, timestamp_ms=timestamp_ms)))["dl-timestamp"] == text


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (SchemaRef.of_id(7), "id:7"),
        (SchemaRef.of_guid(UUID(int=1)), "guid:00000000-0000-0000-0000-000000000001"),
        (SchemaRef.of_fingerprint(bytes(range(8))), "fingerprint:0001020304050607"),
    ],
    ids=["id", "guid", "fingerprint"],
)
def test_a_schema_is_named_as_the_record_names_it(ref: SchemaRef, text: str) -> None:
    assert own(msgspec.structs.replace(rejected(), schema=ref))["dl-schema"] == text


def test_the_records_own_headers_come_first_byte_for_byte() -> None:
    theirs: Headers = (("trace", b"\xff\x00"), ("empty", b""), ("none", None), ("trace", b"again"), ("DL-x", b"1"))
    assert headers(undecodable(of=record(42, headers=theirs)))[: len(theirs)] == theirs


def test_an_older_dead_letters_headers_are_replaced() -> None:
    older: Headers = (("dl-reason", b"rejected"), ("dl-http-body", b"no"), ("dl-made-up", b"x"), ("trace", b"1"))
    found = headers(undecodable(of=record(42, headers=older)))
    assert [value for name, value in found if name == "dl-reason"] == [b"undecodable"]
    assert {"dl-http-body", "dl-made-up"}.isdisjoint(name for name, _ in found)


def test_of_the_body_the_first_1024_bytes_are_kept() -> None:
    letter = msgspec.structs.replace(rejected(), http_body="a" * 1_023 + "é" + "b" * 50)
    assert own(letter)["dl-http-body"] == "a" * 1_023


@pytest.mark.parametrize("character", ["x", "é", "€", "😀", "\x00", "\ud800"], ids=ascii)
@pytest.mark.parametrize("many", [10**5, 700], ids=["long", "middling"])
def test_own_headers_stay_within_4_kb(character: str, many: int) -> None:
    assert own_bytes(character * many, character * many, character * many) <= MAX_OWN_BYTES


@given(TEXTS, TEXTS, TEXTS)
def test_own_headers_stay_within_4_kb_whatever_the_texts(detail: str, body: str, group: str) -> None:
    assert own_bytes(detail, body, group) <= MAX_OWN_BYTES


def own_bytes(detail: str, body: str, group: str) -> int:
    letter = DeadLetter(
        record(2**63 - 1),
        Reason.UNKNOWN_SCHEMA,
        Stage.VALIDATE,
        detail,
        FAILED_AT,
        SchemaRef.of_guid(UUID(int=0)),
        599,
        body,
        10**9,
    )
    found = headers(letter, group=group, tp=TopicPartition("t" * 249, 2**31 - 1))
    return sum(len(name) + len(value or b"") for name, value in found)


def letter_record(headers: Headers, of: Record, offset: int = 7) -> Record:
    """A dead letter as it lies in its topic."""
    return Record(offset, TIME_MS + 1, of.key, of.value, headers)


def returned(of: Record, again: DeadLetter) -> Record:
    """A dead letter that was sent again and has failed in this way."""
    first = opened(of)
    assert first is not None
    return letter_record(headers_again(again, first), of, of.offset + 1)


def test_an_opened_letter_is_the_record_that_was_read_and_all_that_was_said() -> None:
    source = record(42, b"\x00bytes", key=b"df_1", headers=(("trace", b"\xff"), ("none", None), ("trace", b"again")))
    letter = opened(letter_record(headers(rejected(source)), source))
    assert letter is not None
    assert (letter.source, letter.record) == (TP, source)
    assert (letter.reason, letter.detail, letter.stage, letter.schema) == (
        "rejected",
        "the API refused it",
        "deliver",
        "id:7",
    )
    assert (letter.http_status, letter.http_body, letter.attempts, letter.redrives) == (400, '{"error": "bad"}', 9, 0)
    assert (letter.group, letter.worker_version) == ("dreamdata-worker", __version__)
    assert letter.first_failed_at_ms == wall_ms(FAILED_AT)


def test_of_a_letter_that_failed_again_the_last_failure_is_told() -> None:
    lies = letter_record(headers(rejected()), record(42))
    letter = opened(returned(lies, undecodable("other bytes", of=lies)))
    assert letter is not None
    assert (letter.reason, letter.detail, letter.stage, letter.http_status, letter.http_body) == (
        "undecodable",
        "other bytes",
        "decode",
        None,
        "",
    )


@pytest.mark.parametrize("missing", ["dl-reason", "dl-topic", "dl-partition", "dl-offset", "dl-group"])
def test_a_record_that_does_not_name_its_source_is_no_letter(missing: str) -> None:
    whole = headers(rejected())
    assert opened(record(1, headers=tuple(each for each in whole if each[0] != missing))) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dl-partition", b"-1"),
        ("dl-offset", b"4 2"),
        ("dl-offset", b"9" * 20),
        ("dl-offset", "\u0664".encode()),
        ("dl-offset", None),
        ("dl-timestamp", b"yesterday"),
        ("dl-timestamp", b"2026-06-06T11:11:14"),
        ("dl-redrives", b"\xff"),
        ("dl-http-status", b"teapot"),
        ("dl-topic", b""),
        ("dl-topic", b"t" * 250),
    ],
)
def test_a_header_that_no_worker_writes_makes_it_no_letter(name: str, value: bytes | None) -> None:
    whole = headers(rejected())
    assert opened(record(1, headers=tuple((each, value if each == name else was) for each, was in whole))) is None
