import json
import queue
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest

from tests.builders import (
    GRANTED,
    PLAN,
    SCHEMA,
    TIME_MS,
    TP,
    identify,
    pipeline,
    policy,
    record,
    signal,
    undecodable,
    without_consent,
)
from tests.builders_avro import Shape, encode, schema_of, shaped, shipped_schema, single_object, writer_schema
from worker.core.decoding import SchemaAnswer, SchemaKnown, SchemaRef, SchemaUnavailable, SchemaUnknown
from worker.core.lanes import Limits
from worker.core.records import Record
from worker.errors import SettingsError
from worker.render.asking import answers
from worker.render.expected import difference, parsed
from worker.render.inputs import JSON_LINES, read_events
from worker.render.lines import SENT_AT, BodyLine, Line, RecordLine, as_text, chosen, json_of, lines_of, summary, waits
from worker.render.rehearsal import Find, rehearse

OTHER = SchemaRef.of_id(8)


def unasked(_refs: Sequence[SchemaRef]) -> Iterable[SchemaAnswer]:
    raise AssertionError("nothing was to be asked for")


def lines(records: Sequence[Record], limits: Limits | None = None, find: Find = unasked, **chosen: Any) -> list[Line]:
    made = pipeline(limits, policy(batch_max_bytes=(limits or Limits()).batch_max_bytes, **chosen))
    return lines_of(rehearse(made, TP, records, find))


def records_in(given: Iterable[Line]) -> list[RecordLine]:
    return [line for line in given if isinstance(line, RecordLine)]


def bodies_in(given: Iterable[Line]) -> list[BodyLine]:
    return [line for line in given if isinstance(line, BodyLine)]


def outcomes(given: Iterable[Line]) -> list[tuple[int, str, str]]:
    return [(line.offset, line.outcome, line.reason) for line in records_in(given)]


def file_lines(content: bytes, **options: Any) -> list[Line]:
    file = read_events("events", content, **options)
    made = pipeline()
    made.intake.known(file.schema, file.plan)
    return lines_of(rehearse(made, TP, file.records, unasked))


def json_lines(*events: object) -> bytes:
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Lead Generated",
        "messageId": "evt_0",
        "anonymousId": "df_8f2a1c9e",
        "timestamp": TIME_MS,
        "context": {"consent": GRANTED},
        **fields,
    }


def test_every_record_has_one_outcome_with_its_reason() -> None:
    records = [
        signal(0),
        record(1, None),
        without_consent(2),
        identify(3, userId="u", traits={"email": "jane.doe@acme.com"}),
        signal(5, event="Demo Booked"),
        signal(6, anonymousId=None),
        undecodable(7),
        signal(9, type="page", event=None, name="Pricing"),
    ]
    assert outcomes(lines(records)) == [
        (0, "delivered", ""),
        (1, "filtered", "null-value"),
        (2, "filtered", "no-consent"),
        (3, "filtered", "absorbed"),
        (5, "filtered", "unmapped"),
        (6, "dead_lettered", "invalid-event"),
        (7, "dead_lettered", "undecodable"),
        (9, "delivered", ""),
    ]


def test_a_record_says_what_signal_called_it_and_what_dreamdata_gets_to_read() -> None:
    given = lines(
        [signal(0, event="Demo Booked"), signal(1, type="page", event=None, name="Pricing")], forward_unmapped=True
    )
    told = [(line.type, line.name, line.event, line.message_id, line.identified) for line in records_in(given)]
    assert told == [
        ("track", "Demo Booked", "demo_booked", "evt_0", False),
        ("page", "Pricing", "page", "evt_1", False),
    ]


def test_traits_learned_within_the_range_ride_on_later_events() -> None:
    given = lines([signal(0), identify(1, traits={"email": "jane.doe@acme.com"}), signal(2)])
    assert [line.identified for line in records_in(given)] == [False, None, True]
    [body] = bodies_in(given)
    batch = msgspec.json.decode(body.body)["batch"]
    assert [item.get("traits") for item in batch] == [None, {"email": "jane.doe@acme.com"}]


def test_bodies_are_filled_up_as_under_a_backlog_and_answer_for_all_offsets() -> None:
    limits = Limits(batch_max_bytes=1_000, batch_max_events=3)
    given = bodies_in(lines([signal(n) for n in range(8)], limits))
    assert [(body.first_offset, body.next_offset, body.events) for body in given] == [(0, 3, 3), (3, 6, 3), (6, 8, 2)]
    assert all(len(body.body) == body.bytes < 1_000 for body in given)
    assert all(msgspec.json.decode(body.body)["sentAt"] == SENT_AT for body in given)


