from benchmarks.contenders import Run
from benchmarks.report import cpu_microseconds, differences, fill, per_second
from benchmarks.sink import Taken


def run(contender: str = "worker", *, cpu_seconds: float = 1.0, **taken: object) -> Run:
    valid = {"requests": 2, "events": 10, "ids": 10, "digest": "d", "sizes": [9, 9], "first_at": 1.0, "last_at": 3.0}
    return Run(contender, cpu_seconds, 5.0, 1_000, Taken(**{**valid, **taken}))  # type: ignore[arg-type]  # by name


def test_runs_that_delivered_the_same_events_can_be_compared() -> None:
    assert differences([run(), run("expert")], 10) == []


def test_an_event_that_is_missing_or_doubled_is_a_difference() -> None:
    assert len(differences([run(events=9, ids=9), run("expert", events=11)], 10)) == 2


def test_as_many_events_with_other_ids_are_a_difference() -> None:
    assert differences([run(), run("expert", digest="other")], 10) == ["not all of them delivered the same ids"]


def test_a_body_at_the_limit_is_a_difference() -> None:
    assert differences([run(sizes=[500_000])], 10) == ["worker sent a body of 500,000 bytes"]


def test_cpu_is_the_median_of_its_own_runs_over_all_records() -> None:
    runs = [run(cpu_seconds=3.0), run(cpu_seconds=1.0), run(cpu_seconds=2.0), run("expert", cpu_seconds=9.0)]
    assert cpu_microseconds(runs, "worker", 1_000_000) == 2.0


def test_the_rate_is_over_the_time_at_work() -> None:
    assert per_second(run(), 10) == 5.0


def test_the_last_body_of_each_partition_does_not_count_as_backlog() -> None:
    assert fill(run(sizes=[500_000, 400_000, 7, 7]), partitions=2) == 0.9
