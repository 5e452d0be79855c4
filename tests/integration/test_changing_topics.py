"""Topics that change under a running worker: partitions added, topics made, deleted, and made again."""

import pytest

from tests.fakes import delivered_ids
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox

SOON = '"topic.metadata.refresh.interval.ms": 1000'
PROTOCOLS = [
    pytest.param({"KAFKA_CLIENT": f"{{{SOON}}}"}, id="cooperative-sticky"),
    pytest.param(
        {"KAFKA_CLIENT": f'{{{SOON}, "partition.assignment.strategy": "range"}}'}, id="eager", marks=pytest.mark.soak
    ),
    pytest.param({"KAFKA_CLIENT": f"{{{SOON}}}", "KAFKA_GROUP_PROTOCOL": "consumer"}, id="kip-848"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partitions_added_at_work_are_read_from_their_beginning(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_AUTO_OFFSET_RESET="latest",
        **protocol,
    )
    worker.wait_ready()
    wait_until(lambda: cluster.committed(group, topic) == {0: 0}, 20, "the start is committed")
    cluster.add_partitions(topic, 3)
    cluster.produce(topic, [Message(m.value, partition=n % 3) for n, m in enumerate(signals(30))])
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(30), 1)
    wait_until(lambda: worker.metrics().value("consumer_lag", topic=topic) == 0, 20, "the lag is 0")


@pytest.mark.soak
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_topic_that_comes_to_match_is_read_from_its_beginning_and_one_that_goes_holds_nobody(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: dict[str, str]
) -> None:
    """The cluster's topics are looked at twice a minute."""
    stem = cluster.unique("delivery")
    first = cluster.make_topic(name=f"{stem}-a")
    worker = start_worker(
        KAFKA_TOPICS=f"^{stem}",
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_AUTO_OFFSET_RESET="latest",
        **protocol,
    )
    worker.wait_ready()
    wait_until(lambda: cluster.committed(group, first) == {0: 0}, 20, "the start is committed")
    second = cluster.make_topic(name=f"{stem}-b")
    cluster.produce(second, signals(10))
    wait_until(lambda: settled(cluster, group, second), 90, "the new topic is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(10), 1)

    cluster.delete_topic(first)
    # a look that comes while the topic is being deleted may fail, and the next is half a minute later
    wait_until(lambda: worker.logged("topics.subscribed")[-1]["topics"] == [second], 120, "the old topic is given up")
    cluster.produce(second, signals(10, prefix="later"))
    wait_until(lambda: settled(cluster, group, second), 60, "the other topic goes on")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(10) | ids(10, prefix="later"), 1)
    worker.wait_ready()
    assert worker.terminate() == 0


COOPERATIVE, EAGER, KIP_848 = (protocol.values[0] for protocol in PROTOCOLS)


@pytest.mark.parametrize(
    ("protocol", "events"),
    [
        pytest.param(COOPERATIVE, 8, id="cooperative-sticky, longer than the old one"),
        pytest.param(COOPERATIVE, 3, id="cooperative-sticky, shorter", marks=pytest.mark.soak),
        pytest.param(EAGER, 8, id="eager, longer", marks=pytest.mark.soak),
        pytest.param(EAGER, 3, id="eager, shorter", marks=pytest.mark.soak),
        pytest.param(KIP_848, 8, id="kip-848, longer", marks=pytest.mark.soak),
        pytest.param(KIP_848, 3, id="kip-848, shorter"),
    ],
)
def test_a_topic_deleted_and_made_again_at_work_is_read_from_its_beginning_and_said(
    cluster: Cluster,
    topic: str,
    group: str,
    sandbox: Sandbox,
    start_worker: StartWorker,
    protocol: dict[str, str],
    events: int,
) -> None:
    """Whether the offset to go on at is beyond the end of the new topic, or names a record in the midst of it."""
    cluster.produce(topic, signals(5, prefix="old"))
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url, **protocol)
    wait_until(lambda: settled(cluster, group, topic), 40, "the old topic is committed")
    cluster.delete_topic(topic)
    cluster.make_topic(name=topic)
    cluster.produce(topic, signals(events))
    wait_until(lambda: worker.logged("topic.made_anew"), 60, "it is said")
    wait_until(lambda: ids(events) <= delivered_ids(sandbox).keys(), 60, "all of the new topic is delivered")
    wait_until(lambda: settled(cluster, group, topic), 60, "the new topic is committed")
    # until it is noticed, what lies behind the old offset
    found = delivered_ids(sandbox)
    assert found.keys() == ids(5, prefix="old") | ids(events)
    assert found.total() - len(found) <= max(0, events - 5)
    wait_until(worker.is_ready, 60, "ready")
    assert [line["topic"] for line in worker.logged("topic.made_anew")] == [topic]
    assert worker.terminate() == 0