def test_thousands_of_bodies_and_dead_letters_come_to_an_end() -> None:
    records = [signal(n) if n % 2 else undecodable(n) for n in range(4_000)]
    given = lines(records, Limits(batch_max_events=1))
    assert summary(given).startswith("4000 records: 2000 delivered, 2000 dead_lettered; 2000 bodies, ")


def test_a_schema_is_asked_for_once_and_what_it_reads_goes_into_one_body() -> None:
    asked: list[SchemaRef] = []

    def find(refs: Sequence[SchemaRef]) -> list[SchemaAnswer]:
        asked.extend(refs)
        return [SchemaKnown(ref, PLAN) for ref in refs]

    given = lines([signal(0), signal(1, OTHER), signal(2)], find=find)
    assert asked == [OTHER]
    assert [body.events for body in bodies_in(given)] == [3]


def test_a_schema_that_does_not_exist_is_a_dead_letter_that_names_it() -> None:
    given = lines(
        [signal(0, OTHER), signal(1)], find=lambda refs: [SchemaUnknown(ref, "no such schema") for ref in refs]
    )
    assert outcomes(given) == [(0, "dead_lettered", "unknown-schema"), (1, "delivered", "")]
    assert records_in(given)[0].schema == "id:8"


def test_records_wait_for_a_schema_that_cannot_be_had_with_all_behind_them() -> None:
    records = [signal(0), signal(1, OTHER), signal(2)]
    given = lines(records, find=lambda refs: [SchemaUnavailable(ref, "set SCHEMA_REGISTRY_URL") for ref in refs])
    assert outcomes(given) == [(0, "delivered", ""), (1, "waiting", "schema"), (2, "waiting", "schema")]
    assert waits(given)
    assert "schema id:8: set SCHEMA_REGISTRY_URL" in str(records_in(given)[1].detail)
    assert [body.next_offset for body in bodies_in(given)] == [1]


def test_too_many_undecodable_records_in_a_row_wait_as_they_hold_run() -> None:
    given = lines([*map(undecodable, range(3)), record(3, None)], Limits(rejection_limit=2))
    assert outcomes(given)[1:] == [
        (1, "dead_lettered", "undecodable"),
        (2, "waiting", "undecodable"),
        (3, "waiting", "null-value"),
    ]
    assert "REJECTION_LIMIT=2" in str(records_in(given)[2].detail)
    assert not waits(lines([*map(undecodable, range(3)), signal(3)], Limits(rejection_limit=2))), "one that decodes"


def test_no_records_are_nothing() -> None:
    assert lines([]) == []
    assert summary([]) == "0 records: none; 0 bodies, 0 bytes. Nothing was sent or committed."


# what asks for schemas


class Registry:
    """Answers each request for a schema as it was told to, one answer after the other."""

    def __init__(self, *script: SchemaAnswer) -> None:
        self.inbox: queue.SimpleQueue[SchemaAnswer] = queue.SimpleQueue()
        self._script = script

    def fetch(self, ref: SchemaRef) -> None:
        for answer in self._script:
            if answer.ref == ref:
                self.inbox.put(answer)


DOWN = SchemaUnavailable(SCHEMA, "down")


@pytest.mark.parametrize(
    ("script", "tries", "expected"),
    [
        pytest.param(
            (SchemaUnknown(SCHEMA, "no"), SchemaKnown(SCHEMA, PLAN)), 2, SchemaUnknown(SCHEMA, "no"), id="a-no"
        ),
        pytest.param((DOWN, SchemaKnown(SCHEMA, PLAN)), 2, SchemaKnown(SCHEMA, PLAN), id="a-hiccup"),
        pytest.param((DOWN, DOWN, SchemaKnown(SCHEMA, PLAN)), 2, DOWN, id="down"),
        pytest.param((DOWN, SchemaKnown(SCHEMA, PLAN)), 1, DOWN, id="nobody-to-ask"),
    ],
)
def test_a_final_answer_counts_or_the_last_excuse_after_enough_tries(
    script: tuple[SchemaAnswer, ...], tries: int, expected: SchemaAnswer
) -> None:
    registry = Registry(*script)
    assert answers([SCHEMA], registry.fetch, registry.inbox, lambda: 0.0, tries=tries) == [expected]


