from typing import Any

import pytest

from tests.builders_avro import schema_of, shipped_schema
from worker.check.results import Result, Verdict
from worker.check.schemas import judge_schema
from worker.core.decoding import plan, refusal
from worker.core.plans import Plan

INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
CONSENT = {
    "type": "record",
    "name": "Context",
    "fields": [{"name": "consent", "type": {"type": "map", "values": "boolean"}}],
}
WHOLE: dict[str, Any] = {
    "type": "string",
    "event": "string",
    "anonymousId": "string",
    "timestamp": INSTANT,
    "context": CONSENT,
}


def judged(made: Plan, *, matters: bool = True, consent_required: bool = True) -> Result:
    return judge_schema("registry", "t-value", made, consent_required=consent_required, matters=matters)


def without(*names: str) -> Plan:
    return plan(schema_of(**{name: kind for name, kind in WHOLE.items() if name not in names}))


def test_the_shipped_schema_lacks_nothing() -> None:
    result = judged(plan(shipped_schema()))
    assert result.verdict is Verdict.OK
    assert "missing: none" in result.details


def test_fields_found_and_missing_are_named() -> None:
    result = judged(without())
    assert result.verdict is Verdict.OK
    found, missing = result.details
    assert found == "found: type, event, anonymousId, timestamp, context.consent"
    assert missing.startswith("missing: name, messageId, userId")
    assert result.what == "t-value: 5 fields found, 10 missing"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(without("type"), "without `type`", id="type"),
        pytest.param(without("anonymousId"), "neither `anonymousId` nor `userId`", id="ids"),
        pytest.param(without("timestamp"), "without `timestamp`", id="timestamp"),
        pytest.param(plan(schema_of(**{**WHOLE, "timestamp": "long"})), "says no instant", id="plain number"),
        pytest.param(without("context"), "`no-consent`", id="context"),
        pytest.param(refusal("id:7 is a schema of type PROTOBUF, not AVRO"), "PROTOBUF", id="Protobuf"),
        pytest.param(plan("string"), "top level is not a record", id="no record"),
    ],
)
def test_what_makes_every_event_fail_is_a_finding_where_events_are_expected(made: Plan, words: str) -> None:
    result = judged(made)
    assert result.verdict is Verdict.FINDING
    assert words in result.what
    assert judged(made, matters=False).verdict is Verdict.OK
    assert words in judged(made, matters=False).what


def test_a_user_id_alone_is_id_enough() -> None:
    fields = {**WHOLE, "userId": "string"}
    del fields["anonymousId"]
    assert judged(plan(schema_of(**fields))).verdict is Verdict.OK


def test_snake_case_counts_as_found() -> None:
    fields = {**WHOLE, "anonymous_id": "string"}
    del fields["anonymousId"]
    assert judged(plan(schema_of(**fields))).verdict is Verdict.OK


def test_consent_need_not_be_there_where_none_is_required() -> None:
    assert judged(without("context"), consent_required=False).verdict is Verdict.OK


def test_a_context_that_is_a_map_may_hold_consent() -> None:
    made = plan(schema_of(**{**WHOLE, "context": {"type": "map", "values": "string"}}))
    assert judged(made).verdict is Verdict.OK


def test_a_schema_for_page_views_alone_is_a_warning() -> None:
    assert judged(without("event")).verdict is Verdict.WARNING
