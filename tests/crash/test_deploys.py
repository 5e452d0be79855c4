"""Twenty rolling restarts under load: nothing lost, little repeated, every process gone in time with exit 0."""

import math
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crash.conftest import Measured
from tests.crash.stage import ANSWERED_SECONDS, COOPERATIVE, EAGER, KIP_848, Stage
from tests.fakes import put_faults
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from worker.sandbox import Sandbox

RESTARTS = 20
PARTITIONS = (0, 1, 2, 3)
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 5.0
# more than the longest answer; what is still unsent then is left to others
SHUTDOWN_SECONDS = 8
# the last commit, and leaving the group
LEAVING_SECONDS = 10


def slow_answers(stage: Stage, dice: random.Random) -> None:
    """Each answer takes its own time: mostly tenths of a second, now and then seconds."""
    spread = math.log(LONGEST_SECONDS / SHORTEST_SECONDS)
    seconds = (SHORTEST_SECONDS * math.exp(dice.random() * spread) for _ in range(5_000))
    put_faults(stage.sandbox, *({"delay_ms": round(each * 1000), "count": 1} for each in seconds))


def on_the_wire(stage: Stage, until: float, gone: float) -> int:
    """The events of all requests a process had no more time for: open when its time was up, or only just answered."""
    return sum(
        len(request.message_ids)
        for request in stage.sandbox.ledger.requests()
        if request.started_at.monotonic <= gone and request.ended_at.monotonic >= until - ANSWERED_SECONDS
    )


def restart_again_and_again(stage: Stage, dice: random.Random) -> tuple[int, list[float]]:
    """How many events were on the wire at the ends of all stops together, and how long each stop took."""
    stage.make_topic(len(PARTITIONS))
    stage.produce(500, partitions=PARTITIONS)
    slow_answers(stage, dice)

    def start() -> WorkerProcess:
        return stage.start(BATCH_MAX_EVENTS="20", SHUTDOWN_TIMEOUT_SECONDS=str(SHUTDOWN_SECONDS))

    workers = [start(), start()]
    stops: list[tuple[float, float]] = []
    seconds: list[float] = []
    for _ in range(RESTARTS):
        oldest = workers.pop(0)
        wait_until(lambda worker=oldest: worker.logged("batch.delivered"), 90, "the oldest is at work")  # type: ignore[misc]  # mypy cannot tell the default's type
        asked = time.monotonic()
        code = oldest.terminate(SHUTDOWN_SECONDS + LEAVING_SECONDS)
        gone = time.monotonic()
        seconds.append(gone - asked)
        stops.append((min(gone, asked + SHUTDOWN_SECONDS), gone))
        assert code == 0, oldest.log_tail()
        workers.append(start())
        stage.produce(250, partitions=PARTITIONS)
    put_faults(stage.sandbox)
    stage.wait_settled(120)
    for worker in workers:
        worker.wait_ready(60)  # before it has a handler, SIGTERM ends a process its own way
    assert [worker.terminate() for worker in workers] == [0, 0]
    return sum(on_the_wire(stage, until, gone) for until, gone in stops), seconds


@pytest.mark.soak
def test_twenty_rolling_restarts_under_load_lose_nothing_and_stop_in_time(
    cluster: Cluster, start_worker: StartWorker, seed: int, measured: Measured
) -> None:
    protocols = (COOPERATIVE, EAGER, KIP_848)
    with Sandbox(max_events=100_000) as one, Sandbox(max_events=100_000) as two, Sandbox(max_events=100_000) as three:
        sandboxes = (one, two, three)
        stages = [
            Stage(cluster, sandbox, start_worker, protocol)
            for sandbox, protocol in zip(sandboxes, protocols, strict=True)
        ]
        # side by side: what takes time is the waiting for answers
        with ThreadPoolExecutor(len(stages)) as pool:
            ends = list(pool.map(restart_again_and_again, stages, map(random.Random, (seed, seed + 1, seed + 2))))
        for stage, (at_risk, seconds) in zip(stages, ends, strict=True):
            run = stage.audit()
            measured(stage.protocol, repeats=run.repeats.total(), at_most=at_risk, slowest_stop_seconds=max(seconds))
            run.verify(max_repeats=at_risk)
