from benchmarks.backfill import AT_ONCE, CASES, EIGHT_IN_FLIGHT, EVENTS, ONE_IN_FLIGHT, Pace
from benchmarks.backfill_report import against, backfill_table, middle


def paces(*rates: float) -> list[Pace]:
    return [Pace(rate, events_per_body=800.0, cpu_share=0.5, core_share=0.6) for rate in rates]


def test_what_is_shown_is_the_median_of_the_rounds() -> None:
    assert middle(paces(1, 9, 2)) == Pace(2, 800.0, 0.5, 0.6)


def test_a_ratio_is_that_of_one_round_and_not_of_two_medians() -> None:
    taken = {ONE_IN_FLIGHT: paces(100, 10, 50), EIGHT_IN_FLIGHT: paces(700, 80, 450)}
    assert against(EIGHT_IN_FLIGHT, taken) == 8


def test_every_case_has_a_row_and_a_topic_to_read() -> None:
    table = backfill_table({case: paces(1_000) for case in CASES})
    assert table.row_count == len(CASES)
    assert {case.partitions for case in CASES} == set(EVENTS)


def test_a_set_up_is_worked_out_from_the_settings_it_is_run_with() -> None:
    worked_out = EIGHT_IN_FLIGHT.set_up(events_per_body=800)
    assert (worked_out.in_flight, worked_out.concurrency, worked_out.api_seconds) == (8, 10, 0.5)
    assert AT_ONCE.set_up(events_per_body=800).in_flight == 1
