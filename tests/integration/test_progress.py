"""Alive without progress: whatever stood still goes on by itself, and the lag falls."""

import json
import os
import signal as signals_of_the_system
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from tests.fakes import delivered_ids, put_faults
from tests.integration.audit import audit
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from tests.integration.test_rebalances import PROTOCOLS
from worker.demo.broker import EmbeddedKafka
from worker.demo.jars import find_java
from worker.sandbox import Sandbox


@pytest.mark.soak
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partitions_that_move_while_paused_are_paused_again_and_delivered_once_the_api_is_back(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    topic = cluster.make_topic(partitions=4)
    cluster.produce(topic, [Message(m.value, partition=n % 4) for n, m in enumerate(signals(8_000))])
    put_faults(sandbox, {"status": 503})
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "BATCH_MAX_EVENTS": "100",
        **protocol,
    }
    first = start_worker(**settings)
    first.wait_ready()
    wait_until(lambda: first.metrics().value("paused_partitions") == 4, 30, "all are paused")
    second = start_worker(**settings)
    second.wait_ready()
    for worker in (first, second):
        wait_until(lambda w=worker: w.metrics().value("paused_partitions") == 2, 30, "two are paused")  # type: ignore[misc]
    assert second.terminate() == 0
    wait_until(lambda: first.metrics().value("paused_partitions") == 4, 30, "all are back and paused")
    put_faults(sandbox)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(8_000), 1)


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param({"KAFKA_CLIENT": '{"session.timeout.ms": 6000}'}, id="cooperative-sticky", marks=pytest.mark.soak),
        pytest.param(
            {"KAFKA_CLIENT": '{"session.timeout.ms": 6000, "partition.assignment.strategy": "range"}'},
            id="eager",
            marks=pytest.mark.soak,
        ),
        # the broker decides the session: 45 s
        pytest.param({"KAFKA_GROUP_PROTOCOL": "consumer"}, id="kip-848", marks=pytest.mark.soak),
    ],
)
def test_a_worker_stopped_beyond_its_session_comes_back_and_commits_nothing_of_what_it_has_lost(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    topic = cluster.make_topic(partitions=4)
    produced = cluster.produce(topic, [Message(m.value, partition=n % 4) for n, m in enumerate(signals(16_000))])
    put_faults(sandbox, {"delay_ms": 300})
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "BATCH_MAX_EVENTS": "50",
        **protocol,
    }
    first = start_worker(**settings)
    wait_until(lambda: len(sandbox.ledger.requests()) > 8, 40, "the first is at work")
    second = start_worker(**settings)
    wait_until(lambda: second.logged("batch.delivered"), 40, "the second is at work")
    put_faults(sandbox, {"delay_ms": 1_000})
    first.send_signal(signals_of_the_system.SIGSTOP)
    wait_until(lambda: len(second.logged("partition.assigned")) >= 4, 90, "the second has taken over")
    first.send_signal(signals_of_the_system.SIGCONT)
    put_faults(sandbox)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    first.wait_ready()
    # in flight when it was stopped, and what was answered with nobody there to commit it: a batch of each of its lanes
    audit(cluster, sandbox, group, produced).verify(max_repeats=4 * 2 * 50)


STUCK_WORKER = Path(__file__).with_name("stuck_worker.py")


def test_a_process_that_stands_still_ends_with_exit_code_4_and_the_next_one_loses_nothing(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    produced = cluster.produce(topic, signals(20))
    settings = {
        "KAFKA_BROKERS": cluster.bootstrap_servers,
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "KAFKA_CLIENT": '{"session.timeout.ms": 6000}',
        "DREAMDATA_URL": sandbox.url,
        "DREAMDATA_API_KEY": "test-key",
        "CONSENT_CATEGORIES": "analytics,marketing",
        "BATCH_LINGER_MS": "50",
        "LOG_FORMAT": "json",
        "REQUEST_TIMEOUT_SECONDS": "5",
        "WATCHDOG_SECONDS": "1",
    }
    stuck = subprocess.run(
        [sys.executable, STUCK_WORKER], env=settings, capture_output=True, text=True, timeout=90, check=False
    )
    assert stuck.returncode == 4, stuck.stderr
    [said] = [json.loads(line) for line in stuck.stderr.splitlines() if '"worker.starved"' in line]
    assert f"{topic}[0]" in str(said["lanes"])
    assert "MainThread" in said["stacks"]
    assert delivered_ids(sandbox) == dict.fromkeys(ids(20), 1)
    assert cluster.committed(group, topic) == {}
    start_worker(**settings)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    # all that was answered and could not be committed
    audit(cluster, sandbox, group, produced).verify(max_repeats=20)


@pytest.fixture
def own_broker(kafka: str) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka.start(java=find_java(os.environ)) as broker:
        yield broker


@pytest.mark.soak
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_coordinator_that_does_not_answer_for_a_while_is_said_and_survived(
    own_broker: EmbeddedKafka, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    """Its connections stay open: this is a broker that hangs, not one that is down."""
    cluster = Cluster(own_broker.bootstrap_servers)
    topic, group = cluster.make_topic(partitions=2), cluster.unique("group")
    produced = cluster.produce(topic, [Message(m.value, partition=n % 2) for n, m in enumerate(signals(10_000))])
    put_faults(sandbox, {"delay_ms": 200})
    worker = start_worker(
        KAFKA_BROKERS=own_broker.bootstrap_servers,
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        BATCH_MAX_EVENTS="50",
        **protocol,
    )
    wait_until(lambda: len(sandbox.ledger.requests()) > 4, 40, "it is at work")
    committed = sum(cluster.committed(group, topic).values())
    os.kill(own_broker.pid, signals_of_the_system.SIGSTOP)
    commits = worker.metrics().value("commits_total", result="ok")
    try:
        stopped_at = time.monotonic()
        wait_until(lambda: any("Kafka" in reason for reason in worker.ready_reasons()), 60, "it says so")
        assert worker.get("/healthz")[0] == 200
        wait_until(lambda: time.monotonic() - stopped_at > 30, 60, "longer than any session")
    finally:
        os.kill(own_broker.pid, signals_of_the_system.SIGCONT)
    wait_until(lambda: cluster.topics() >= {topic} and led(cluster, topic), 60, "the broker is back")
    wait_until(lambda: worker.metrics().value("commits_total", result="ok") > commits, 90, "it commits again")
    # What was read already is delivered meanwhile and cannot be committed; a member whose session has ended has to
    # begin anew from its last commit.
    answered = len(delivered_ids(sandbox)) - committed
    put_faults(sandbox)
    wait_until(lambda: settled(cluster, group, topic), 90, "all is committed")
    wait_until(worker.is_ready, 60, "ready again")
    found = audit(cluster, sandbox, group, produced)
    print(f"{found.repeats.total()} repeats, {answered} answered without a commit")  # noqa: T201  # measured
    assert answered < len(produced) / 2, "or the bound would say nothing"
    found.verify(max_repeats=answered)


def led(cluster: Cluster, topic: str) -> bool:
    """Whether its partitions have leaders that can be asked."""
    try:
        return len(cluster.end_offsets(topic)) == 2
    except KafkaException:
        return False
