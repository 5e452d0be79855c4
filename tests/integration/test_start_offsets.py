"""Where a worker starts when the group's offset is missing, deleted or beyond the end; and where it ends."""

from dataclasses import replace

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox

PROTOCOLS = [
    pytest.param({}, id="cooperative-sticky", marks=pytest.mark.soak),
    pytest.param({"KAFKA_CLIENT": '{"partition.assignment.strategy": "range"}'}, id="eager"),
    pytest.param({"KAFKA_GROUP_PROTOCOL": "consumer"}, id="kip-848"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_offsets_deleted_before_they_were_read_are_counted_and_the_rest_is_delivered(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    cluster.produce(topic, signals(30))
    cluster.commit(group, topic, {0: 5})
    cluster.delete_records(topic, 0, 20)
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url, **protocol)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(30) - ids(20), 1)
    [line] = worker.logged("partition.offsets_lost")
    assert (line["committed"], line["offset"], line["lost"]) == (5, 20, 15)


def test_a_commit_beyond_the_end_goes_on_at_the_end_and_says_so(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cluster.produce(topic, signals(10))
    cluster.commit(group, topic, {0: 1_000})
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: worker.logged("partition.started_at_end"), 40, "it says so")
    cluster.produce(topic, signals(3, prefix="new"))
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(3, prefix="new"), 1), "never the whole topic again"


def test_latest_is_pinned_where_it_started_so_that_a_restart_loses_nothing(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "KAFKA_AUTO_OFFSET_RESET": "latest",
    }
    cluster.produce(topic, signals(10, prefix="old"))
    first = start_worker(**settings)
    wait_until(lambda: cluster.committed(group, topic) == {0: 10}, 40, "the start is committed")
    assert first.terminate() == 0
    cluster.produce(topic, signals(5))
    start_worker(**settings)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 1)


def test_transaction_markers_and_taken_back_records_leave_no_lag(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cluster.produce_in_transaction(topic, signals(5), commit=True)
    cluster.produce_in_transaction(topic, signals(5, prefix="aborted"), commit=False)
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed, markers included")
    assert cluster.committed(group, topic) == {0: 12}
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 1)
    wait_until(lambda: worker.metrics().value("consumer_lag") == 0, 10, "the lag is 0")


@pytest.mark.soak  # a stock cleaner looks every 15 s
def test_gaps_that_compaction_has_left_are_passed_and_leave_no_lag(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", min_compaction_lag_ms="0"
    )
    again = [replace(message, key=b"the same") for message in signals(20)]
    cluster.produce(topic, again)

    def compacted() -> bool:
        # only what is in a closed segment is looked at, and only something new closes one
        cluster.produce(topic, [replace(signal("evt_last"), key=b"the same")])
        return cluster.read_topic(topic)[0].record.offset > 0

    wait_until(compacted, 90, "the cleaner has been there")
    left = cluster.read_topic(topic)
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
    assert cluster.committed(group, topic)[0] - len(left) >= 20, "there are gaps"
    assert len(sandbox.ledger.events()) == len(left)
    wait_until(lambda: worker.metrics().value("consumer_lag") == 0, 10, "the lag is 0")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_records_deleted_while_a_partition_was_paused_are_counted_and_it_goes_on(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    topic = cluster.make_topic(partitions=2)
    put_faults(sandbox, {"status": 503})
    cluster.produce(topic, [Message(message.value, partition=0) for message in signals(6_000)])
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        BATCH_MAX_EVENTS="100",
        **protocol,
    )
    wait_until(lambda: worker.is_ready() and worker.metrics().value("paused_partitions") == 1, 40, "it is paused")
    cluster.delete_records(topic, 0, 5_000)
    put_faults(sandbox)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    counts = delivered_ids(sandbox)
    assert set(counts) >= {f"evt_{number}" for number in range(5_000, 6_000)}
    assert set(counts.values()) == {1}
    [line] = worker.logged("partition.offsets_lost")
    assert line["offset"] == 5_000
    assert len(counts) + int(str(line["lost"])) == 6_000, "delivered or said to be lost, all of them"
