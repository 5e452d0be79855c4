"""An API that takes its time: the group never notices, and one slow partition is nobody else's matter."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox


def protocols(max_poll_seconds: int) -> dict[str, dict[str, str]]:
    """Settings under which a worker that does not poll for so long loses its partitions."""
    poll, session = f'"max.poll.interval.ms": {max_poll_seconds}000', '"session.timeout.ms": 6000'
    return {
        "cooperative-sticky": {"KAFKA_CLIENT": f"{{{poll}, {session}}}"},
        "eager": {"KAFKA_CLIENT": f'{{{poll}, {session}, "partition.assignment.strategy": "range"}}'},
        "kip-848": {"KAFKA_CLIENT": f"{{{poll}}}", "KAFKA_GROUP_PROTOCOL": "consumer"},
    }


@pytest.fixture
def sandboxes() -> Iterator[dict[str, Sandbox]]:
    """One for each protocol: they run side by side, for the waiting is the same."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Sandbox()) for name in protocols(10)}


@pytest.mark.parametrize(
    ("answer_seconds", "retry_after", "max_poll_seconds"),
    [
        pytest.param(9, None, 6, id="answers after one and a half intervals"),
        pytest.param(30, None, 10, id="answers after 30 s", marks=pytest.mark.soak),
        pytest.param(0, "60", 10, id="Retry-After: 60", marks=pytest.mark.soak),
    ],
)
def test_an_answer_later_than_the_poll_interval_costs_neither_a_rebalance_nor_a_repeat(
    cluster: Cluster,
    start_worker: StartWorker,
    sandboxes: dict[str, Sandbox],
    answer_seconds: int,
    retry_after: str | None,
    max_poll_seconds: int,
) -> None:
    topic = cluster.make_topic(partitions=2)
    workers: dict[str, tuple[WorkerProcess, str]] = {}
    for name, settings in protocols(max_poll_seconds).items():
        fault: dict[str, object] = {"delay_ms": answer_seconds * 1_000}
        put_faults(
            sandboxes[name], fault if retry_after is None else {"status": 429, "retry_after": retry_after, "count": 1}
        )
        group = cluster.unique(name)
        worker = start_worker(
            KAFKA_TOPICS=topic,
            KAFKA_CONSUMER_GROUP=group,
            DREAMDATA_URL=sandboxes[name].url,
            REQUEST_TIMEOUT_SECONDS="60",
            **settings,
        )
        workers[name] = worker, group
    for worker, _ in workers.values():
        worker.wait_ready()
    before = {name: worker.metrics().value("rebalances_total") for name, (worker, _) in workers.items()}
    cluster.produce(topic, [Message(m.value, partition=n % 2) for n, m in enumerate(signals(20))])
    wait_until(
        lambda: all(sandbox.ledger.totals().requests for sandbox in sandboxes.values()), 30, "the first requests"
    )
    began = time.monotonic()
    for name, (_, group) in workers.items():
        wait_until(lambda g=group: settled(cluster, g, topic), 150, f"all is committed: {name}")  # type: ignore[misc]
    assert time.monotonic() - began > max_poll_seconds, "or it would show nothing"
    for name, (worker, _) in workers.items():
        assert worker.metrics().value("rebalances_total") == before[name], name
        assert delivered_ids(sandboxes[name]) == dict.fromkeys(ids(20), 1), name


@pytest.mark.soak
def test_a_partition_whose_answers_are_slow_takes_nothing_from_the_others(
    cluster: Cluster, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    """Every answer takes 100 ms, so that the pace is the API's and not that of this machine."""
    topic, batch = cluster.make_topic(partitions=4), 100
    produced = [
        Message(m.value, partition=partition)
        for partition in range(4)
        for m in signals(20 * batch, prefix=f"p{partition}")
    ]
    cluster.produce(topic, produced)
    slow: list[dict[str, object]] = [
        {"message_id": f"p0_{number}", "delay_ms": 2_000} for number in range(0, 20 * batch, batch)
    ]
    seconds: list[float] = []
    for faults in ([], slow):
        group = cluster.unique("group")
        put_faults(sandbox, *faults, {"delay_ms": 100})
        worker = start_worker(
            KAFKA_TOPICS=topic,
            KAFKA_CONSUMER_GROUP=group,
            DREAMDATA_URL=sandbox.url,
            BATCH_MAX_EVENTS=str(batch),
            BATCH_LINGER_MS="5000",
        )
        seconds.append(others_took(cluster, group, topic))
        worker.kill()
    assert seconds[0] >= 0.9 * seconds[1], f"{seconds[0]:.1f} s alone, {seconds[1]:.1f} s beside a slow partition"


def others_took(cluster: Cluster, group: str, topic: str) -> float:
    """From the first commit behind the start to the last of partitions 1, 2 and 3."""

    def committed() -> list[int]:
        offsets = cluster.committed(group, topic)
        return [offsets.get(partition, 0) for partition in (1, 2, 3)]

    wait_until(lambda: any(committed()), 40, "the first commit")
    began = time.monotonic()
    wait_until(lambda: committed() == [2_000] * 3, 60, "the other partitions are done")
    return time.monotonic() - began
