"""A process that was taken for dead and comes back writes no offset, no dead letter and nothing of a visitor."""

import signal
from typing import Any

import pytest

from tests.crash.conftest import MakeStage, Measured
from tests.crash.driver import Point
from tests.crash.stage import COOPERATIVE, EAGER, KIP_848, Stage
from tests.fakes import put_faults
from tests.integration.cluster import Message
from tests.integration.harness import WorkerProcess, wait_until

SOAK = pytest.mark.soak
# one event a batch, so that a refusal is a dead letter at once
ONE_EACH: dict[str, Any] = {"BATCH_MAX_EVENTS": "1"}


def wake_too_late(stage: Stage, zombie: WorkerProcess) -> None:
    """A successor is done with everything when the zombie wakes up; then there is more for both, and both are sound."""
    successor = stage.start(**ONE_EACH)
    stage.wait_settled()
    put_faults(stage.sandbox)
    assigned = len(zombie.logged("partition.assigned"))
    zombie.send_signal(signal.SIGCONT)
    wait_until(
        lambda: len(zombie.logged("partition.assigned")) > assigned, 60, f"it is a member again\n{zombie.log_tail()}"
    )
    stage.produce(10, partitions=(0, 1), identifying=True)
    stage.wait_settled()
    assert [zombie.terminate(), successor.terminate()] == [0, 0]


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        pytest.param(COOPERATIVE, {"status": 400}, id="cooperative-sticky-refused"),
        pytest.param(EAGER, {}, id="eager-taken", marks=SOAK),
        pytest.param(KIP_848, {"status": 400}, id="kip-848-refused", marks=SOAK),
    ],
)
def test_a_worker_that_slept_through_a_rebalance_writes_nothing_of_what_it_hears_afterwards(
    make_stage: MakeStage, measured: Measured, protocol: str, answer: dict[str, object]
) -> None:
    stage = make_stage(protocol)
    stage.shorten_session()
    stage.make_topic(partitions=2)
    stage.produce(10, partitions=(0, 1), identifying=True)
    put_faults(stage.sandbox, {"delay_ms": 3_600_000, "count": 2, **answer})
    zombie = stage.start(**ONE_EACH)
    wait_until(lambda: stage.sandbox.ledger.in_flight == 2, 40, "both are held")
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        zombie.send_signal(signal.SIGSTOP)
        wake_too_late(stage, zombie)
    run = stage.audit()
    # it may send on, until it hears that its time is over: at most what it had read
    run.verify(max_repeats=20)
    measured(repeats=run.repeats.total())
    assert run.letters == []
    watch.verify(run)
    stage.verify_identities(run, identities)


@pytest.mark.parametrize(
    ("protocol", "point"),
    [
        (COOPERATIVE, Point.LETTERS_WRITTEN),
        (COOPERATIVE, Point.IDENTITIES_WRITTEN),
        (EAGER, Point.OFFSETS_WRITTEN),
        (KIP_848, Point.IDENTITIES_WRITTEN),
    ],
)
@SOAK
def test_a_worker_that_slept_inside_its_transaction_does_not_end_it_behind_its_successors_back(
    make_stage: MakeStage, measured: Measured, protocol: str, point: Point
) -> None:
    stage = make_stage(protocol)
    stage.shorten_session()
    stage.make_topic(partitions=2)
    stage.produce_messages([Message(b"no event", partition=partition) for partition in (0, 1)])
    stage.produce(10, partitions=(0, 1), identifying=True)
    zombie = stage.start_mortal(point, number="SIGSTOP", **ONE_EACH)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        wait_until(zombie.is_stopped, 60, f"it sleeps\n{zombie.log_tail()}")
        wake_too_late(stage, zombie)
    run = stage.audit()
    run.verify(max_repeats=20)
    measured(repeats=run.repeats.total())
    assert len(run.letters) == 2
    watch.verify(run)
    stage.verify_identities(run, identities)
