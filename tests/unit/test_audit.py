"""The audit of a run is itself to be trusted: each thing that can go wrong is seen by it."""

from collections.abc import Sequence

import pytest

from tests.integration.audit import Audit, Place, at_risk, at_risk_in_any_order, verify_commits
from worker.sandbox.ledger import Event, Moment, Request

PLACES = {"evt_0": Place(0, 0), "evt_1": Place(0, 1), "evt_2": Place(0, 2), "evt_3": Place(1, 0)}


def run(
    *delivered: str,
    letters: Sequence[Place] = (),
    filtered: Sequence[str] = (),
    committed: dict[int, int] | None = None,
) -> Audit:
    deliveries = [Event(n, Moment(n, n), "batch", message_id, b"{}") for n, message_id in enumerate(delivered)]
    offsets = {0: 3, 1: 1} if committed is None else committed
    return Audit(PLACES, frozenset(), deliveries, letters, frozenset(filtered), offsets)


def request(started_at: float, ended_at: float, *message_ids: str) -> Request:
    return Request(Moment(started_at, 0), Moment(ended_at, 0), 200, True, 0, message_ids, "")


def test_every_outcome_counts_once() -> None:
    run("evt_3", "evt_0", letters=[Place(0, 1)], filtered=["evt_2"]).verify(max_repeats=0)


@pytest.mark.parametrize(
    ("audited", "complaint"),
    [
        pytest.param(run("evt_0", "evt_0", "evt_1", "evt_3"), "1 lost: .*offset=2", id="a duplicate hides no loss"),
        pytest.param(run(*PLACES, committed={0: 2, 1: 1}), "1 not committed", id="an offset too low"),
        pytest.param(run(*PLACES, "evt_0", committed={0: 3, 1: 1}), "1 repeats, at most 0", id="a delivery repeated"),
        pytest.param(run(*PLACES, letters=[Place(0, 1)]), "1 repeats", id="delivered and a dead letter"),
        pytest.param(run(*PLACES, "evt_9"), "1 delivered that should not", id="delivered but never produced"),
        pytest.param(run(*PLACES, filtered=["evt_2"]), "1 delivered that should not", id="delivered without consent"),
        pytest.param(run("evt_1", "evt_0", "evt_2", "evt_3"), "1 out of order: evt_0", id="overtaken"),
        pytest.param(
            run("evt_0", "evt_1", "evt_3", letters=[Place(0, 2), Place(0, 2)]), "written twice", id="two dead letters"
        ),
    ],
)
def test_what_went_wrong_is_said(audited: Audit, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        audited.verify(max_repeats=0)


def test_a_repeat_in_an_older_order_overtakes_nothing() -> None:
    run("evt_0", "evt_1", "evt_0", "evt_1", "evt_2", "evt_3").verify(max_repeats=2)


def test_at_risk_are_the_requests_on_the_wire_and_those_just_answered() -> None:
    requests = [
        request(1.0, 2.7, "long ago"),
        request(2.0, 2.9, "just answered"),
        request(2.5, 4.0, "on the wire", "on the wire too"),
        request(3.1, 3.2, "sent by a successor"),
    ]
    assert at_risk(requests, 3.0, answered_within_seconds=0.2) == 3
    assert at_risk(requests, 3.0, read_within_seconds=0.15, answered_within_seconds=0.2) == 4


def test_with_several_at_once_what_was_answered_behind_an_open_one_is_at_risk_too() -> None:
    requests = [
        request(1.0, 1.2, "0"),
        request(1.0, 4.0, "1", "2"),
        request(1.0, 1.5, "3"),
        request(1.5, 1.9, "4", "5"),
        request(3.1, 3.2, "1", "2", "6"),
    ]
    assert at_risk_in_any_order(requests, int, 3.0, answered_within_seconds=0.2) == 5
    assert at_risk_in_any_order(requests[:1], int, 3.0, answered_within_seconds=0.2) == 0


def test_commits_that_follow_deliveries_are_in_order() -> None:
    verify_commits([(0.5, {}), (1.5, {0: 2}), (1.6, {0: 2}), (3.5, {0: 3, 1: 1})], run(*PLACES))


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        pytest.param([(1.5, {0: 3})], "committed to 3 before 2 was settled", id="ahead of a delivery"),
        pytest.param([(3.5, {0: 3}), (3.6, {0: 2})], "went back to 2", id="backwards"),
    ],
)
def test_a_commit_ahead_of_its_deliveries_is_seen(samples: list[tuple[float, dict[int, int]]], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        verify_commits(samples, run(*PLACES))


def test_a_success_behind_an_open_offset_settles_nothing_before_it() -> None:
    with pytest.raises(AssertionError, match="committed to 3 before 0 was settled"):
        verify_commits([(2.5, {0: 3})], run("evt_1", "evt_2", "evt_3", "evt_0"))
