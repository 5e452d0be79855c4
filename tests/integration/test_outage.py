"""The API down with more to deliver than fits in memory: bounded memory, a quiet log, and all of it once it is back."""

import gc
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox
from worker.sandbox.ledger import Request

PARTITIONS = 4
EVENTS = 120_000
EVENT_BYTES = 2_000
OUTAGE_SECONDS = 70
MAX_RSS_BYTES = 150_000_000


def rss_bytes(worker: WorkerProcess) -> int:
    status = Path(f"/proc/{worker.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.endurance
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux's")
def test_an_outage_with_a_deep_backlog_costs_neither_memory_nor_membership_nor_an_event(
    cluster: Cluster, group: str, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=PARTITIONS)
    padding = {"padding": "x" * EVENT_BYTES}
    messages = (Message(m.value, partition=n % PARTITIONS) for n, m in enumerate(signals(EVENTS, properties=padding)))
    cluster.produce(topic, messages)
    with Sandbox(max_events=EVENTS * 2, max_event_bytes=EVENTS * EVENT_BYTES * 4) as sandbox:
        put_faults(sandbox, {"status": 503})
        worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
        wait_until(
            lambda: worker.is_ready() and worker.metrics().value("paused_partitions") == PARTITIONS, 60, "paused"
        )
        rebalances, began = worker.metrics().value("rebalances_total"), time.monotonic()
        resident: list[int] = []
        while time.monotonic() - began < OUTAGE_SECONDS:
            resident.append(rss_bytes(worker))
            assert worker.get("/healthz")[0] == 200
            time.sleep(0.5)
        warnings = [line for line in worker.log_lines() if line.get("level") == "warning"]
        assert len(warnings) <= 1 + OUTAGE_SECONDS // 60 + 1, warnings
        assert max(resident) < MAX_RSS_BYTES
        assert max(resident) - resident[len(resident) // 2] < 5_000_000, "flat"
        put_faults(sandbox)
        back_at = time.monotonic()
        while not settled(cluster, group, topic):
            resident.append(rss_bytes(worker))
            assert time.monotonic() - back_at < 240, "full recovery"
            time.sleep(0.2)
        took = time.monotonic() - back_at
        assert max(resident) < MAX_RSS_BYTES, "nor while it catches up"
        assert worker.metrics().value("rebalances_total") == rebalances
        assert delivered_ids(sandbox) == dict.fromkeys(ids(EVENTS), 1)
        taken = [request for request in sandbox.ledger.requests() if request.status == 200]
        pause_ms = max(pauses(taken)) * 1_000
        print(f"{max(resident) / 1e6:.0f} MB at most, {took:.1f} s to recover, pause {pause_ms:.0f} ms")  # noqa: T201  # measured


def pauses(taken: Sequence[Request]) -> Iterator[float]:
    """The seconds in which the API had none of these requests to answer."""
    in_order = sorted(taken, key=lambda request: request.started_at.monotonic)
    answered_at = accumulate((request.ended_at.monotonic for request in in_order), max)
    for busy_until, later in zip(answered_at, in_order[1:], strict=False):
        yield max(0.0, later.started_at.monotonic - busy_until)


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """The sandbox is a thread of this process: its answers must not wait for a collection of garbage."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.soak
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("partitions", [1, 4])
def test_once_the_api_is_back_requests_follow_each_other_without_a_pause(
    cluster: Cluster, group: str, start_worker: StartWorker, partitions: int
) -> None:
    """Ten outages. The median, because this machine's other work takes the CPU away at times; the bound of each is
    what a partition waited that nobody woke.
    """
    topic = cluster.make_topic(partitions=partitions)
    padding = {"padding": "x" * EVENT_BYTES}
    messages = (Message(m.value, partition=n % partitions) for n, m in enumerate(signals(60_000, properties=padding)))
    cluster.produce(topic, messages)
    longest: list[float] = []
    with Sandbox() as sandbox:
        put_faults(sandbox, {"status": 503})
        worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
        worker.wait_ready()
        for _ in range(10):
            wait_until(lambda: worker.metrics().value("paused_partitions") == partitions, 60, "all are paused")
            accepted, back_at = sandbox.ledger.totals().accepted, time.monotonic()
            put_faults(sandbox)
            wait_until(lambda more=accepted + 3_000: sandbox.ledger.totals().accepted > more, 60, "delivery goes on")  # type: ignore[misc]
            down_at = time.monotonic()
            put_faults(sandbox, {"status": 503})
            answered = [each for each in sandbox.ledger.requests() if back_at < each.started_at.monotonic < down_at]
            longest.append(max(pauses([each for each in answered if each.status == 200])))
    print("longest pauses:", *(f"{seconds * 1_000:.0f}" for seconds in sorted(longest)), "ms")  # noqa: T201  # measured
    assert median(longest) < 0.1
    assert max(longest) < 0.9
