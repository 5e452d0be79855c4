"""An answer, or a transaction, that comes when its partition has moved on: it settles nothing, and writes nothing."""

from signal import SIGUSR1
from typing import Any

import pytest

from tests.crash.conftest import MakeStage
from tests.crash.driver import STALL, Point
from tests.crash.stage import COOPERATIVE, EAGER, KIP_848, Stage, partitions_of
from tests.fakes import put_faults
from tests.integration.cluster import Message
from tests.integration.harness import WorkerProcess, wait_until

SOAK = pytest.mark.soak
ONE_EACH: dict[str, Any] = {"BATCH_MAX_EVENTS": "1"}


def start_and_hold(stage: Stage, answer: dict[str, object]) -> WorkerProcess:
    """A worker with two partitions and one request of each on the wire; whatever is asked next is answered 503."""
    stage.shorten_revocation()
    stage.make_topic(partitions=2)
    stage.produce(20, partitions=(0, 1), identifying=True)
    put_faults(stage.sandbox, {"delay_ms": 3_600_000, "count": 2, **answer}, {"status": 503})
    worker = stage.start(**ONE_EACH)
    worker.wait_ready()
    wait_until(lambda: stage.sandbox.ledger.in_flight == 2, 30, "both are held")
    return worker


def move_one(stage: Stage) -> tuple[WorkerProcess, int]:
    """Another worker, and the partition that has moved to it and that it works on."""
    second = stage.start(**ONE_EACH)
    wait_until(lambda: partitions_of(second), 60, "a partition has moved")
    (moved,) = partitions_of(second)
    wait_until(lambda: was_tried_again(stage, moved), 30, "its new owner works on it")
    return second, moved


def was_tried_again(stage: Stage, partition: int, after: float = 0.0) -> bool:
    """Whether the first event of the partition was answered 503 by now, in a request begun after that moment."""
    return any(
        f"p{partition}_0" in request.message_ids and request.started_at.monotonic > after
        for request in stage.sandbox.ledger.requests()
    )


def release(stage: Stage, moved: int, first: WorkerProcess, outcome: str) -> None:
    """Lets the held answers go, and all others through, but not what the moved partition tries again."""
    put_faults(stage.sandbox, {"status": 503, "message_id": f"p{moved}_0"})
    wait_until(
        lambda: any(line["partition"] == moved for line in first.logged(outcome)), 30, "the late answer was heard"
    )
    wait_until(lambda: stage.is_settled(1 - moved), 60, "the other partition is committed to its end")


@pytest.mark.parametrize(
    ("protocol", "answer", "outcome"),
    [
        pytest.param(COOPERATIVE, {}, "batch.delivered", id="cooperative-sticky-taken"),
        pytest.param(COOPERATIVE, {"status": 400}, "batch.rejected", id="cooperative-sticky-refused", marks=SOAK),
        pytest.param(EAGER, {}, "batch.delivered", id="eager-taken", marks=SOAK),
        pytest.param(KIP_848, {"status": 400}, "batch.rejected", id="kip-848-refused", marks=SOAK),
    ],
)
def test_an_answer_that_comes_after_its_partition_has_moved_commits_nothing_and_writes_no_dead_letter(
    make_stage: MakeStage, protocol: str, answer: dict[str, object], outcome: str
) -> None:
    stage = make_stage(protocol)
    first = start_and_hold(stage, answer)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        second, moved = move_one(stage)
        release(stage, moved, first, outcome)
        assert stage.committed().get(moved, 0) == 0, "its new owner's answer is still to come"
        assert identities.entries(moved) == [], "nothing is learned from an offset that is not committed"
        put_faults(stage.sandbox)
        stage.wait_settled()
    run = stage.audit()
    # what was on the wire is taken twice, or its only outcome is the new owner's
    run.verify(max_repeats=2 if outcome == "batch.delivered" else 0)
    assert not [letter for letter in run.letters if letter.partition == moved]
    watch.verify(run)
    stage.verify_identities(run, identities)
    assert [first.terminate(), second.terminate()] == [0, 0]


@pytest.mark.parametrize("protocol", [COOPERATIVE, EAGER, KIP_848])
@SOAK
def test_an_answer_from_before_a_partition_left_and_came_back_commits_nothing(
    make_stage: MakeStage, protocol: str
) -> None:
    stage = make_stage(protocol)
    first = start_and_hold(stage, {})
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        second, moved = move_one(stage)
        assert second.terminate() == 0
        left_at = stage.sandbox.ledger.requests()[-1].ended_at.monotonic
        wait_until(lambda: was_tried_again(stage, moved, after=left_at), 60, "it has come back, and is worked on")
        release(stage, moved, first, "batch.delivered")
        assert stage.committed().get(moved, 0) == 0, "the answer to its new attempt is still to come"
        assert identities.entries(moved) == [], "nothing is learned from an offset that is not committed"
        put_faults(stage.sandbox)
        stage.wait_settled()
    run = stage.audit()
    run.verify(max_repeats=2)
    watch.verify(run)
    stage.verify_identities(run, identities)
    assert first.terminate() == 0


@pytest.mark.parametrize(
    ("protocol", "comes_back"),
    [
        pytest.param(COOPERATIVE, False, id="cooperative-sticky-moved"),
        pytest.param(COOPERATIVE, True, id="cooperative-sticky-came-back", marks=SOAK),
        pytest.param(EAGER, False, id="eager-moved", marks=SOAK),
        pytest.param(KIP_848, False, id="kip-848-moved", marks=SOAK),
        pytest.param(KIP_848, True, id="kip-848-came-back", marks=SOAK),
    ],
)
def test_a_transaction_that_comes_after_its_partition_has_moved_writes_nothing(
    make_stage: MakeStage, protocol: str, *, comes_back: bool
) -> None:
    """The first commit waits for the coordinator of transactions while the new owner goes further."""
    stage = make_stage(protocol)
    stage.shorten_revocation()
    stage.make_topic(partitions=2)
    stage.produce_messages([Message(b"no event", partition=partition) for partition in (0, 1)])
    stage.produce(20, partitions=(0, 1), identifying=True)
    at_most = len(stage.traits)
    first = stage.start_mortal(Point.REGISTERING, number=STALL, **ONE_EACH)
    wait_until(lambda: first.logged("batch.delivered"), 40, "there is something to commit")
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        second = stage.start(**ONE_EACH)
        wait_until(lambda: partitions_of(second), 60, "a partition has moved")
        (moved,) = partitions_of(second)
        wait_until(lambda: stage.is_settled(moved), 60, "its new owner has committed it to its end")
        if comes_back:
            assert second.terminate() == 0
            wait_until(lambda: moved in partitions_of(first), 60, "it has come back")
        stage.produce(10, partitions=(moved,), identifying=True)
        first.send_signal(SIGUSR1)
        stage.wait_settled()
    run = stage.audit()
    run.verify(max_repeats=at_most)
    watch.verify(run)
    stage.verify_identities(run, identities)
    assert first.terminate() == 0
