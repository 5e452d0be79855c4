"""Which traits ride on what, end to end: the settings, a shared browser, hostile traits, partitions that are added."""

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.harness import wait_until
from tests.integration.signals import signal
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import JANE, VISITOR, identify
from tests.integration.test_identity_restoring import Course, course
from tests.integration.test_outage import MAX_RSS_BYTES, rss_bytes
from worker.sandbox import Sandbox

__all__ = ["course"]

MILLION = 1_000_000
PHONE = {"phone": "+45 1234"}


def item(sandbox: Sandbox, message_id: str) -> dict[str, Any]:
    [event] = [event for event in sandbox.ledger.events() if event.message_id == message_id]
    return event.item


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, {"traits": JANE}, id="usual"),
        pytest.param({"TRAITS": "email,phone"}, {"traits": {"email": JANE["email"], **PHONE}}, id="chosen"),
        pytest.param({"TRAITS": "*"}, {"traits": {**JANE, **PHONE}}, id="all"),
        pytest.param({"TRAITS_PLACEMENT": "context"}, {"context": {"traits": JANE}}, id="in the context"),
        pytest.param({"TRAITS_PLACEMENT": "both"}, {"traits": JANE, "context": {"traits": JANE}}, id="in both places"),
    ],
)
def test_traits_are_sent_as_the_settings_say(
    course: Course, sandbox: Sandbox, settings: dict[str, str], expected: dict[str, object]
) -> None:
    course.start(**settings)
    course.settle(identify("evt_0", {**JANE, **PHONE}), signal("evt_1", VISITOR))
    sent = item(sandbox, "evt_1")
    assert {name: sent[name] for name in ("traits", "context") if name in sent} == expected
    assert len(sandbox.ledger.events()) == 1, "the identify is not sent"


def test_a_forwarded_identify_is_sent_with_its_own_traits_at_the_top_and_teaches(
    course: Course, sandbox: Sandbox
) -> None:
    course.start(FORWARD_IDENTIFY="true", TRAITS_PLACEMENT="context")
    course.settle(identify("evt_0"), identify("evt_1", {"name": "J. Doe"}, userId="user-1"), signal("evt_2", VISITOR))
    sent = item(sandbox, "evt_1")
    assert (sent["type"], sent["userId"], sent["traits"]) == ("identify", "user-1", {"name": "J. Doe"})
    assert item(sandbox, "evt_2")["context"] == {"traits": {**JANE, "name": "J. Doe"}}


def test_in_a_shared_browser_nobody_s_traits_reach_the_other_s_events_not_even_after_a_restart(course: Course) -> None:
    theirs = {"email": "bob@acme.com"}
    course.live(identify("evt_0", userId="jane"), signal("evt_1", VISITOR, userId="jane"))
    course.live(signal("evt_2", VISITOR, userId="bob"), signal("evt_3", VISITOR))
    course.live(identify("evt_4", theirs, userId="bob"), signal("evt_5", VISITOR, userId="bob"))
    course.live(signal("evt_6", VISITOR, userId="jane"), signal("evt_7", VISITOR))

    sent = [course.sent(f"evt_{number}") for number in (1, 2, 3, 5, 6, 7)]
    assert sent == [[JANE], [None], [JANE], [theirs], [None], [theirs]]


def nested(levels: int) -> dict[str, object]:
    value: object = "deep"
    for _ in range(levels):
        value = {"in": value}
    return {"email": value}


def test_hostile_traits_and_ids_have_a_clear_end_each_and_survive_a_restart(course: Course) -> None:
    odd = {"email": 5, "name": None, "company": {"tree": [1, 2.5, True, None]}}
    deep = {"type": "identify", "event": None, "traits": json.dumps(nested(90))}
    deeper = {"type": "identify", "event": None, "traits": json.dumps(nested(300))}
    long_id, endless_id = "x" * 10_240, "y" * 40_000
    hostile = [
        identify("evt_0", {"email": "x" * 40_000, "company": "Acme Inc"}, "df_huge"),
        identify("evt_1", odd, "df_odd"),
        signal("evt_2", "df_deep", **deep),
        signal("evt_3", "df_deeper", **deeper),
        identify("evt_4", JANE, long_id),
        identify("evt_5", JANE, endless_id),
    ]
    visitors = ("df_huge", "df_odd", "df_deep", "df_deeper", long_id, endless_id)
    known = [{"company": "Acme Inc"}, {"email": 5, "company": odd["company"]}, nested(90), None, JANE, None]

    worker = course.start()
    course.settle(*hostile)
    worker.wait_outcomes({("filtered", "absorbed"): 5, ("dead_lettered", "invalid-event"): 1})
    assert worker.metrics().value("traits_refused_total") == 4, "one is too large, three are of an id too long"
    assert worker.terminate() == 0
    course.live(*(signal(f"evt_1{number}", visitor) for number, visitor in enumerate(visitors)))
    assert [course.sent(f"evt_1{number}") for number in range(len(visitors))] == [[traits] for traits in known]


