import json
from collections.abc import Sequence

import pytest

from worker.sandbox.faults import Fault, FaultError, Faults, read_faults
from worker.sandbox.ledger import Ledger, Moment, Request
from worker.sandbox.rules import BODY_LIMIT_BYTES, Batch, Refusal, first_refusal, read

NOW = Moment(monotonic=10.0, epoch=1_780_744_274.120)


def item(**fields: object) -> dict[str, object]:
    """A track that the API takes; None leaves a field out."""
    whole = {
        "type": "track",
        "event": "lead_generated",
        "anonymousId": "df_8f2a1c9e",
        "messageId": "evt_1",
        "timestamp": "2026-06-06T11:11:14.000Z",
    } | fields
    return {name: value for name, value in whole.items() if value is not None}


def batch_of(*items: object) -> Batch:
    body = json.dumps({"messageId": "batch_1", "batch": items}).encode()
    batch = read(body, len(body))
    assert isinstance(batch, Batch)
    return batch


def refusal_of(body: bytes) -> Refusal:
    refusal = read(body, len(body))
    assert isinstance(refusal, Refusal)
    return refusal


def request(*message_ids: str, status: int = 200) -> Request:
    return Request(NOW, NOW, status, True, 100, message_ids, "{}")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="track"),
        pytest.param({"type": "page", "event": None}, id="page"),
        pytest.param({"type": "identify", "event": None}, id="identify"),
        pytest.param({"anonymousId": None, "userId": "user-123"}, id="userId alone"),
        pytest.param({"messageId": None}, id="no messageId"),
        pytest.param({"timestamp": "2024-02-29T23:59:59.999Z"}, id="leap day"),
    ],
)
def test_an_item_as_the_contract_describes_it_is_taken(fields: dict[str, object]) -> None:
    assert first_refusal(batch_of(item(**fields))) is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"anonymousId": None}, "neither anonymousId nor userId", id="no id"),
        pytest.param({"anonymousId": ""}, "neither anonymousId nor userId", id="empty id"),
        pytest.param({"anonymousId": 7}, "neither anonymousId nor userId", id="id is a number"),
        pytest.param({"type": "group"}, "type is none of", id="unknown type"),
        pytest.param({"type": None}, "type is none of", id="no type"),
        pytest.param({"event": None}, "without an event name", id="track without event"),
        pytest.param({"event": ""}, "without an event name", id="track with empty event"),
        pytest.param({"timestamp": None}, "timestamp", id="no timestamp"),
        pytest.param({"timestamp": 1_780_744_274_000}, "timestamp", id="timestamp is a number"),
        pytest.param({"timestamp": "2026-06-06T11:11:14Z"}, "timestamp", id="no milliseconds"),
        pytest.param({"timestamp": "2026-06-06T11:11:14.000000Z"}, "timestamp", id="microseconds"),
        pytest.param({"timestamp": "2026-06-06T11:11:14.000+00:00"}, "timestamp", id="offset"),
        pytest.param({"timestamp": "2026-02-30T11:11:14.000Z"}, "timestamp", id="no such day"),
        pytest.param({"timestamp": "2026-06-06T25:11:14.000Z"}, "timestamp", id="no such hour"),
        pytest.param({"timestamp": "2026-06-06T11:11:14.000Z\n"}, "timestamp", id="line break after it"),
        pytest.param({"timestamp": "٢٠٢٦-06-06T11:11:14.000Z"}, "timestamp", id="other digits"),
    ],
)
def test_an_item_the_api_would_refuse_is_refused(fields: dict[str, object], problem: str) -> None:
    refusal = first_refusal(batch_of(item(**fields)))
    assert refusal is not None
    assert refusal.status == 400
    assert problem in refusal.error


def test_a_refusal_names_the_item_that_is_wrong() -> None:
    refusal = first_refusal(batch_of(item(), item(messageId="evt_2", timestamp="now"), item(type="x")))
    assert refusal is not None
    assert (refusal.index, refusal.message_id) == (1, "evt_2")
    assert "batch[1] (messageId 'evt_2')" in refusal.error


@pytest.mark.parametrize("entry", [None, 1, "text", []], ids=["null", "number", "text", "array"])
def test_an_item_that_is_not_an_object_is_refused(entry: object) -> None:
    refusal = first_refusal(batch_of(entry))
    assert refusal is not None
    assert "not an object" in refusal.error


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(b'{"batch": [', id="truncated"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{}", id="no batch"),
        pytest.param(b'{"batch": {}}', id="batch is an object"),
        pytest.param(b'{"batch": []}', id="empty batch"),
        pytest.param(b'{"batch": [{"type": NaN}]}', id="NaN"),
        pytest.param(b'{"batch": [{"type": "\xff"}]}', id="not UTF-8"),
    ],
)
def test_a_body_that_holds_no_batch_is_refused(body: bytes) -> None:
    assert refusal_of(body).status == 400


@pytest.mark.parametrize(("spare_bytes", "status"), [(1, 200), (0, 413)], ids=["one below", "at the limit"])
def test_a_body_must_stay_below_the_limit(spare_bytes: int, status: int) -> None:
    body = json.dumps({"batch": [item()]}).encode().ljust(BODY_LIMIT_BYTES - spare_bytes)
    content = read(body, len(body))
    assert (content.status if isinstance(content, Refusal) else 200) == status


