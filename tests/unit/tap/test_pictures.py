from typing import Any

import msgspec
import pytest

from tests.builders import TIME_MS, TP, event, record
from worker.core.decoding import Event
from worker.core.outcomes import Reason
from worker.tap.moments import Moment, Reply, Seen
from worker.tap.pictures import STAGE_MAX_BYTES, Pictures

EMAIL = "jane.doe@acme.com"
PAYLOAD = msgspec.json.encode({"type": "track", "event": "lead_generated", "traits": {"email": EMAIL}})
WHOLE = event(
    traits={"email": EMAIL},
    user_id=EMAIL,
    context={"ip": "24.5.68.47"},
    consent={"analytics": True, "marketing": False},
)


def moment(**fields: Any) -> Moment:
    given = {"message_id": "evt_1", "name": "Lead Generated", **fields}
    return Moment(TIME_MS, TP, record(7), given.pop("seen", Seen.DELIVERED), **given)


def drawn(
    shown: Moment, of: Event | None = WHOLE, *, reveal: bool = False, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    picture: dict[str, Any] = msgspec.json.decode(Pictures(required).draw(shown, of, reveal=reveal))
    return picture


def test_a_moment_says_where_when_and_why() -> None:
    picture = drawn(moment(seen=Seen.FILTERED, reason=Reason.UNMAPPED, detail="a detail"))
    assert {name: value for name, value in picture.items() if name not in ("input", "consent")} == {
        "at": "2026-06-06T11:11:14.000Z",
        "outcome": "filtered",
        "reason": "unmapped",
        "messageId": "evt_1",
        "event": "Lead Generated",
        "topic": TP.topic,
        "partition": 0,
        "offset": 7,
        "detail": "a detail",
        "payload": None,
        "answer": None,
    }


def test_the_input_is_in_signals_words_without_what_is_absent() -> None:
    assert drawn(moment(), reveal=True)["input"] == {
        "type": "track",
        "event": "Lead Generated",
        "messageId": "evt_6f47f5a0",
        "anonymousId": "df_8f2a1c9e",
        "userId": EMAIL,
        "timestamp": "2026-06-06T11:11:14.000Z",
        "traits": {"email": EMAIL},
        "context": {"ip": "24.5.68.47", "consent": {"analytics": True, "marketing": False}},
    }


@pytest.mark.parametrize("secret", [EMAIL, "24.5.68.47", "what the API said"])
def test_personal_data_is_masked_in_every_stage_unless_it_is_asked_for(secret: str) -> None:
    shown = moment(payload=PAYLOAD, reply=Reply("400", 1, "what the API said"))
    assert secret.encode() not in Pictures(()).draw(shown, WHOLE, reveal=False)
    assert secret.encode() in Pictures(()).draw(shown, WHOLE, reveal=True)


def test_what_the_network_said_quotes_nobody_and_is_shown() -> None:
    reply = Reply("no-answer", 1, "connection refused", quotes=False)
    assert drawn(moment(reply=reply))["answer"]["text"] == "connection refused"


def test_consent_is_shown_for_each_category_that_is_required() -> None:
    picture = drawn(moment(), required=("analytics", "marketing", "advertising", "essential"))
    assert picture["consent"] == {"analytics": True, "marketing": False, "advertising": None, "essential": True}


def test_consent_that_is_no_boolean_is_as_good_as_missing() -> None:
    assert drawn(moment(), event(consent={"analytics": "true"}), required=("analytics",))["consent"] == {
        "analytics": None
    }


def test_a_record_that_cannot_be_read_has_neither_input_nor_consent() -> None:
    picture = drawn(moment(seen=Seen.DEAD_LETTERED, reason=Reason.UNDECODABLE), None)
    assert (picture["input"], picture["consent"]) == (None, None)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"note": "x" * 500_000, "form_id": "demo-request"}, id="one large property"),
        pytest.param({str(number): "x" * 1_000 for number in range(500)}, id="many small ones"),
        pytest.param({"products": [{"sku": "x" * 100} for _ in range(5_000)]}, id="a long list"),
    ],
)
def test_what_is_large_is_cut_and_its_size_named(properties: dict[str, object]) -> None:
    picture = drawn(moment(), event(properties=properties), reveal=True)
    assert len(msgspec.json.encode(picture["input"])) <= STAGE_MAX_BYTES
    assert picture["input"]["messageId"] == "evt_6f47f5a0"
    assert "(cut: " in str(picture["input"]["properties"])


def test_beside_a_large_property_the_small_ones_are_shown() -> None:
    picture = drawn(moment(), event(properties={"note": "x" * 500_000, "value": 7}))
    assert picture["input"]["properties"] == {"note": "x***", "value": 7}, "masked it is small enough"
    picture = drawn(moment(), event(properties={"note": "x" * 500_000, "value": 7}), reveal=True)
    assert picture["input"]["properties"] == {"note": "(cut: 500002 bytes)", "value": 7}


def test_what_is_nested_without_end_ends_no_stream() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert drawn(moment(), event(properties={"deep": value}), reveal=True)["input"] == "(nested too deeply to be shown)"
