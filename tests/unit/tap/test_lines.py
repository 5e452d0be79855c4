from typing import Any

import pytest

from worker.tap.lines import line, stages

PICTURE: dict[str, Any] = {
    "at": "2026-06-06T11:11:14.123Z",
    "outcome": "delivered",
    "reason": "",
    "messageId": "evt_6f47f5a0",
    "event": "lead_generated",
    "topic": "delivery-dreamdata",
    "partition": 2,
    "offset": 41,
    "detail": "",
    "input": {"type": "track", "properties": {"value": 0}},
    "consent": {"analytics": True, "marketing": None, "advertising": False},
    "payload": {"type": "track"},
    "answer": {"status": "200", "attempts": 1, "milliseconds": 12, "events": 3},
}


def shown(**fields: object) -> str:
    return line({**PICTURE, **fields}).plain


def staged(**fields: object) -> str:
    return "\n".join(each.plain for each in stages({**PICTURE, **fields}))


def test_a_line_says_when_what_which_where_and_how_it_ended() -> None:
    assert shown().split() == [
        "11:11:14.123",
        "delivered",
        "lead_generated",
        "evt_6f47f5a0",
        "delivery-dreamdata[2]@41",
        "HTTP",
        "200",
    ]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"answer": None, "reason": "no-consent"}, "  no-consent"),
        ({"answer": None, "reason": "undecodable", "detail": "no framing"}, "  undecodable (no framing)"),
        ({"answer": {"status": "429", "attempts": 3}}, "  HTTP 429 attempt 3"),
        ({"answer": {"status": "timeout", "attempts": 1}}, "  timeout"),
        ({"answer": {"status": "200", "attempts": None}}, "  HTTP 200"),
        ({"answer": None}, "@41  "),
    ],
)
def test_a_line_ends_with_the_reason_or_the_answer(fields: dict[str, object], end: str) -> None:
    assert shown(**fields).endswith(end)


def test_what_has_no_name_and_no_id_is_a_dash() -> None:
    assert shown(event="", messageId="").split()[2:4] == ["-", "-"]


@pytest.mark.parametrize("trick", ["\x1b[2J", "\u009b2J", "\u202e", "a\rb", "\x07"])
def test_no_name_can_command_the_terminal(trick: str) -> None:
    everywhere = {
        "event": trick,
        "messageId": trick,
        "detail": trick,
        "input": {trick: trick},
        "consent": {trick: True},
        "payload": {trick: trick},
        "answer": {**PICTURE["answer"], "text": trick},
    }
    assert all(letter.isprintable() or letter == "\n" for letter in shown(**everywhere) + staged(**everywhere))


def test_the_stages_are_those_an_event_goes_through() -> None:
    assert staged().splitlines() == [
        "    input    {",
        '               "type": "track",',
        '               "properties": {',
        '                 "value": 0',
        "               }",
        "             }",
        "    consent  analytics granted, marketing missing, advertising denied",
        "    payload  {",
        '               "type": "track"',
        "             }",
        "    answer   HTTP 200, attempt 1, after 12 ms, in a batch of 3",
    ]


def test_an_event_is_shown_as_far_as_it_has_come() -> None:
    text = staged(payload=None, answer=None)
    assert "consent" in text
    assert "payload" not in text
    assert "answer" not in text


def test_where_no_consent_is_required_it_says_so() -> None:
    assert "consent  not required" in staged(consent={})


def test_a_record_that_cannot_be_read_says_why() -> None:
    nothing = {"input": None, "consent": None, "payload": None, "answer": None}
    assert staged(**nothing, detail="no known framing").strip() == "input    cannot be read: no known framing"
    assert staged(**nothing).strip() == "input    null"


def test_the_end_of_a_dead_letter_has_the_answers_text() -> None:
    answer = {"status": "400", "attempts": 2, "milliseconds": None, "events": None, "text": "bad form_id"}
    assert staged(answer=answer).splitlines()[-1] == "    answer   HTTP 400, attempt 2, bad form_id"