def test_an_item_is_kept_as_it_came() -> None:
    entry = item(properties={"value": 0, "ok": False, "none": None, "text": "", "products": [{"sku": "é"}]})
    assert batch_of(entry).items[0].fields == entry


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        pytest.param({"status": 500}, "not a JSON array", id="no array"),
        pytest.param([{"count": 1}], "needs a status", id="neither status nor delay"),
        pytest.param([{"status": "500"}], "status", id="status is text"),
        pytest.param([{"status": 99}], "status", id="no status at all"),
        pytest.param([{"status": 100}], "200 to 599", id="interim status"),
        pytest.param([{"status": 600}], "status", id="status too high"),
        pytest.param([{"delay_ms": -1}], "delay_ms", id="negative delay"),
        pytest.param([{"status": 500, "count": 0}], "count", id="count of nothing"),
        pytest.param([{"status": 500, "sometimes": True}], "sometimes", id="unknown field"),
        pytest.param([{"delay_ms": 5, "retry_after": "5"}], "retry_after", id="retry_after without status"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(faults: object, problem: str) -> None:
    with pytest.raises(FaultError, match=problem):
        read_faults(json.dumps(faults).encode())


def test_every_wrong_fault_is_named() -> None:
    with pytest.raises(FaultError) as caught:
        read_faults(b'[{"status": 500}, {"colour": "red"}, {"status": 1}]')
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["faults[1]", "faults[2]"]


def test_the_fault_of_the_design_is_understood() -> None:
    body = b'[{"status": 429, "delay_ms": 0, "retry_after": "5", "message_id": null, "count": 3}]'
    assert read_faults(body) == [Fault(status=429, retry_after="5", count=3)]


def taken(faults: Faults, *requests: Sequence[str]) -> list[int | None]:
    return [fault.status if (fault := faults.take(message_ids)) else None for message_ids in requests]


def test_a_fault_is_used_up_after_its_count() -> None:
    faults = Faults()
    faults.put([Fault(status=500, count=2)])
    assert taken(faults, [], [], []) == [500, 500, None]


def test_a_fault_without_count_stays_until_it_is_replaced() -> None:
    faults = Faults()
    faults.put([Fault(status=500)])
    assert taken(faults, [], [], []) == [500, 500, 500]
    faults.put([])
    assert taken(faults, []) == [None]


def test_a_fault_with_a_message_id_is_for_requests_that_hold_it() -> None:
    faults = Faults()
    faults.put([Fault(status=400, message_id="evt_2")])
    assert taken(faults, ["evt_1"], ["evt_1", "evt_2"], []) == [None, 400, None]


def test_the_first_fault_that_fits_is_taken() -> None:
    faults = Faults()
    faults.put([Fault(status=400, message_id="evt_2"), Fault(status=500, count=1), Fault(status=503, count=1)])
    assert taken(faults, ["evt_1"], ["evt_2"], ["evt_1"]) == [500, 400, 503]


def test_faults_left_show_what_is_still_to_come() -> None:
    faults = Faults()
    faults.put([Fault(status=500, count=3)])
    faults.take([])
    assert faults.left() == [Fault(status=500, count=2)]


def test_the_ledger_numbers_events_in_the_order_they_came() -> None:
    ledger = Ledger(max_events=10, max_event_bytes=10_000)
    ledger.accepted(batch_of(item(messageId="a"), item(messageId="b")), b"{}", NOW)
    ledger.accepted(batch_of(item(messageId="c")), b"{}", NOW)
    assert [(event.sequence, event.message_id) for event in ledger.events()] == [(1, "a"), (2, "b"), (3, "c")]


def test_the_ledger_remembers_the_latest_events_only() -> None:
    ledger = Ledger(max_events=2, max_event_bytes=10_000)
    ledger.accepted(batch_of(*(item(messageId=name) for name in "abcd")), b"{}", NOW)
    assert [event.message_id for event in ledger.events()] == ["c", "d"]


def test_the_ledger_forgets_early_events_when_the_bytes_are_too_many() -> None:
    size = len(json.dumps(item(messageId="a")))
    ledger = Ledger(max_events=10, max_event_bytes=2 * size)
    ledger.accepted(batch_of(*(item(messageId=name) for name in "abcd")), b"{}", NOW)
    assert [event.message_id for event in ledger.events()] == ["c", "d"]


def test_the_ledger_counts_what_it_no_longer_remembers() -> None:
    ledger = Ledger(max_events=2, max_event_bytes=10_000)
    ledger.accepted(batch_of(*(item(messageId=name) for name in "abcd")), b"{}", NOW)
    assert ledger.totals().accepted == 4


def test_the_ledger_counts_requests_by_answer() -> None:
    ledger = Ledger(max_events=2, max_event_bytes=10_000)
    for status in (200, 429, 200):
        ledger.started()
        ledger.answered(request(status=status))
    assert ledger.totals().statuses == {200: 2, 429: 1}


def test_the_ledger_numbers_requests_in_the_order_of_their_answers() -> None:
    ledger = Ledger(max_events=2, max_event_bytes=10_000)
    for message_id in "ab":
        ledger.started()
        ledger.answered(request(message_id))
    assert [(each.sequence, each.message_ids) for each in ledger.requests()] == [(1, ("a",)), (2, ("b",))]


def test_the_ledger_knows_how_many_requests_were_in_flight_at_once() -> None:
    ledger = Ledger(max_events=2, max_event_bytes=10_000)
    ledger.started()
    ledger.started()
    ledger.answered(request())
    assert (ledger.in_flight, ledger.max_in_flight) == (1, 2)


def test_a_moment_is_shown_in_utc_with_milliseconds() -> None:
    assert str(NOW) == "2026-06-06T11:11:14.120Z"
