import io
import json
from collections import Counter

import pytest
from prometheus_client import generate_latest
from rich.console import Console

from worker.core.outcomes import Outcome, Reason
from worker.demo.report import Result, answers, counted, excerpt, expected, table, verdict
from worker.demo.site import Produced
from worker.metrics import Metrics

DELIVERED = (Outcome.DELIVERED, Reason.DELIVERED)
DENIED = (Outcome.FILTERED, Reason.CONSENT_DENIED)
POISON = (Outcome.DEAD_LETTERED, Reason.REJECTED)


def record(message_id: str, outcome: Outcome, reason: Reason) -> Produced:
    return Produced(b"df_1", b"", message_id, outcome, reason)


RECORDS = [
    record("evt_1", *DELIVERED),
    record("evt_2", *DELIVERED),
    record("evt_3", *DENIED),
    record("evt_4", *POISON),
]


def result(
    tally: Counter[tuple[Outcome, Reason]] | None = None,
    taken: Counter[str] | None = None,
    dead_letters: int = 1,
) -> Result:
    return Result(
        expected=expected(RECORDS),
        counted=expected(RECORDS) if tally is None else tally,
        taken_ids=Counter(["evt_1", "evt_2"]) if taken is None else taken,
        expected_ids=frozenset({"evt_1", "evt_2"}),
        dead_letters=dead_letters,
    )


def shown(of: Result) -> list[list[str]]:
    """The cells of the table, row by row, without its borders."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table(of))
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_what_is_expected_is_counted_by_outcome_and_reason() -> None:
    assert expected(RECORDS) == {DELIVERED: 2, DENIED: 1, POISON: 1}


def test_what_the_worker_counted_is_read_from_its_metrics() -> None:
    metrics = Metrics()
    metrics.records.labels("delivered", "").inc(1800)
    metrics.records.labels("filtered", "consent-denied").inc(7)

    assert counted(generate_latest(metrics.registry).decode()) == {DELIVERED: 1800, DENIED: 7}


def test_outcomes_that_never_happened_are_left_out() -> None:
    metrics = Metrics()
    metrics.records.labels("filtered", "absorbed").inc(0)

    assert counted(generate_latest(metrics.registry).decode()) == {}


def test_answers_are_counted_by_status() -> None:
    metrics = Metrics()
    metrics.requests.labels("200").inc(30)
    metrics.requests.labels("400").inc(11)

    assert answers(generate_latest(metrics.registry).decode()) == {"200": 30, "400": 11}


def test_all_in_its_place_adds_up() -> None:
    assert result().problems == []
    assert "It adds up: all 4 records" in verdict(result())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (result(tally=Counter({DELIVERED: 2, POISON: 1})), "filtered (consent-denied): 1 expected, 0 counted"),
        (result(tally=Counter({DELIVERED: 3, DENIED: 1, POISON: 1})), "delivered: 2 expected, 3 counted"),
        (result(taken=Counter(["evt_1"])), "1 events that were to be delivered did not reach the API"),
        (result(taken=Counter(["evt_1", "evt_1"])), "1 events that were to be delivered did not reach the API"),
        (result(taken=Counter(["evt_1", "evt_2", "evt_3"])), "1 events reached the API that should not have"),
        (result(dead_letters=0), "1 dead letters expected, 0 are in their topic"),
    ],
    ids=["one lost", "one too many", "not at the API", "twice hides no loss", "without consent", "no dead letter"],
)
def test_what_does_not_add_up_is_said(wrong: Result, said: str) -> None:
    assert said in wrong.problems
    assert "It does not add up" in verdict(wrong)


def test_an_event_taken_twice_is_no_loss_but_is_said() -> None:
    twice = result(taken=Counter(["evt_1", "evt_2", "evt_2"]))

    assert twice.problems == []
    assert "1 of them more than once" in verdict(twice)


def test_the_table_has_a_row_for_each_reason_and_a_sum() -> None:
    rows = [row[:3] for row in shown(result())]

    assert ["delivered", "", "2"] in rows
    assert ["filtered", "consent-denied", "1"] in rows
    assert ["dead-lettered", "rejected", "1"] in rows
    assert rows[-1] == ["in all", "", "4"]


def test_an_outcome_with_several_reasons_gets_a_sum_of_its_own() -> None:
    rows = shown(result(tally=Counter({DENIED: 3, (Outcome.FILTERED, Reason.ABSORBED): 4})))

    assert ["", "", "7", "filtered in all"] in rows


def test_the_body_is_cut_to_the_one_event_and_says_what_was_left_out() -> None:
    items = [{"messageId": f"evt_{n}", "type": "page"} for n in range(5)]
    cut = json.loads(excerpt({"messageId": "batch", "sentAt": "now", "batch": items}, "evt_3"))

    assert list(cut) == ["messageId", "sentAt", "batch"]
    assert cut["batch"] == ["… 3 before it …", {"messageId": "evt_3", "type": "page"}, "… 1 after it …"]


def test_a_body_of_one_event_is_shown_whole() -> None:
    body = {"messageId": "batch", "sentAt": "now", "batch": [{"messageId": "evt_1"}]}

    assert json.loads(excerpt(body, "evt_1")) == body
