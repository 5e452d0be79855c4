import json
from collections import Counter
from collections.abc import Mapping
from itertools import islice

import pytest

from worker.core.outcomes import Outcome, Reason
from worker.demo import jane
from worker.demo.site import FEWEST_EVENTS, REQUIRED_CONSENT, Produced, endless, produced, recorded
from worker.demo.visitors import Event


def as_json(event: Event) -> bytes:
    return json.dumps(event).encode()


def traffic(events: int = 2000, seed: int = 1) -> list[Produced]:
    return recorded(seed=seed, events=events, encode=as_json)


def event_of(record: Produced) -> Mapping[str, object]:
    assert record.message_id
    event: Mapping[str, object] = json.loads(record.value or b"")
    return event


def consent_of(record: Produced) -> Mapping[str, object]:
    context = event_of(record)["context"]
    assert isinstance(context, dict)
    consent = context["consent"] or {}
    given = consent.get("canonical") or consent.get("categories") or consent
    assert isinstance(given, dict)
    return given


@pytest.mark.parametrize("events", [FEWEST_EVENTS, 2000])
def test_exactly_as_many_records_come_as_were_asked_for(events: int) -> None:
    assert len(traffic(events)) == events


def test_the_same_seed_gives_the_same_traffic() -> None:
    assert traffic(seed=5) == traffic(seed=5)


def test_another_seed_brings_other_visitors_and_jane() -> None:
    keys = [{record.key for record in traffic(seed=seed)} for seed in (5, 6)]

    assert keys[0] & keys[1] == {jane.ANONYMOUS_ID.encode()}


def test_every_event_has_an_id_of_its_own() -> None:
    ids = [record.message_id for record in traffic() if record.message_id]

    assert len(ids) == len(set(ids))


def test_records_are_keyed_by_the_visitor() -> None:
    keys = {(record.key.decode(), event_of(record)["anonymousId"]) for record in traffic() if record.message_id}

    assert {key == visitor for key, visitor in keys if visitor is not None} == {True}


def test_one_visitors_events_are_in_the_order_of_their_times() -> None:
    times: dict[bytes, int] = {}
    for record in traffic():
        if record.message_id:
            at_ms = event_of(record)["timestamp"]
            assert isinstance(at_ms, int)
            assert at_ms > times.get(record.key, 0)
            times[record.key] = at_ms


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.DELIVERED, Reason.DELIVERED),
        (Outcome.FILTERED, Reason.NULL_VALUE),
        (Outcome.FILTERED, Reason.NO_CONSENT),
        (Outcome.FILTERED, Reason.CONSENT_DENIED),
        (Outcome.FILTERED, Reason.ABSORBED),
        (Outcome.FILTERED, Reason.UNMAPPED),
        (Outcome.DEAD_LETTERED, Reason.UNDECODABLE),
        (Outcome.DEAD_LETTERED, Reason.UNKNOWN_SCHEMA),
        (Outcome.DEAD_LETTERED, Reason.INVALID_EVENT),
        (Outcome.DEAD_LETTERED, Reason.TOO_LARGE),
        (Outcome.DEAD_LETTERED, Reason.REJECTED),
    ],
)
def test_every_outcome_a_newcomer_should_see_is_there(outcome: Outcome, reason: Reason) -> None:
    assert Counter((record.outcome, record.reason) for record in traffic())[outcome, reason] > 0


def test_most_of_the_traffic_is_delivered() -> None:
    records = traffic()

    assert len([record for record in records if record.outcome is Outcome.DELIVERED]) > len(records) / 2


def test_what_is_delivered_has_consent() -> None:
    delivered = [record for record in traffic() if record.outcome is Outcome.DELIVERED]

    assert all(consent_of(record).get(category) is True for record in delivered for category in REQUIRED_CONSENT)


def test_what_is_filtered_for_denied_consent_says_so_itself() -> None:
    denied = [record for record in traffic() if record.reason is Reason.CONSENT_DENIED]

    assert all(False in consent_of(record).values() for record in denied)


def test_what_is_filtered_for_missing_consent_denies_nothing() -> None:
    missing = [record for record in traffic() if record.reason is Reason.NO_CONSENT]

    assert all(False not in consent_of(record).values() for record in missing)


def test_the_oversize_event_is_larger_than_a_request_and_smaller_than_kafkas_limit() -> None:
    (oversize,) = [record for record in traffic() if record.reason is Reason.TOO_LARGE]

    assert 500_000 < len(oversize.value or b"") < 1_000_000


def test_janes_lead_is_the_contracts_example() -> None:
    (lead,) = [event_of(record) for record in traffic() if record.message_id == jane.LEAD_MESSAGE_ID]

    assert lead["timestamp"] == 1_780_744_274_000  # 2026-06-06T11:11:14Z
    assert (lead["type"], lead["event"], lead["userId"]) == ("track", "Lead Generated", "user-123")
    assert lead["properties"] == {"form_id": "demo-request", "value": 0, "currency": "USD"}


def test_jane_is_identified_after_her_page_and_before_her_lead() -> None:
    janes = [event_of(record) for record in traffic() if record.key == jane.ANONYMOUS_ID.encode()]

    assert [event["type"] for event in janes] == ["page", "identify", "track", "track"]


def test_endless_traffic_is_many_visitors_at_once() -> None:
    steps = list(islice(endless(1), 60))

    assert len({step.key for step in steps}) > 10


def test_endless_traffic_tells_every_story_to_its_end() -> None:
    outcomes = {(step.outcome, step.reason) for step in islice(endless(1), 5000)}

    assert (Outcome.DELIVERED, Reason.DELIVERED) in outcomes
    assert (Outcome.FILTERED, Reason.ABSORBED) in outcomes
    assert (Outcome.DEAD_LETTERED, Reason.UNDECODABLE) in outcomes


def test_a_step_gets_its_time_when_it_is_produced() -> None:
    step = next(endless(1))

    assert event_of(produced(step, 1_800_000_000_000, as_json))["timestamp"] == 1_800_000_000_000
