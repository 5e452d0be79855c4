"""SIGKILL at random moments: nothing lost, few repeated, and somebody goes on in time."""

import random
import time

import pytest

from tests.crash.conftest import MakeStage, Measured
from tests.crash.stage import COOPERATIVE, EAGER, KIP_848, SESSION_MS, Stage, partitions_of
from tests.fakes import put_faults
from tests.integration.harness import WorkerProcess, wait_until
from worker.settings.checks import SESSION_TIMEOUT_MS

pytestmark = pytest.mark.soak

KILLS = 3
PARTITIONS = (0, 1, 2, 3)


def wait_progress(stage: Stage, requests: int) -> None:
    """Until so many more requests were answered."""
    wanted = len(stage.sandbox.ledger.requests()) + requests
    wait_until(lambda: len(stage.sandbox.ledger.requests()) >= wanted, 60, f"{wanted} requests")


def wait_both_at_work(workers: list[WorkerProcess]) -> None:
    wait_until(lambda: all(partitions_of(worker) for worker in workers), 90, "both have partitions")


@pytest.mark.parametrize("protocol", [COOPERATIVE, EAGER, KIP_848])
def test_sigkill_at_random_moments_loses_nothing_and_repeats_what_was_at_risk(
    make_stage: MakeStage, measured: Measured, seed: int, protocol: str
) -> None:
    dice = random.Random(f"{seed} {protocol}")
    stage = make_stage(protocol)
    stage.shorten_session()
    stage.make_topic(len(PARTITIONS))
    stage.produce(5_000, partitions=PARTITIONS)
    delays = (dice.randint(50, 500) for _ in range(5_000))
    put_faults(stage.sandbox, *({"delay_ms": delay, "count": 1} for delay in delays))
    workers = [stage.start(BATCH_MAX_EVENTS="20") for _ in range(2)]
    at_risk = []
    with stage.watch_commits() as watch:
        for _ in range(KILLS):
            wait_both_at_work(workers)
            wait_progress(stage, dice.randint(1, 30))
            victim = workers.pop(dice.randrange(2))
            held = partitions_of(victim)
            at_risk.append((time.monotonic(), held))
            victim.kill()
            workers.append(stage.start(BATCH_MAX_EVENTS="20"))
        assert not stage.is_settled(), "there was load until the end"
        put_faults(stage.sandbox)
        stage.wait_settled(120)
    run = stage.audit()
    bound = sum(stage.at_risk(died_at, held) for died_at, held in at_risk)
    measured(kills=KILLS, repeats=run.repeats.total(), at_most=bound)
    run.verify(max_repeats=bound)
    watch.verify(run)


@pytest.mark.parametrize(
    ("protocol", "session_ms", "at_most_seconds"),
    [
        pytest.param(COOPERATIVE, SESSION_TIMEOUT_MS, 20, id="cooperative-sticky, as it is set up by itself"),
        pytest.param(EAGER, SESSION_TIMEOUT_MS, 20, id="eager, as it is set up by itself"),
        pytest.param(KIP_848, SESSION_MS, SESSION_MS / 1000 + 5, id="kip-848, the broker grants 3 s"),
    ],
)
def test_the_partitions_of_a_killed_worker_are_worked_on_again_in_time(
    make_stage: MakeStage, measured: Measured, protocol: str, session_ms: int, at_most_seconds: float
) -> None:
    stage = make_stage(protocol)
    if session_ms == SESSION_MS:
        stage.shorten_session()
    stage.make_topic(len(PARTITIONS))
    stage.produce(1_500, partitions=PARTITIONS)
    put_faults(stage.sandbox, {"delay_ms": 300})
    workers = [stage.start(BATCH_MAX_EVENTS="20") for _ in range(2)]
    wait_both_at_work(workers)
    wait_progress(stage, 10)
    victim = workers[0]
    held = partitions_of(victim)
    died_at = time.monotonic()
    victim.kill()
    wait_until(
        lambda: all(any(r.started_at.monotonic > died_at for r in stage.requests([each])) for each in held),
        at_most_seconds + 30,
        "its partitions are worked on",
    )
    seconds = stage.resumed_at(died_at, held) - died_at
    measured(session_seconds=session_ms / 1000, resumed_after_seconds=seconds, at_most=at_most_seconds)
    assert seconds <= at_most_seconds
    put_faults(stage.sandbox)
    stage.wait_settled()
    stage.audit().verify(max_repeats=stage.at_risk(died_at, held))
