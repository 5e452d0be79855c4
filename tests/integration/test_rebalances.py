"""Partitions that move between workers under load: nothing lost, nothing repeated, order kept; under each protocol."""

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox

PROTOCOLS = [
    pytest.param({"KAFKA_GROUP_PROTOCOL": "classic"}, id="cooperative-sticky"),
    pytest.param({"KAFKA_CLIENT": '{"partition.assignment.strategy": "range"}'}, id="eager"),
    pytest.param({"KAFKA_GROUP_PROTOCOL": "consumer"}, id="kip-848"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_worker_that_joins_and_one_that_leaves_lose_nothing_and_repeat_nothing(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    topic = cluster.make_topic(partitions=4)
    cluster.produce(topic, [Message(m.value, partition=n % 4) for n, m in enumerate(signals(12_000))])
    put_faults(sandbox, {"delay_ms": 300})
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "BATCH_MAX_EVENTS": "50",
        **protocol,
    }
    first = start_worker(**settings)
    wait_until(lambda: len(sandbox.ledger.requests()) > 8, 30, "the first is at work")
    second = start_worker(**settings)
    wait_until(lambda: second.logged("batch.delivered"), 30, "the second is at work")
    assert first.terminate() == 0
    assert len(delivered_ids(sandbox)) < 12_000, "the first has left in the middle of it"
    put_faults(sandbox)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")

    counts = delivered_ids(sandbox)
    assert set(counts) == ids(12_000)
    assert sum(counts.values()) == 12_000, "a move waits for what is on the wire"
    arrived = [int(event.message_id.removeprefix("evt_")) for event in sandbox.ledger.events()]
    for partition in range(4):
        own = [number for number in arrived if number % 4 == partition]
        assert own == sorted(own), "order per partition"
    assert second.terminate() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_spare_worker_without_partitions_is_ready(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group, "DREAMDATA_URL": sandbox.url, **protocol}
    workers = [start_worker(**settings), start_worker(**settings)]
    for worker in workers:
        worker.wait_ready()

    def held(worker: WorkerProcess) -> int:
        return len(worker.logged("partition.assigned")) - len(worker.logged("partition.revoked"))

    wait_until(lambda: sorted(map(held, workers)) == [0, 1], 20, "one of them is the spare one")


def test_a_topic_that_is_missing_is_named_and_read_from_its_beginning_once_it_is_made(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.unique("delivery")
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_AUTO_OFFSET_RESET="latest",
        KAFKA_CLIENT='{"topic.metadata.refresh.interval.ms": 1000}',
    )
    wait_until(lambda: worker.logged("topic.missing"), 30, "it says which topic is missing")
    assert any(topic in reason for reason in worker.ready_reasons())
    cluster.make_topic(name=topic)
    cluster.produce(topic, signals(5))
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 1)
