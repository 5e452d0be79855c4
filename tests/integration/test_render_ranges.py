"""`render` of a range as `replay` takes it, and of dead letters as a redrive would make them, on a real broker."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from tests.fakes import put_faults
from tests.integration.cluster import Cluster, Message, Stored
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import signal, signals
from tests.integration.test_delivery import settled
from tests.integration.test_render import Ended, Render, render
from worker.core.payloads import derived_message_id
from worker.core.records import TopicPartition
from worker.sandbox import Sandbox

__all__ = ["render"]

MINUTE_MS = 60_000
HOUR_AGO_MS = time.time_ns() // 1_000_000 - 60 * MINUTE_MS


def at(minute: int) -> str:
    return datetime.fromtimestamp((HOUR_AGO_MS + minute * MINUTE_MS) / 1000, UTC).isoformat()


class _Body(msgspec.Struct):
    batch: list[msgspec.Raw]


def items(shown: Ended) -> dict[str, bytes]:
    """What would be sent, its bytes by its messageId."""
    raw = [bytes(item) for body in shown.bodies for item in msgspec.json.decode(body, type=_Body).batch]
    found = {str(json.loads(item)["messageId"]): item for item in raw}
    assert len(found) == len(raw)
    return found


def two_partitions() -> list[Message]:
    """Ten minutes of both; in the first, one visitor is identified in minute 2."""
    jane = {"type": "identify", "event": None, "userId": "user-123", "traits": {"email": "jane.doe@acme.com"}}
    messages = []
    for partition in (0, 1):
        for minute in range(10):
            fields = jane if (partition, minute) == (0, 2) else {}
            made = signal(f"p{partition}_{minute}", f"df_{partition}", **fields)
            messages.append(replace(made, partition=partition, timestamp_ms=HOUR_AGO_MS + minute * MINUTE_MS))
    return messages


def test_a_range_of_time_is_rendered_over_all_partitions_as_run_sends_it(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    topic = cluster.make_topic(partitions=2)
    cluster.produce(topic, two_partitions())
    shown = render("--from", at(2), "--to", at(6), KAFKA_TOPICS=topic)
    assert shown.code == 0, shown.err
    assert [(line.partition, line.offset) for line in shown.records] == [(p, n) for p in (0, 1) for n in range(2, 6)]
    assert f"{topic}[1], offsets [2, 6): 4 records shown." in shown.err
    assert f"Traits learned before offset 2 of {topic}[0] are not known here." in shown.err

    start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    sent = {event.message_id: event.json for event in sandbox.ledger.events()}
    wanted = {f"p{p}_{n}" for p in (0, 1) for n in range(2, 6)} - {"p0_2"}
    assert items(shown) == {message_id: sent[message_id] for message_id in wanted}
    assert b"jane.doe@acme.com" in items(shown)["p0_5"]


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        pytest.param(["--from-offset", "1:8"], [(1, 8), (1, 9)], id="of one partition"),
        pytest.param(
            ["--from-offset", "0:9", "--from-offset", "1:8", "--to-offset", "0:10", "--to-offset", "1:9"],
            [(0, 9), (1, 8)],
            id="both",
        ),
        pytest.param(
            ["--partition", "0", "--partition", "1", "--from-offset", "9"], [(0, 9), (1, 9)], id="of those named"
        ),
        pytest.param(
            ["--partition", "1", "--from", "beginning", "--count", "2"], [(1, 0), (1, 1)], id="from the beginning"
        ),
        pytest.param(
            ["--partition", "1", "--from-offset", "3", "--to-offset", "5"], [(1, 3), (1, 4)], id="with an end"
        ),
    ],
)
def test_offsets_of_several_partitions_are_a_range_too(
    cluster: Cluster, render: Render, arguments: list[str], places: list[tuple[int, int]]
) -> None:
    topic = cluster.make_topic(partitions=2)
    cluster.produce(topic, two_partitions())
    shown = render(*arguments, KAFKA_TOPICS=topic)
    assert shown.code == 0, shown.err
    assert [(line.partition, line.offset) for line in shown.records] == places


def test_a_range_with_an_end_is_shown_whole_and_one_without_is_cut(
    cluster: Cluster, topic: str, render: Render
) -> None:
    cluster.produce(topic, signals(250))
    assert len(render("--from", "beginning", "--to-offset", "240", KAFKA_TOPICS=topic).records) == 240
    assert len(render("--from", "beginning", KAFKA_TOPICS=topic).records) == 100


def test_of_a_range_only_the_events_asked_for_would_be_sent(cluster: Cluster, topic: str, render: Render) -> None:
    cluster.produce(topic, [signal("lead"), signal("login", event="Logged In"), signal("lead-2")])
    shown = render("--event", "login", KAFKA_TOPICS=topic)
    assert {line.message_id: line.reason or line.outcome for line in shown.records} == {
        "lead": "not-selected",
        "login": "delivered",
        "lead-2": "not-selected",
    }
    assert list(items(shown)) == ["login"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--from", "2026-06-08", "--to", "2026-06-01"], "2026-06-08 is not before", id="reversed"),
        pytest.param(["--to", "2026-06-01"], "say where to begin", id="no beginning"),
        pytest.param(["--partition", "7", "--from", "beginning"], "there is no 7", id="no such partition"),
        pytest.param(["--from-offset", "0:99"], "99 is beyond the end", id="beyond the end"),
        pytest.param(["--event", "Nonsense"], "nothing is sent by the name 'Nonsense'", id="no such event"),
        pytest.param(["--dead-letters", "--topic", "nope"], "there is no topic nope", id="no such topic"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(
    cluster: Cluster, topic: str, render: Render, arguments: list[str], words: str
) -> None:
    cluster.produce(topic, signals(3))
    ended = render(*arguments, KAFKA_TOPICS=topic)
    assert ended.code == 2
    assert words in ended.err
    assert cluster.topics() & {f"{topic}.dead-letters"} == set()


def test_where_there_are_no_dead_letters_nothing_is_rendered_and_it_says_so(
    cluster: Cluster, topic: str, render: Render
) -> None:
    ended = render("--dead-letters", KAFKA_TOPICS=topic)
    assert (ended.code, ended.out) == (0, "")
    assert f"there are no dead letters: no topic {topic}.dead-letters" in ended.err
    assert f"{topic}.dead-letters" not in cluster.topics(), "looking makes no topic"


def bury(cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker) -> list[Stored]:
    """Four of eight become dead letters: two refused (one without an id of its own), one invalid, one no Avro."""
    jane = {"type": "identify", "event": None, "userId": "user-123", "traits": {"email": "jane.doe@acme.com"}}
    produced = cluster.produce(
        topic,
        [
            signal("who", "df_jane", **jane),
            signal("bad", "df_jane", properties={"price": 1.0, "list": [0, None, {"a": "ü"}]}),
            signal("good", "df_jane"),
            signal(None, "df_jane"),
            signal("nobody", None),
            Message(b"not Avro"),
            signal("last", "df_joe"),
        ],
    )
    derived = derived_message_id(TopicPartition(topic, 0), produced[3].record)
    put_faults(sandbox, {"status": 400, "message_id": "bad"}, {"status": 400, "message_id": derived})
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert worker.terminate() == 0
    return produced


def test_dead_letters_are_rendered_with_the_ids_and_the_visitor_of_their_source(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    produced = bury(cluster, topic, group, sandbox, start_worker)
    derived = derived_message_id(TopicPartition(topic, 0), produced[3].record)
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    before = render("--from-offset", 0, **settings)
    shown = render("--dead-letters", **settings)
    assert shown.code == 0, shown.err
    assert {str(line.source): line.reason or str(line.message_id) for line in shown.records} == {
        f"{topic}[0]@1": "bad",
        f"{topic}[0]@3": derived,
        f"{topic}[0]@4": "invalid-event",
        f"{topic}[0]@5": "undecodable",
    }
    assert {line.topic for line in shown.records} == {f"{topic}.dead-letters"}
    # byte for byte what was made of them in their place, where an identify stood before them
    made_first = items(before)
    assert items(shown) == {message_id: made_first[message_id] for message_id in ("bad", derived)}
    assert b"jane.doe@acme.com" in items(shown)["bad"]


def test_of_dead_letters_a_range_is_of_their_own_topic(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    bury(cluster, topic, group, sandbox, start_worker)
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    everything = render("--dead-letters", **settings).records
    second = everything[1]
    one = render("--dead-letters", "--from-offset", f"0:{second.offset}", "--count", 1, **settings)
    assert one.records == [second]
    by_own_name = render("--dead-letters", "--topic", f"{topic}.dead-letters", "--from", at(0), **settings)
    assert by_own_name.records == everything


def test_dead_letters_of_another_group_are_left_out_as_a_redrive_leaves_them(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    bury(cluster, topic, group, sandbox, start_worker)
    shown = render("--dead-letters", KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=f"{group}-other")
    assert {(line.outcome, line.reason) for line in shown.records} == {("filtered", "foreign")}
    assert shown.bodies == []


def test_to_render_dead_letters_leaves_no_trace(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    bury(cluster, topic, group, sandbox, start_worker)
    ends = cluster.end_offsets(f"{topic}.dead-letters")
    before = cluster.topics(), cluster.groups(), cluster.committed(group, topic)
    assert render("--dead-letters", KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group).code == 0
    assert (cluster.topics(), cluster.groups(), cluster.committed(group, topic)) == before
    assert cluster.end_offsets(f"{topic}.dead-letters") == ends
