"""A batch that failed is never jumped by a later success, whatever it failed with."""

import pytest

from tests.crash.conftest import MakeStage
from tests.crash.stage import COOPERATIVE
from tests.fakes import delivered_ids, put_faults
from tests.integration.harness import wait_until

BATCH, EVENTS, CULPRIT = 10, 40, 7


@pytest.mark.parametrize("status", [401, pytest.param(400, marks=pytest.mark.soak), 500])
def test_a_later_success_never_jumps_a_failed_batch(make_stage: MakeStage, status: int) -> None:
    stage = make_stage(COOPERATIVE)
    stage.shorten_session()
    stage.make_topic(partitions=1)
    stage.produce(EVENTS)
    fault = {"status": status, "message_id": f"p0_{CULPRIT}"}
    # the delay keeps the process from being done with the halves of a 400 before it dies
    put_faults(stage.sandbox, {**fault, "delay_ms": 1_000})
    settings = {"BATCH_MAX_EVENTS": str(BATCH), "MAX_IN_FLIGHT_PER_PARTITION": "2"}
    first = stage.start(**settings)
    with stage.watch_commits() as watch:
        wait_until(lambda: f"p0_{BATCH}" in delivered_ids(stage.sandbox), 40, "the second batch is taken")
        wait_until(lambda: status in stage.sandbox.ledger.totals().statuses, 20, "the first has failed")
        first.kill()
        assert stage.committed().get(0, 0) <= CULPRIT
        put_faults(stage.sandbox, *([fault] if status == 400 else []))
        second = stage.start(**settings)
        stage.wait_settled()
    run = stage.audit()
    # it was taken together with what stood before it, and what stood behind it may have been taken before
    run.verify(max_repeats=EVENTS - 1, ordered=False)
    assert [letter.offset for letter in run.letters] == ([CULPRIT] if status == 400 else [])
    watch.verify(run)
    assert second.terminate() == 0
