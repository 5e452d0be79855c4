"""Two processes with one `group.instance.id`: one of them ends, says why, and commits nothing."""

import json

import pytest

from tests.crash.conftest import MakeStage
from tests.crash.stage import COOPERATIVE, EAGER, KIP_848
from tests.fakes import put_faults
from tests.integration.harness import wait_until

BATCH = {"BATCH_MAX_EVENTS": "10", "KAFKA_CLIENT": json.dumps({"group.instance.id": "worker-0"})}


SOAK = pytest.mark.soak


@pytest.mark.parametrize("protocol", [COOPERATIVE, pytest.param(EAGER, marks=SOAK), pytest.param(KIP_848, marks=SOAK)])
def test_of_two_processes_with_one_static_id_one_ends_with_exit_1_and_commits_nothing(
    make_stage: MakeStage, protocol: str
) -> None:
    stage = make_stage(protocol)
    stage.make_topic(partitions=1)
    stage.produce(30)
    put_faults(stage.sandbox, {"delay_ms": 3_600_000, "count": 1})
    first = stage.start(**BATCH)
    wait_until(lambda: stage.sandbox.ledger.in_flight == 1, 40, "its first batch is held")
    with stage.watch_commits() as watch:
        second = stage.start(**BATCH)
        wait_until(lambda: {first.exit_code, second.exit_code} != {None}, 60, "one of them ends")
        ended, other = (first, second) if first.exit_code is not None else (second, first)
        assert ended.exit_code == 1
        assert "group.instance.id" in ended.log_tail()
        assert "Traceback" not in ended.log_text()
        put_faults(stage.sandbox)
        stage.wait_settled()
    run = stage.audit()
    # the first one's batch, where it was the first that had to go
    run.verify(max_repeats=10)
    watch.verify(run)
    assert other.terminate() == 0
