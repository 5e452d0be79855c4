import pytest

from tests.builders import answer
from worker.core.gate import PROBE_INTERVAL_SECONDS, Gate
from worker.core.outcomes import HoldReason

UNAUTHORIZED, WRONG_ADDRESS, REJECTIONS = HoldReason.UNAUTHORIZED, HoldReason.WRONG_ADDRESS, HoldReason.REJECTIONS


def shut(reason: HoldReason = UNAUTHORIZED, *, limit: int = 10) -> Gate:
    gate = Gate(limit)
    gate.forbid(reason, probe=False, at_once=False, now=0.0)
    return gate


def test_it_is_open_at_first() -> None:
    gate = Gate(10)

    assert not gate.shut
    assert gate.reasons == ()
    assert not gate.probe_due(1e9)


@pytest.mark.parametrize("reason", [UNAUTHORIZED, WRONG_ADDRESS])
def test_a_refusal_shuts_it_with_its_reason(reason: HoldReason) -> None:
    assert shut(reason).reasons == (reason,)


def test_the_first_probe_is_due_after_half_a_minute() -> None:
    gate = shut()

    assert not gate.probe_due(29.9)
    assert gate.probe_due(30.0)


def test_there_is_one_probe_at_a_time() -> None:
    gate = shut()
    gate.probing(7)

    assert not gate.probe_due(1e9)


def test_only_the_batch_that_went_out_as_probe_comes_home_as_one_and_only_once() -> None:
    gate = shut()
    gate.probing(7)

    assert [gate.came_home(number) for number in (6, 7, 7)] == [False, True, False]


def test_a_success_that_was_on_the_wire_opens_nothing() -> None:
    gate = shut()

    assert not gate.taken(probe=False, now=1.0)
    assert gate.shut


def test_the_probes_success_opens_it() -> None:
    gate = shut()

    assert gate.taken(probe=True, now=31.0)
    assert not gate.shut


def test_a_body_that_was_read_proves_the_key() -> None:
    gate = shut()
    gate.key_works(probe=True, now=31.0)

    assert not gate.shut


def test_a_refused_body_that_was_on_the_wire_proves_nothing() -> None:
    gate = shut()
    gate.key_works(probe=False, now=1.0)

    assert gate.shut


@pytest.mark.parametrize("status", [429, 503, None], ids=str)
def test_no_answer_to_a_probe_leaves_it_shut_and_the_next_due_half_a_minute_after_its_start(status: int | None) -> None:
    gate = shut()
    gate.not_now(answer(status, 45.0, started_at=31.0), probe=True)

    assert gate.shut
    assert not gate.probe_due(60.9)
    assert gate.probe_due(31.0 + PROBE_INTERVAL_SECONDS)


def test_what_was_on_the_wire_does_not_put_the_next_probe_off() -> None:
    gate = shut()
    gate.forbid(UNAUTHORIZED, probe=False, at_once=False, now=20.0)
    gate.not_now(answer(503, 25.0), probe=False)

    assert gate.probe_due(30.0)


def test_a_probe_that_was_taken_back_makes_the_next_one_due() -> None:
    gate = shut()
    gate.probing(7)
    gate.dropped(7, now=33.0)

    assert gate.probe_due(33.0)


def test_another_batch_taken_back_leaves_the_probe_alone() -> None:
    gate = shut()
    gate.probing(7)
    gate.dropped(8, now=33.0)

    assert not gate.probe_due(1e9)


def test_a_probe_may_find_another_reason() -> None:
    gate = shut(UNAUTHORIZED)
    gate.forbid(WRONG_ADDRESS, probe=True, at_once=False, now=31.0)

    assert gate.reasons == (WRONG_ADDRESS,)


def test_rejections_up_to_the_limit_are_allowed_and_one_more_shuts_it() -> None:
    gate = Gate(3)

    assert [gate.rejected(probe=False, now=1.0) for _ in range(4)] == [True, True, True, False]
    assert gate.reasons == (REJECTIONS,)


def test_a_success_in_between_starts_the_count_again() -> None:
    gate = Gate(2)
    for _ in range(5):
        assert gate.rejected(probe=False, now=1.0)
        gate.taken(probe=False, now=1.0)

    assert not gate.shut


def test_a_limit_of_0_never_shuts_it() -> None:
    gate = Gate(0)

    assert all(gate.rejected(probe=False, now=1.0) for _ in range(1_000))
    assert not gate.shut


def test_the_first_probe_of_too_many_rejections_goes_out_at_once_and_the_next_half_a_minute_later() -> None:
    gate = Gate(1)
    for _ in range(2):
        gate.rejected(probe=False, now=5.0)
    assert gate.probe_due(5.0)

    gate.rejected(probe=True, now=6.0)

    assert not gate.probe_due(35.9)
    assert gate.probe_due(36.0)


def test_a_working_key_does_not_end_a_hold_for_rejections() -> None:
    gate = Gate(1)
    for _ in range(2):
        gate.rejected(probe=False, now=5.0)
    gate.key_works(probe=True, now=6.0)

    assert gate.reasons == (REJECTIONS,)


def test_both_reasons_are_named_and_one_success_ends_both() -> None:
    gate = shut(limit=1)
    for _ in range(2):
        gate.rejected(probe=False, now=5.0)
    assert gate.reasons == (UNAUTHORIZED, REJECTIONS)

    gate.taken(probe=True, now=31.0)

    assert not gate.reasons


def test_held_time_adds_up_over_all_holds() -> None:
    gate = shut()
    gate.taken(probe=True, now=40.0)
    gate.forbid(UNAUTHORIZED, probe=False, at_once=False, now=100.0)

    assert gate.held_seconds(105.0) == 45.0
