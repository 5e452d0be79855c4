"""Starting, stopping and dying: exit codes, SIGTERM, SIGKILL, and what a log may hold."""

import signal as signals_of_the_system
from itertools import pairwise
from typing import Any

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox


def test_sigkill_between_answer_and_commit_redelivers_the_same_ids_and_bodies(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    put_faults(sandbox, {"delay_ms": 3_000})
    cluster.produce(topic, signals(300))
    # the answer to the second batch is three seconds off when the process dies, so nothing of it can be committed
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group, "DREAMDATA_URL": sandbox.url}
    first = start_worker(**settings)
    wait_until(lambda: sandbox.ledger.in_flight, 30, "a request is on the wire")
    first.kill()
    put_faults(sandbox)
    wait_until(lambda: len(sandbox.ledger.requests()) == 1, 10, "the API has taken it, and nobody heard")
    assert cluster.committed(group, topic) in ({}, {0: 0}), "at most where it starts"

    start_worker(**settings)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert set(delivered_ids(sandbox)) == ids(300)
    assert set(delivered_ids(sandbox).values()) <= {1, 2}
    taken = {event.batch_message_id: set[str]() for event in sandbox.ledger.events()}
    for event in sandbox.ledger.events():
        taken[event.batch_message_id].add(event.message_id)
    assert all(not a & b or a == b for a, b in pairwise(taken.values())), "a batch id always stands for the same events"


def test_sigterm_under_load_exits_0_in_time_with_nothing_doubled(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=4)
    put_faults(sandbox, {"delay_ms": 300})
    cluster.produce(topic, signals(20_000))
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "BATCH_MAX_EVENTS": "100",
    }
    first = start_worker(**settings)
    wait_until(lambda: len(sandbox.ledger.requests()) >= 4, 30, "it is at work")
    assert first.terminate(timeout_seconds=25) == 0
    before = len(delivered_ids(sandbox))
    assert 0 < before < 20_000
    assert sum(cluster.committed(group, topic).values()) == before, "what was delivered is committed"

    put_faults(sandbox)
    second = start_worker(**settings)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(20_000), 1)
    assert second.terminate() == 0


def test_a_second_signal_exits_at_once(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    put_faults(sandbox, {"delay_ms": 15_000})
    cluster.produce(topic, signals(10))
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: sandbox.ledger.in_flight, 30, "a request is on the wire")
    worker.send_signal(signals_of_the_system.SIGTERM)
    with pytest.raises(TimeoutError):
        worker.wait_exit(0.5)
    worker.send_signal(signals_of_the_system.SIGTERM)
    assert worker.wait_exit(2) == 1


def test_a_wrong_configuration_says_everything_that_is_wrong_and_exits_2(start_worker: StartWorker) -> None:
    worker = start_worker(
        DREAMDATA_URL="http://api.example.com",
        CONSENT_CATEGORIES="",
        BATCH_MAX_BYTES="600000",
        KAFKA_TOPIC="oops",
        KAFKA_CLIENT='{"enable.auto.commit": true}',
    )
    assert worker.wait_exit(20) == 2
    text = worker.log_text()
    for name in ("DREAMDATA_URL", "CONSENT_CATEGORIES", "BATCH_MAX_BYTES", "KAFKA_TOPICS", "enable.auto.commit"):
        assert name in text, text
    assert "Traceback" not in text


@pytest.mark.parametrize("properties", ['{"foo.bar": 1}', '{"debug": "nonsense"}'])
def test_a_client_property_that_librdkafka_refuses_is_named_and_exits_2(
    start_worker: StartWorker, properties: str
) -> None:
    worker = start_worker(KAFKA_CLIENT=properties, DREAMDATA_URL="http://127.0.0.1:1")
    assert worker.wait_exit(20) == 2
    assert "KAFKA_CLIENT" in worker.log_text()
    assert "Traceback" not in worker.log_text()


def test_offset_reset_error_stops_with_exit_1_and_says_where(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cluster.produce(topic, signals(3))
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_AUTO_OFFSET_RESET="error",
    )
    assert worker.wait_exit(30) == 1
    assert f"{topic}[0]" in worker.log_text()
    assert delivered_ids(sandbox) == {}


def test_a_broker_that_is_down_ends_nothing_and_is_named(start_worker: StartWorker) -> None:
    worker = start_worker(KAFKA_BROKERS="127.0.0.1:1", DREAMDATA_URL="http://127.0.0.1:1")
    wait_until(lambda: any("Kafka" in reason for reason in _reasons(worker)), 30, "the reason")
    assert worker.get("/healthz")[0] == 200
    assert worker.terminate() == 0


def _reasons(worker: WorkerProcess) -> list[str]:
    try:
        return worker.ready_reasons()
    except OSError:
        return []


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_and_no_payload_in_any_log_line(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, level: str
) -> None:
    secrets = {"key-4711", "jane.doe@acme.com", "Jane Doe", "203.0.113.9", "secret-property", "evil-browser"}
    fields: dict[str, Any] = {
        "userId": "user-123",
        "traits": {"email": "jane.doe@acme.com", "name": "Jane Doe"},
        "properties": {"note": "secret-property"},
        "context": {"ip": "203.0.113.9", "userAgent": "evil-browser"},
    }
    messages = [
        signal("evt_identify", type="identify", event=None, **fields),
        signal("evt_good", **fields),
        signal("evt_poison", **fields),
        signal("evt_invalid", **{**fields, "timestamp": None}),
        signal("evt_large", **{**fields, "properties": {"note": "secret-property" * 50_000}}),
        Message(b"jane.doe@acme.com secret-property"),
    ]
    put_faults(sandbox, {"status": 503, "count": 2}, {"status": 400, "message_id": "evt_poison"})
    cluster.produce(topic, messages)
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        DREAMDATA_API_KEY="key-4711",
        LOG_LEVEL=level,
    )
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")
    assert worker.terminate() == 0
    text = worker.log_text()
    assert {secret for secret in secrets if secret in text} == set()
    assert len(worker.logged("record.dead_lettered")) == 4
    if level == "debug":
        assert [line["message_id"] for line in worker.logged("event.delivered")] == ["evt_good"]
        assert [line["message_id"] for line in worker.logged("event.filtered")] == ["evt_identify"]
        assert [line["message_id"] for line in worker.logged("event.dead_lettered")] == ["evt_invalid", "evt_large"]
