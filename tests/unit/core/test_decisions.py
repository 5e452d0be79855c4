"""One event, one decision: order, reasons, identity and the shape of what goes out."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.builders import GRANTED, SCHEMA, TIME_MS, TP, TTL_MS, event, policy, record
from worker.core.batching import Batch, Item
from worker.core.decisions import Decider, Policy, TraitsPlacement
from worker.core.events import Event
from worker.core.identity import Identities
from worker.core.lanes import Decision
from worker.core.mapping import EventMapping, Selection
from worker.core.outcomes import DeadLetter, Reason
from worker.core.payloads import derived_message_id

JANE = {"email": "jane.doe@acme.com", "name": "Jane Doe", "company": "Acme Inc"}


class Visit:
    """Events of one partition, decided one after the other, each at the next offset."""

    def __init__(self, chosen: Policy | None = None) -> None:
        self.decider = Decider(chosen or policy())
        self.identities = Identities(TTL_MS)
        self.offset = 0

    def decide(self, given: Event, timestamp_ms: int = TIME_MS) -> Decision:
        self.offset += 1
        read = record(self.offset, timestamp_ms=timestamp_ms)
        return self.decider.decide(TP, read, given, self.identities, schema=SCHEMA, now=0.0)

    def sent(self, given: Event) -> dict[str, Any]:
        decision = self.decide(given)
        assert isinstance(decision, Item), decision
        item: dict[str, Any] = msgspec.json.decode(decision.payload)
        return item


def reason(decision: Decision) -> Reason | None:
    return None if isinstance(decision, Item) else decision.reason if isinstance(decision, DeadLetter) else decision


def identify(**fields: Any) -> Event:
    return event(**{"type": "identify", "event": None, "user_id": "user-123", "traits": dict(JANE), **fields})


def test_the_contracts_example_comes_out_byte_for_byte() -> None:
    context = {
        "ip": "24.5.68.47",
        "userAgent": "Mozilla/5.0",
        "page": {"url": "https://acme.com/pricing", "title": "Pricing", "referrer": "https://google.com"},
        "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026"},
    }
    properties = {"form_id": "demo-request", "value": 0, "currency": "USD"}
    visit = Visit()
    assert visit.decide(identify()) is Reason.ABSORBED
    item = visit.decide(event(user_id="user-123", properties=properties, context=context))
    assert isinstance(item, Item)
    size = 99 + len(item.payload)

    body = Batch(1, TP, 1, 2, 3, (item,), size).body("2026-06-06T11:11:15.120Z")

    expected = (
        '"sentAt":"2026-06-06T11:11:15.120Z","batch":['
        '{"type":"track","event":"lead_generated","anonymousId":"df_8f2a1c9e","userId":"user-123",'
        '"messageId":"evt_6f47f5a0","timestamp":"2026-06-06T11:11:14.000Z",'
        '"properties":{"form_id":"demo-request","value":0,"currency":"USD"},'
        '"traits":{"email":"jane.doe@acme.com","name":"Jane Doe","company":"Acme Inc"},'
        '"context":{"ip":"24.5.68.47","userAgent":"Mozilla/5.0",'
        '"page":{"url":"https://acme.com/pricing","title":"Pricing","referrer":"https://google.com"},'
        '"campaign":{"source":"google","medium":"cpc","name":"brand-2026"}}}]}'
    )
    assert body.decode().split(",", 1)[1] == expected


def test_a_page_before_the_identify_carries_no_traits_and_one_behind_it_does() -> None:
    visit = Visit()
    before = visit.sent(event(type="page", event=None))
    visit.decide(identify())
    behind = visit.sent(event(type="page", event=None))

    assert "traits" not in before
    assert behind["traits"] == JANE


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event(consent={}, type="nonsense"), Reason.NO_CONSENT),
        (event(consent={"analytics": False}, type="nonsense"), Reason.CONSENT_DENIED),
        (event(consent={}, event=None), Reason.NO_CONSENT),
        (event(type="nonsense"), Reason.INVALID_EVENT),
        (event(type=None), Reason.INVALID_EVENT),
        (event(event=None), Reason.INVALID_EVENT),
        (event(event="  ", anonymous_id=None), Reason.INVALID_EVENT),
        (event(event="Something Else", anonymous_id=None, timestamp_ms=None), Reason.UNMAPPED),
        (event(event="Something Else", message_id="x" * 101), Reason.UNMAPPED),
        (event(type="group", event=None, timestamp_ms=None), Reason.ABSORBED),
        (event(type="group", event=None, anonymous_id=None), Reason.INVALID_EVENT),
        (event(type="identify", event=None, timestamp_ms=None), Reason.ABSORBED),
        (event(type="identify", event=None, anonymous_id=None), Reason.INVALID_EVENT),
        (event(anonymous_id=None), Reason.INVALID_EVENT),
        (event(timestamp_ms=None), Reason.INVALID_EVENT),
        (event(message_id="x" * 101), Reason.INVALID_EVENT),
        (event(properties={"x": float("nan")}), Reason.INVALID_EVENT),
        (event(traits={"name": float("inf")}), Reason.INVALID_EVENT),
        (event(malformed="properties"), Reason.INVALID_EVENT),
        (event(properties={"x": "y" * 700_000}), Reason.TOO_LARGE),
        (event(message_id="x" * 100), None),
        (event(anonymous_id=None, user_id="user-123"), None),
        (event(type="page", event=None), None),
    ],
    ids=lambda value: (value.value or "delivered") if isinstance(value, Reason) else None,
)
def test_the_first_thing_that_is_wrong_gives_the_reason(given: Event, expected: Reason | None) -> None:
    assert reason(Visit().decide(given)) is expected


def test_a_switched_off_page_is_filtered_before_its_ids_are_looked_at() -> None:
    visit = Visit(policy(mapping={"page": False}))

    assert visit.decide(event(type="page", event=None, anonymous_id=None)) is Reason.SWITCHED_OFF


def test_an_event_without_consent_teaches_nothing() -> None:
    visit = Visit()
    visit.decide(identify(consent={}))

    assert len(visit.identities) == 0


@pytest.mark.parametrize("type_", ["track", "identify", "nonsense"])
def test_denied_consent_forgets_the_visitor_whatever_the_event(type_: str) -> None:
    visit = Visit()
    visit.decide(identify())
    visit.decide(event(type=type_, consent={**GRANTED, "marketing": False}))

    assert len(visit.identities) == 0


def test_missing_consent_forgets_nothing() -> None:
    visit = Visit()
    visit.decide(identify())
    visit.decide(event(consent={}))

    assert visit.sent(event())["traits"] == JANE


def test_another_users_event_in_the_same_browser_carries_no_traits() -> None:
    visit = Visit()
    visit.decide(identify())

    assert "traits" not in visit.sent(event(user_id="user-456"))


def test_an_anonymous_id_learns_nothing_from_the_same_user_id() -> None:
    visit = Visit()
    visit.decide(identify(anonymous_id=None, user_id="x"))

    assert "traits" not in visit.sent(event(anonymous_id="x"))
    assert visit.sent(event(anonymous_id=None, user_id="x"))["traits"] == JANE


def test_the_worker_never_adds_a_user_id() -> None:
    visit = Visit()
    visit.decide(identify())

    assert "userId" not in visit.sent(event())


def test_an_events_own_traits_win_one_by_one_and_teach_nothing() -> None:
    visit = Visit()
    visit.decide(identify())

    assert visit.sent(event(traits={"name": "J. Doe"}))["traits"] == {**JANE, "name": "J. Doe"}
    assert visit.sent(event())["traits"] == JANE


def test_only_the_chosen_traits_are_learned_and_sent() -> None:
    visit = Visit(policy(traits=("email",)))
    visit.decide(identify(traits={**JANE, "phone": "1"}))

    assert visit.sent(event(traits={"plan": "pro"}))["traits"] == {"email": "jane.doe@acme.com"}


def test_all_traits_are_sent_where_all_are_chosen() -> None:
    visit = Visit(policy(traits=None))
    visit.decide(identify(traits={"plan": "pro"}))

    assert visit.sent(event(traits={"seats": 3}))["traits"] == {"plan": "pro", "seats": 3}


def test_an_identify_without_a_readable_timestamp_counts_from_its_record() -> None:
    visit = Visit()
    visit.decide(identify(timestamp_ms=None), timestamp_ms=TIME_MS - TTL_MS - 1)

    assert "traits" not in visit.sent(event())


@pytest.mark.parametrize(
    ("placement", "top", "inside"),
    [
        (TraitsPlacement.TOP_LEVEL, True, False),
        (TraitsPlacement.CONTEXT, False, True),
        (TraitsPlacement.BOTH, True, True),
    ],
)
def test_traits_go_where_the_setting_says(placement: TraitsPlacement, *, top: bool, inside: bool) -> None:
    item = Visit(policy(placement=placement)).sent(event(traits=dict(JANE)))

    assert ("traits" in item, "traits" in item.get("context", {})) == (top, inside)


def test_a_forwarded_identify_has_its_own_traits_at_the_top_and_teaches_as_well() -> None:
    visit = Visit(policy(forward_identify=True, placement=TraitsPlacement.CONTEXT))
    item = visit.sent(identify(traits={**JANE, "name": None}))

    assert item["type"] == "identify"
    assert item["traits"] == {"email": "jane.doe@acme.com", "company": "Acme Inc"}
    assert visit.sent(event())["context"]["traits"] == item["traits"]


def test_a_forwarded_identify_has_no_traits_of_earlier_ones() -> None:
    visit = Visit(policy(forward_identify=True))
    visit.decide(identify())

    assert visit.sent(identify(traits={"name": "Jane Roe"}))["traits"] == {"name": "Jane Roe"}


def test_a_forwarded_identify_needs_a_timestamp() -> None:
    assert reason(Visit(policy(forward_identify=True)).decide(identify(timestamp_ms=None))) is Reason.INVALID_EVENT


def test_nan_in_the_traits_of_an_identify_is_no_event() -> None:
    visit = Visit()

    assert reason(visit.decide(identify(traits={"email": float("nan")}))) is Reason.INVALID_EVENT
    assert len(visit.identities) == 0


def test_absent_and_null_fields_are_left_out() -> None:
    assert list(Visit().sent(event())) == ["type", "event", "anonymousId", "messageId", "timestamp"]


def test_null_traits_are_left_out() -> None:
    assert "traits" not in Visit().sent(event(traits={"email": None}))


def test_properties_stay_as_they_were() -> None:
    properties = {"a": 0, "b": False, "c": "", "d": None, "e": {"f": [1, None, {"g": []}], "h": {}}, "i": -0.5}

    assert Visit().sent(event(properties=properties))["properties"] == properties


def test_the_name_of_a_page_is_sent_and_that_of_a_track_is_not() -> None:
    assert Visit().sent(event(type="page", event="x", name="Pricing")).items() >= {("name", "Pricing")}
    assert "event" not in Visit().sent(event(type="page", event="x"))
    assert "name" not in Visit().sent(event(name="Pricing"))


def test_a_missing_message_id_is_derived_from_the_record() -> None:
    assert Visit().sent(event(message_id=None))["messageId"] == derived_message_id(TP, record(1))


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_an_event_fits_up_to_one_byte_below_the_body_limit(extra: int, *, fits: bool) -> None:
    limit = 2_000
    empty = Visit().decide(event(properties={"x": ""}))
    assert isinstance(empty, Item)
    filler = limit - 1 - 99 - len(empty.payload) + extra

    decision = Visit(policy(batch_max_bytes=limit)).decide(event(properties={"x": "y" * filler}))

    assert isinstance(decision, Item) is fits


def test_event_max_bytes_is_allowed_and_one_more_is_not() -> None:
    item = Visit().decide(event())
    assert isinstance(item, Item)
    size = len(item.payload)

    assert isinstance(Visit(policy(event_max_bytes=size)).decide(event()), Item)
    assert reason(Visit(policy(event_max_bytes=size - 1)).decide(event())) is Reason.TOO_LARGE


def test_too_large_names_its_size_and_largest_property_and_never_its_value() -> None:
    letter = Visit().decide(event(properties={"small": 1, "products": ["secret"] * 100_000}))

    assert isinstance(letter, DeadLetter)
    assert "properties.'products' (900001 bytes)" in letter.detail
    assert letter.detail.startswith("9001")
    assert "secret" not in letter.detail


def test_nesting_that_json_cannot_write_is_no_event_and_ends_nothing() -> None:
    nested: object = None
    for _ in range(5_000):
        nested = [nested]

    assert reason(Visit().decide(event(properties={"x": nested}))) is Reason.INVALID_EVENT
    assert reason(Visit().decide(identify(traits={"email": nested}))) is Reason.INVALID_EVENT


@pytest.mark.parametrize(
    ("given", "label"),
    [(event(), "lead_generated"), (event(type="page", event=None), "page"), (event(event="A Name"), "other")],
)
def test_the_metric_has_names_from_the_mapping_alone(given: Event, label: str) -> None:
    decision = Visit(policy(forward_unmapped=True)).decide(given)

    assert isinstance(decision, Item)
    assert decision.label == label


def selecting(*names: str) -> Policy:
    chosen = Selection(names, EventMapping("b2b_saas"), forward_identify=False)
    return replace(policy(), selection=chosen)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(event(), None, id="selected"),
        pytest.param(event(event="Signed Up"), Reason.NOT_SELECTED, id="another"),
        pytest.param(event(type="page", event=None), Reason.NOT_SELECTED, id="a page"),
        pytest.param(event(event="Unheard Of"), Reason.NOT_SELECTED, id="unmapped"),
        pytest.param(event(type="screen"), Reason.NOT_SELECTED, id="unknown type"),
        pytest.param(event(event=None), Reason.NOT_SELECTED, id="nameless"),
        pytest.param(event(event="Signed Up", timestamp_ms=None), Reason.NOT_SELECTED, id="another, invalid"),
        pytest.param(identify(anonymous_id=None, user_id=None), Reason.NOT_SELECTED, id="an identify of nobody"),
        pytest.param(event(timestamp_ms=None), Reason.INVALID_EVENT, id="selected, invalid"),
        pytest.param(event(event="Signed Up", consent={}), Reason.NO_CONSENT, id="another, without consent"),
    ],
)
def test_what_is_not_selected_is_filtered_and_never_a_dead_letter(given: Event, expected: Reason | None) -> None:
    assert reason(Visit(selecting("Lead Generated")).decide(given)) is expected


def test_an_identify_that_is_not_selected_teaches_all_the_same() -> None:
    visit = Visit(selecting("Lead Generated"))
    visit.decide(identify())

    assert visit.sent(event())["traits"] == JANE


def test_an_event_that_is_not_selected_and_denies_consent_makes_the_visitor_forgotten() -> None:
    visit = Visit(selecting("Lead Generated"))
    visit.decide(identify())
    visit.decide(event(event="Signed Up", consent={"analytics": False}))

    assert "traits" not in visit.sent(event())
