"""Test events by the command, on real Kafka: where they lie, what the worker makes of them, what is refused."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from worker.core.outcomes import Outcome, Reason
from worker.demo.broker import free_port
from worker.emit.events import ANONYMOUS_ID
from worker.emit.publisher import Publisher
from worker.errors import NotPublishedError
from worker.sandbox import Sandbox


def emit(kafka: str, topic: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"KAFKA_BROKERS": kafka, "KAFKA_TOPICS": topic, "CONSENT_CATEGORIES": "analytics,marketing"} | more
    command = [sys.executable, "-m", "worker", "emit", *words]
    env = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=60)


def emitted(kafka: str, topic: str, *words: str) -> list[dict[str, Any]]:
    ended = emit(kafka, topic, *words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_an_identified_visitor_s_lead_arrives_with_traits(
    kafka: str, cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=4)
    emitted(kafka, topic, "identify", "user-123", "email=jane.doe@acme.com", "company=Acme Inc", "seats:=3")
    before_ms = time.time_ns() // 1_000_000
    (lead,) = emitted(kafka, topic, "track", "Lead Generated", "form_id=demo-request", "value:=0", 'on:=[{"a": null}]')
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    worker.wait_ready()
    worker.wait_outcomes({(Outcome.DELIVERED.value, ""): 1, (Outcome.FILTERED.value, Reason.ABSORBED.value): 1})

    (event,) = sandbox.ledger.events()
    assert event.message_id == lead["messageId"]
    item = json.loads(event.json)
    shown = {key: item[key] for key in ("type", "event", "anonymousId", "properties", "traits")}
    assert shown == {
        "type": "track",
        "event": "lead_generated",
        "anonymousId": ANONYMOUS_ID,
        "properties": {"form_id": "demo-request", "value": 0, "on": [{"a": None}]},
        "traits": {"email": "jane.doe@acme.com", "company": "Acme Inc"},
    }
    (stored,) = [each for each in cluster.read_topic(topic) if each.record.offset == lead["offset"]]
    assert stored.record.timestamp_ms >= before_ms


def test_without_consent_nothing_is_sent(
    kafka: str, cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    said = emit(kafka, topic, "track", "Lead Generated", "--no-consent")
    assert "the worker filters it as no-consent" in said.stdout
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    worker.wait_ready()
    worker.wait_outcomes({(Outcome.FILTERED.value, Reason.NO_CONSENT.value): 1})
    assert not list(sandbox.ledger.events())


def test_it_says_where_the_events_are(kafka: str, topic: str) -> None:
    said = emit(kafka, topic, "page", "Pricing", "--message-id", "evt_1", "--user-id", "user-123")
    assert said.stdout.splitlines() == [
        f"evt_1  page 'Pricing' of {ANONYMOUS_ID}  topic {topic}, partition 0, offset 0",
        "Consent: analytics, marketing granted, as CONSENT_CATEGORIES asks.",
        "See it arrive: dreamdata-worker tap",
    ]
    assert [line["offset"] for line in emitted(kafka, topic, "page", "--count", "3")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "last_line"),
    [
        (["track", "Demo Booked"], "filters it as unmapped"),
        (["group", "acme"], "filters every group as absorbed"),
        (["identify", "user-9"], "no traits for later events"),
        (["identify", "user-9", "email=x@acme.com", "--no-consent"], "filters it as no-consent"),
    ],
    ids=["unmapped", "group", "no-traits", "nothing-learned"],
)
def test_it_says_why_nothing_will_arrive(kafka: str, topic: str, words: list[str], last_line: str) -> None:
    assert last_line in emit(kafka, topic, *words).stdout.splitlines()[-1]


def test_a_visitor_is_in_the_partition_where_kafka_s_own_clients_put_them(kafka: str, cluster: Cluster) -> None:
    topic = cluster.make_topic(partitions=16)
    visitors = [f"df_{number}" for number in range(4)]
    emitted_to = [emitted(kafka, topic, "page", "--anonymous-id", each)[0]["partition"] for each in visitors]
    theirs = cluster.produce(
        topic, [Message(b"", key=each.encode()) for each in visitors], partitioner="murmur2_random"
    )
    assert emitted_to == [stored.partition for stored in sorted(theirs, key=lambda stored: stored.record.key or b"")]


def test_a_missing_topic_is_named_and_not_made(kafka: str, cluster: Cluster, topic: str) -> None:
    missing = f"{topic}s"
    ended = emit(kafka, topic, "page", "--topic", missing)
    assert ended.returncode == 1
    assert f"There is no topic {missing}" in ended.stderr
    assert f"did you mean {topic}?" in ended.stderr
    assert f"a worker with these settings does not read {missing}" in ended.stderr
    assert missing not in cluster.topics()


def test_a_worker_without_the_shipped_schema_is_warned_of(kafka: str, topic: str, tmp_path: Path) -> None:
    ended = emit(kafka, topic, "page", SCHEMA_DIR=str(tmp_path))
    assert ended.returncode == 0
    assert "SCHEMA_DIR holds no signal_event.avsc" in ended.stderr
    assert emit(kafka, topic, "page").stderr == ""


def test_a_record_the_topic_refuses_is_said_to_be_too_large(kafka: str, cluster: Cluster) -> None:
    topic = cluster.make_topic(max_message_bytes="2000")
    ended = emit(kafka, topic, "page", f"padding={'x' * 3000}")
    assert ended.returncode == 1
    assert "larger than the topic takes" in ended.stderr


def test_a_record_the_client_refuses_is_said_to_be_too_large(kafka: str, topic: str) -> None:
    with pytest.raises(NotPublishedError, match="larger than the topic takes"):
        Publisher({"bootstrap.servers": kafka}).publish(topic, [(b"df_1", b"x" * 2_000_000)])


def test_a_broker_that_is_down_is_named_with_its_reason() -> None:
    brokers = f"127.0.0.1:{free_port()}"
    with pytest.raises(NotPublishedError, match=f"No answer from Kafka at {brokers}: .*refused.* Check KAFKA_BROKERS"):
        Publisher({"bootstrap.servers": brokers, "log_level": 0}, timeout_seconds=2).publish("t", [])


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_it_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        brokers = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotPublishedError, match=f"No answer from Kafka at {brokers}"):
            Publisher({"bootstrap.servers": brokers, "log_level": 0}, timeout_seconds=1).publish("t", [])


def test_what_cannot_be_written_is_refused_before_anything_is_sent(kafka: str, cluster: Cluster, topic: str) -> None:
    ended = emit(kafka, topic, "page", "a:=[[[[[[1]]]]]]", "b:=NaN")
    assert ended.returncode == 2
    assert "a is nested deeper" in ended.stderr
    assert "b holds NaN" in ended.stderr
    assert cluster.end_offsets(topic) == {0: 0}