def test_one_visitor_who_identifies_all_the_time_is_one_visitor_all_the_same(course: Course) -> None:
    worker = course.start()
    course.settle(*(identify(f"evt_{number}", {"email": f"{number}@acme.com"}) for number in range(60_000)))
    assert worker.metrics().value("identities") == 1
    assert worker.metrics().value("commits_total", result="error") == 0
    assert worker.terminate() == 0

    restarted = course.start()
    course.settle(signal("evt_last", VISITOR))
    assert course.sent("evt_last") == [{"email": "59999@acme.com"}]
    assert restarted.metrics().value("identities") == 1


def identifies(count: int) -> Iterator[Message]:
    """Of one visitor, each with another email. Written once: what tells them apart has a fixed width."""
    encoded = identify("evt_0000000", {**JANE, "email": "0000000@acme.com"}).value or b""
    assert encoded.count(b"0000000") == 2
    for number in range(count):
        yield Message(encoded.replace(b"0000000", b"%07d" % number), VISITOR.encode())


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux's")
def test_a_million_identifies_of_one_visitor_cost_no_memory_and_leave_the_last_state(
    cluster: Cluster, course: Course
) -> None:
    many = identifies(MILLION)
    while chunk := list(islice(many, 100_000)):
        cluster.produce(course.topic, chunk)
    worker = course.start()
    wait_until(lambda: cluster.committed(course.group, course.topic).get(0), 30, "it is at work")
    began, resident = time.monotonic(), [rss_bytes(worker)]
    while not settled(cluster, course.group, course.topic):
        resident.append(rss_bytes(worker))
        assert time.monotonic() - began < 200
        time.sleep(0.2)
    seconds = time.monotonic() - began
    entries = cluster.end_offsets(course.log)[0]
    print(f"{seconds:.0f} s, {max(resident) / 1e6:.0f} MB at most, the log ends at {entries:,}")  # noqa: T201  # measured
    assert max(resident) < MAX_RSS_BYTES
    assert max(resident) - max(resident[: len(resident) // 4]) < 10_000_000, "flat"
    assert MILLION <= entries < MILLION * 1.01, "an entry each, and a marker for every commit"
    assert worker.metrics().value("identities") == 1
    assert worker.metrics().value("commits_total", result="error") == 0
    assert worker.terminate() == 0

    restarted = course.start()
    course.settle(signal("evt_last", VISITOR))
    assert course.sent("evt_last") == [{**JANE, "email": f"{MILLION - 1:07d}@acme.com"}]
    assert restarted.metrics().value("identities") == 1


def test_a_topic_that_is_given_partitions_has_its_log_grow_and_says_who_is_unknown(
    cluster: Cluster, course: Course
) -> None:
    worker = course.start(KAFKA_CLIENT='{"topic.metadata.refresh.interval.ms": 1000}')
    course.settle(identify("evt_0"), signal("evt_1", VISITOR))
    assert len(cluster.end_offsets(course.log)) == 1
    cluster.add_partitions(course.topic, 2)

    moved = [identify("evt_2", {"email": "new@acme.com"}), signal("evt_3", VISITOR)]
    course.settle(Message(signal("evt_4", VISITOR).value, partition=1))
    course.settle(*(Message(each.value, partition=1) for each in moved))
    course.settle(Message(signal("evt_5", VISITOR).value, partition=0))
    assert [course.sent(f"evt_{number}") for number in (4, 3, 5)] == [[None], [{"email": "new@acme.com"}], [JANE]]
    assert len(cluster.end_offsets(course.log)) == 2
    assert any(
        "unknown there until they identify again" in str(line["detail"]) for line in worker.logged("topic.doubted")
    )
