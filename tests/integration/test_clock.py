"""A worker whose wall clock jumps by an hour or two every second: no wait may notice."""

from itertools import pairwise
from pathlib import Path

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox

RESTLESS_CLOCK = '''
"""Python imports this at its start: for a second the time of day is right, then an hour ahead, then an hour behind."""
import datetime
import time

true_time = time.time
time.time = lambda: true_time() + (0, 3600, -3600)[int(time.monotonic()) % 3]
time.time_ns = lambda: int(time.time() * 1_000_000_000)


class Restless(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)


datetime.datetime = Restless
'''


def test_a_wall_clock_that_jumps_an_hour_either_way_disturbs_no_wait(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(RESTLESS_CLOCK)
    put_faults(
        sandbox,
        {"status": 503, "count": 2},
        {"status": 429, "retry_after": "3", "count": 1},
        {"status": 400, "message_id": "evt_7"},
    )
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        BATCH_LINGER_MS="500",
        RATE_LIMIT_PER_SECOND="5",
        PYTHONPATH=str(tmp_path),
    )
    worker.wait_ready()
    cluster.produce(topic, signals(40))

    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed, an hour's wait would show")
    assert len(delivered_ids(sandbox)) + len(cluster.read_topic(f"{topic}.dead-letters")) == len(ids(40))
    requests = sandbox.ledger.requests()
    starts = [request.started_at.monotonic for request in requests]
    throttled = [request.status for request in requests].index(429)
    assert starts[throttled + 1] - starts[throttled] >= 3, "Retry-After is obeyed"
    assert all(starts[place + 5] - starts[place] >= 0.9 for place in range(len(starts) - 5)), "five a second at most"
    stamps = [str(line["timestamp"]) for line in worker.log_lines() if "timestamp" in line]
    assert any(later < earlier for earlier, later in pairwise(stamps)), "the clock did jump"