def test_silence_is_an_answer_once_patience_is_over() -> None:
    registry = Registry(SchemaKnown(OTHER, PLAN))
    [silent, known] = answers([SCHEMA, OTHER], registry.fetch, registry.inbox, lambda: 0.0, patience_seconds=0.01)
    assert silent == SchemaUnavailable(SCHEMA, "no answer within 0.01 s")
    assert known == SchemaKnown(OTHER, PLAN)


# files


def test_lines_are_numbered_from_0_and_empty_ones_are_no_records() -> None:
    content = b"\xef\xbb\xbf" + json_lines(event()) + b"\r\n  \n" + json_lines(event(messageId="evt_3"))
    assert [(line.offset, line.message_id) for line in records_in(file_lines(content))] == [(0, "evt_0"), (3, "evt_3")]


@pytest.mark.parametrize(
    "line",
    [b"oops", b'["an array"]', b"null", b"\xff\xfe{", b'{"type": NaN}', b'{"a":' * 50_000, b'{"type": "track"'],
    ids=["text", "array", "null", "no-utf-8", "nan", "deep", "cut-off"],
)
def test_a_bad_line_is_a_dead_letter_of_its_own(line: bytes) -> None:
    given = file_lines(json_lines(event()) + line + b"\n" + json_lines(event(messageId="evt_2")))
    assert outcomes(given) == [(0, "delivered", ""), (1, "dead_lettered", "undecodable"), (2, "delivered", "")]
    assert records_in(given)[1].detail == "it is no JSON object"


@pytest.mark.parametrize(
    ("timestamp", "sent"),
    [
        pytest.param(TIME_MS, "2026-06-06T11:11:14.000Z", id="milliseconds"),
        pytest.param("2026-06-06T13:11:14.0009+02:00", "2026-06-06T11:11:14.000Z", id="text-with-zone"),
        pytest.param("2026-06-06T11:11:14", None, id="text-without"),
        pytest.param(1780744274.5, None, id="fraction"),
    ],
)
def test_a_lines_timestamp_is_read_as_the_shipped_schemas_or_as_text(timestamp: object, sent: str | None) -> None:
    given = file_lines(json_lines(event(timestamp=timestamp)))
    found = [msgspec.json.decode(body.body)["batch"][0]["timestamp"] for body in bodies_in(given)]
    assert found == ([sent] if sent else [])


def test_a_line_in_snake_case_is_the_same_event() -> None:
    camel = event(userId="u", context={"consent": GRANTED, "userAgent": "Mozilla/5.0"})
    snake = {
        **event(context={"consent": GRANTED, "user_agent": "Mozilla/5.0"}),
        "message_id": "evt_0",
        "anonymous_id": "df_8f2a1c9e",
        "user_id": "u",
    }
    del snake["messageId"], snake["anonymousId"]
    assert bodies_in(file_lines(json_lines(snake))) == bodies_in(file_lines(json_lines(camel)))


def test_an_event_of_a_file_without_an_id_gets_the_one_of_its_line() -> None:
    content = json_lines(event(messageId=None), event(messageId=None))
    first, second = (line.message_id for line in records_in(file_lines(content)))
    assert first != second
    assert [line.message_id for line in records_in(file_lines(content, first=1))] == [second]


def test_a_part_of_a_file_keeps_its_numbers() -> None:
    content = json_lines(*(event(messageId=f"evt_{n}") for n in range(5)))
    assert [line.offset for line in records_in(file_lines(content, first=1, count=3))] == [1, 2, 3]


def container(schema: Any, data: Sequence[Any], codec: str = "null") -> bytes:
    stream = BytesIO()
    fastavro.writer(stream, schema, data, codec=codec)
    return stream.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
@pytest.mark.parametrize(
    "shape",
    [Shape(), Shape("snake", "map", "json", "json", "iso", "enum"), Shape(time="micros", free="record")],
    ids=["shipped-like", "snake", "micros"],
)
def test_a_container_of_any_writer_schema_is_read_as_its_records_would_be(shape: Shape, codec: str) -> None:
    events = [event(messageId=f"evt_{n}", properties={"n": n, "list": [1, {"a": None}]}) for n in range(3)]
    schema = writer_schema(shape, events[0])
    given = file_lines(container(schema, [shaped(shape, each) for each in events], codec))
    assert [body.body for body in bodies_in(given)] == [
        body.body for body in bodies_in(file_lines(json_lines(*events)))
    ]


def test_a_container_s_record_is_framed_as_a_producer_would() -> None:
    schema = shipped_schema()
    content = container(schema, [event(), event(messageId="evt_1")])
    values = [each.value for each in read_events("events", content).records]
    assert values == [single_object(schema, encode(schema, each)) for each in (event(), event(messageId="evt_1"))]


