import pytest

from tests.builders import policy, signals
from tests.simulator import Simulator, good
from worker.core.pace import Pace


def decided(pace: Pace, now: float) -> int:
    count = 0
    while pace.allows(now):
        pace.spend()
        count += 1
    return count


@pytest.mark.parametrize(("per_second", "at_once"), [(1, 1), (5, 1), (10, 2), (200, 40)])
def test_a_fifth_of_a_second_s_records_pass_at_once_and_one_at_least(per_second: int, at_once: int) -> None:
    assert decided(Pace(per_second), 100.0) == at_once


@pytest.mark.parametrize("step", [0.005, 0.1])
def test_over_time_so_many_records_a_second_pass(step: float) -> None:
    pace = Pace(100)

    count = sum(decided(pace, number * step) for number in range(round(60 / step)))

    assert 5_990 <= count <= 6_020


def test_time_in_which_nothing_was_decided_is_not_made_up_for() -> None:
    pace = Pace(10)
    decided(pace, 0.0)

    assert decided(pace, 3_600.0) == 2


def test_a_limited_pipeline_delivers_all_in_its_time_from_every_partition() -> None:
    simulator = Simulator(chosen=policy(), partitions=2)
    simulator.pipeline.intake.pace = Pace(10)
    for partition in (0, 1):
        simulator.produce(*signals(range(100), partition), partition=partition)
    simulator.own()
    for _ in range(100):
        simulator.turn(good, 0.1)
    early = [sum(there.outcomes.values()) for there in simulator.partitions.values()]

    for _ in range(150):
        simulator.turn(good, 0.1)

    assert all(30 <= count <= 70 for count in early), early
    assert simulator.lag() == 0
