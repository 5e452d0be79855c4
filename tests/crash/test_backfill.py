"""Eight batches of one partition on their way at once, answered in any order: SIGKILL loses nothing."""

import random
import time

from tests.crash.conftest import MakeStage, Measured
from tests.crash.stage import ANSWERED_SECONDS, COOPERATIVE, READ_SECONDS, number_of
from tests.fakes import put_faults
from tests.integration.audit import at_risk_in_any_order
from tests.integration.harness import wait_until

IN_FLIGHT, BATCH = 8, 10
SETTINGS = {"MAX_IN_FLIGHT_PER_PARTITION": str(IN_FLIGHT), "BATCH_MAX_EVENTS": str(BATCH)}
REFUSED = [{"status": 400, "message_id": f"p0_{number}", "delay_ms": 200} for number in (133, 477)]


def test_sigkill_with_eight_in_flight_and_answers_out_of_order_loses_nothing_and_commits_no_gap(
    make_stage: MakeStage, measured: Measured, seed: int
) -> None:
    dice = random.Random(seed)
    stage = make_stage(COOPERATIVE)
    stage.shorten_session()
    stage.make_topic(partitions=1)
    stage.produce(4_000)
    put_faults(
        stage.sandbox, *REFUSED, *({"delay_ms": dice.randint(50, 600), "count": 1} for _ in range(4_000 // BATCH))
    )
    with stage.watch_commits() as watch:
        first = stage.start(**SETTINGS)
        wait_until(lambda: len(stage.sandbox.ledger.requests()) > 90, 60, "it is well under way")
        wait_until(lambda: stage.sandbox.ledger.in_flight == IN_FLIGHT, 30, "eight are on the wire")
        first.kill()
        died_at = time.monotonic()
        stage.start(**SETTINGS)
        wait_until(
            lambda: len([r for r in stage.requests([0]) if r.started_at.monotonic > died_at]) > 90, 60, "it goes on"
        )
        assert not stage.is_settled(), "there was load until the end"
        put_faults(stage.sandbox, *REFUSED)
        stage.wait_settled()
    run = stage.audit()
    bound = at_risk_in_any_order(
        stage.requests([0]),
        number_of,
        died_at,
        read_within_seconds=READ_SECONDS,
        answered_within_seconds=ANSWERED_SECONDS,
    )
    measured(repeats=run.repeats.total(), at_most=bound, out_of_order=len(run.overtaken))
    assert run.overtaken, "or it would show nothing"
    assert bound < len(stage.produced) / 4, "or it would say nothing"
    run.verify(max_repeats=bound, ordered=False)
    assert len(run.letters) == len(REFUSED)
    watch.verify(run)