def test_a_damaged_record_takes_the_rest_of_its_block_with_it_and_no_more() -> None:
    schema = schema_of(type="string", event="string", messageId="string")
    good = {"type": "track", "event": "X", "messageId": "evt"}
    stream = BytesIO()
    fastavro.writer(stream, schema, [good, {**good, "event": "BROKEN"}, good])
    fastavro.writer(stream, schema, [good])  # appends a block
    records = read_events("events", stream.getvalue().replace(b"\x0cBROKEN", b"\x7fBROKEN")).records
    assert [each.offset for each in records] == [0, 1, 3]
    assert records[0].value == records[2].value == single_object(schema, encode(schema, good))
    assert outcomes(file_lines(stream.getvalue().replace(b"\x0cBROKEN", b"\x7fBROKEN")))[1] == (
        1,
        "dead_lettered",
        "undecodable",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"Obj\x01garbage", "header cannot be read", id="header"),
        pytest.param(container(shipped_schema(), [event()])[:-5], "damaged", id="cut-off"),
        pytest.param(
            container(shipped_schema(), [event()]).replace(b"null", b"nope", 1), "cannot be read|codec", id="codec"
        ),
        pytest.param(container(schema_of(a={"type": "array", "items": "null"}), []), "items take no bytes", id="bomb"),
    ],
)
def test_a_container_that_cannot_be_read_is_refused_by_name(content: bytes, words: str) -> None:
    with pytest.raises(SettingsError, match=f"events.*({words})"):
        read_events("events", content)


# what is written, and compared


def test_json_lines_hold_bodies_byte_for_byte() -> None:
    given = lines([signal(0, properties={"price": 1.0, "name": "Zoë"})])
    written = json_of(bodies_in(given)[0])
    assert bytes(bodies_in(given)[0].body) in written
    assert json.loads(written)["kind"] == "body"


def test_control_characters_of_an_event_do_not_reach_the_terminal() -> None:
    given = lines([signal(0, properties={"form": "\x9b2J"}), signal(1, event="\x1b[2J", messageId="evt\x9b1\x07")])
    assert "".join(as_text(given)).isprintable()


def test_what_was_written_is_as_expected() -> None:
    given = lines(
        [signal(0), undecodable(1), without_consent(2), signal(3, OTHER)],
        find=lambda refs: [SchemaUnavailable(ref, "down") for ref in refs],
    )
    written = b"\n".join(map(json_of, given))
    assert difference("expected", parsed("expected", written), given) == []


def test_neither_the_time_of_sending_nor_the_wording_of_details_is_a_difference() -> None:
    given = lines([signal(0), undecodable(1)])
    written = b"\n".join(map(json_of, given))
    other = written.replace(SENT_AT.encode(), b"2026-06-06T11:11:15.120Z").replace(b"neither", b"not")
    assert other.count(b"2026") > 0
    assert b"not 0x00" in other
    assert difference("expected", parsed("expected", other), given) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {"mapping": {"Lead Generated": "lead"}}, id="renamed"),
        pytest.param({}, {"mapping": {"Lead Generated": False}}, id="switched-off"),
        pytest.param({}, {"consent": ("advertising",)}, id="consent"),
        pytest.param({"traits": None}, {"traits": ("email",)}, id="traits"),
    ],
)
def test_what_changes_bodies_or_outcomes_is_a_difference(before: dict[str, Any], after: dict[str, Any]) -> None:
    records = [signal(0, traits={"plan": "pro"})]
    found = difference("expected", lines(records, **before), lines(records, **after))
    assert found[:2] == ["--- expected", "+++ rendered"]
    assert any(line.startswith("-") for line in found[2:])


def test_a_line_that_render_has_not_written_is_named() -> None:
    written = json_of(lines([signal(0)])[0]) + b"\n\n" + json_lines(event())
    with pytest.raises(SettingsError, match="line 3 of expected"):
        parsed("expected", written)


def test_only_what_is_asked_for_is_chosen() -> None:
    given = lines([signal(0), undecodable(1)])
    assert chosen(given, None) == given
    assert chosen(given, "outcomes") == records_in(given)
    assert chosen(given, "bodies") == bodies_in(given)


def test_a_file_of_json_lines_names_no_schema() -> None:
    assert read_events("events", b"oops").schema == JSON_LINES
    assert records_in(file_lines(b"oops"))[0].schema is None
