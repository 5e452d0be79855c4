import json

import pytest

from worker.assembly import mapping_of
from worker.check.mapping import Row, judge_mapping, rows
from worker.check.results import Verdict
from worker.settings import Settings, load


def settings(**given: str) -> Settings:
    return load({"CONSENT_CATEGORIES": "not-required", "VARIANT": "default", **given}, api_key_required=False)


def table(**given: str) -> list[Row]:
    made = settings(**given)
    return rows(made, mapping_of(made))


def judged(events: dict[str, object]) -> list[tuple[Verdict, str]]:
    made = settings(EVENT_MAPPING=json.dumps(events))
    return [(result.verdict, result.what) for result in judge_mapping(made, mapping_of(made))]


def test_the_table_of_a_variant() -> None:
    assert table() == [
        Row("page", "type page", "VARIANT=default"),
        Row("track Signed Up", "sign_up", "VARIANT=default"),
        Row("track Lead Generated", "lead_generated", "VARIANT=default"),
        Row("track Order Completed", "order_completed", "VARIANT=default"),
        Row("any other track", "not sent", "UNMAPPED_EVENTS=drop"),
        Row("identify", "not sent, its traits ride on later events", "FORWARD_IDENTIFY=false"),
        Row("group", "not sent", "always"),
    ]


def test_the_table_shows_what_event_mapping_adds_and_switches_off() -> None:
    made = table(EVENT_MAPPING='{"Demo Booked": "demo_booked", "sign_up": false, "page": false}')
    assert Row("track Demo Booked", "demo_booked", "EVENT_MAPPING") in made
    assert Row("track Signed Up", "not sent", "EVENT_MAPPING") in made
    assert Row("page", "not sent", "EVENT_MAPPING") in made


def test_the_table_shows_what_is_forwarded() -> None:
    made = table(UNMAPPED_EVENTS="forward", FORWARD_IDENTIFY="true")
    assert Row("any other track", "under its snake_case name", "UNMAPPED_EVENTS=forward") in made
    assert Row("identify", "type identify", "FORWARD_IDENTIFY=true") in made


def test_a_mapping_that_says_what_it_means_is_well() -> None:
    assert judged({"Demo Booked": "demo_booked", "Signed Up": False}) == [
        (Verdict.OK, "3 track events are sent, and page views")
    ]
    assert judged({"page": False}) == [(Verdict.OK, "3 track events are sent")]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param({"Demo Booked": "demo_booked", "demo_booked": False}, id="both its names"),
        pytest.param({"Demo Booked": "a", "demo-booked": "b"}, id="spelt in two ways"),
        pytest.param({"Signed Up": "a", "sign_up": "b"}, id="both names of the variant's"),
    ],
)
def test_an_event_named_twice_is_a_warning(events: dict[str, object]) -> None:
    [(verdict, what)] = judged(events)
    assert verdict is Verdict.WARNING
    assert "twice" in what


def test_a_name_for_page_views_is_a_warning() -> None:
    [(verdict, what)] = judged({"Page": "page_viewed"})
    assert verdict is Verdict.WARNING
    assert "'page_viewed'" in what
