from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from tests.integration.harness import wait_until
from worker.core.records import TopicPartition
from worker.core.stretches import Stretch
from worker.errors import KafkaUnavailableError
from worker.finish import FinishLine, Standing, standings_of

GROUP = "dreamdata-worker.replay.june"
A, B = TopicPartition("delivery-a", 0), TopicPartition("delivery-a", 1)
STRETCH = Stretch(0, 9)


@dataclass(frozen=True, slots=True)
class Committed:
    offset: int | None
    metadata: str = STRETCH.text()


@dataclass(slots=True)
class Ledger:
    answers: dict[TopicPartition, Committed] = field(default_factory=dict)
    down: bool = False
    asked: int = 0

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        self.asked += 1
        if self.down:
            raise KafkaUnavailableError("no broker answers")
        assert group == GROUP
        return {tp: self.answers[tp] for tp in partitions if tp in self.answers}


def test_what_the_group_has_no_part_of_is_left_out() -> None:
    ledger = Ledger({A: Committed(4), B: Committed(None, "")})

    assert standings_of(ledger, GROUP, [A, B]) == {A: Standing(STRETCH, 4)}


def test_an_answer_for_some_partitions_is_none() -> None:
    """A run of which half is not known is not half done."""
    with pytest.raises(KafkaUnavailableError):
        standings_of(Ledger({A: Committed(9)}), GROUP, [A, B])


def test_a_run_is_done_when_every_partition_is_at_its_end() -> None:
    ledger = Ledger({A: Committed(9), B: Committed(8)})
    line = FinishLine(ledger, GROUP, [A, B])
    line.start()
    try:
        wait_until(lambda: line.standings, 10, "it has looked")
        assert not line.reached()
        ledger.answers[B] = Committed(9)
        wait_until(line.reached, 10, "the end")
    finally:
        line.close()


def test_while_kafka_does_not_answer_a_run_is_not_done() -> None:
    ledger = Ledger({A: Committed(9)}, down=True)
    line = FinishLine(ledger, GROUP, [A])
    line.start()
    try:
        wait_until(lambda: ledger.asked >= 2, 10, "it asks again")
        assert not line.reached()
        ledger.down = False
        wait_until(line.reached, 10, "the end")
    finally:
        line.close()


def test_a_run_of_which_nothing_is_committed_any_more_is_not_done() -> None:
    ledger = Ledger({A: Committed(None, "")})
    line = FinishLine(ledger, GROUP, [A])
    line.start()
    try:
        wait_until(lambda: ledger.asked >= 2, 10, "it asks again")
        assert not line.reached()
    finally:
        line.close()
