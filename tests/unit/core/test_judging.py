"""What answers do to batches: halving, holding, isolating poison. Through the whole pipeline, in simulated time."""

import random
from itertools import pairwise
from math import log2

import pytest

from tests.builders import signal, signals, tp
from tests.simulator import Simulator, always, good, ids, refusing
from worker.core.batching import Batch
from worker.core.commands import Deliver
from worker.core.lanes import Limits
from worker.core.outcomes import HoldReason, Outcome, Reason

MINUTE = 60.0
HOUR = 3_600.0


def all_of(count: int, partition: int = 0) -> set[str]:
    return {f"evt_{partition}_{offset}" for offset in range(count)}


def with_backlog(count: int, limits: Limits | None = None, *, partitions: int = 1) -> Simulator:
    simulator = Simulator(limits, partitions=partitions)
    for partition in range(partitions):
        simulator.produce(*signals(range(count), partition), partition=partition)
    return simulator.own()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_settles_the_batch(status: int) -> None:
    simulator = with_backlog(3).run(always(status), seconds=3)

    assert simulator.outcomes() == {(Outcome.DELIVERED, Reason.DELIVERED): 3}
    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 502, 503, 599], ids=str)
def test_not_now_brings_the_same_batch_again(status: int | None) -> None:
    refused: list[Batch] = []

    def api(batch: Batch, _now: float) -> int | None:
        refused.append(batch)
        return status if len(refused) < 4 else 200

    simulator = with_backlog(3).run(api, seconds=30)

    assert len({batch.number for batch in refused}) == 1
    assert len(refused) == 4
    assert simulator.taken == dict.fromkeys(all_of(3), 1)


def retries(statuses: list[int | None]) -> list[int]:
    """The retry that each attempt of one batch was sent as, the first included."""
    simulator = with_backlog(1, Limits(linger_seconds=0))
    sent: list[int] = []
    for status in statuses:
        simulator.now += MINUTE
        simulator.poll()
        sent += [command.retry for command in simulator.tick() if isinstance(command, Deliver)]
        simulator.now += MINUTE
        simulator.come_home_all(status)
    return sent


@pytest.mark.parametrize("status", [None, 429, 503], ids=str)
def test_every_not_now_in_a_row_is_one_retry_more(status: int | None) -> None:
    assert retries([status, status, status, 200]) == [0, 1, 2, 3]


def test_another_answer_in_between_starts_the_retries_again() -> None:
    assert retries([503, 503, 401, 503, 200]) == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("status", [None, 408, 429], ids=str)
def test_without_a_5xx_no_batch_is_taken_apart_however_long_it_lasts(status: int | None) -> None:
    simulator = with_backlog(4).run(always(status), seconds=3 * HOUR, step=5)

    assert {len(request.batch.items) for request in simulator.answered} == {4}


@pytest.mark.parametrize("status", [400, 422, 413])
def test_three_poison_events_in_400_become_three_dead_letters_and_the_rest_goes_once(status: int) -> None:
    poison = {"evt_0_0", "evt_0_137", "evt_0_399"}

    simulator = with_backlog(400).run(refusing(poison, status), seconds=60)

    assert simulator.dead_ids() == dict.fromkeys(poison, Reason.TOO_LARGE if status == 413 else Reason.REJECTED)
    assert simulator.taken == dict.fromkeys(all_of(400) - poison, 1)
    assert len(simulator.answered) - 1 <= 3 * (2 * log2(400) + 2)
    assert simulator.lag() == 0


@pytest.mark.parametrize("place", range(0, 400, 57))
def test_one_poison_event_costs_at_most_two_requests_a_halving(place: int) -> None:
    simulator = with_backlog(400).run(refusing({f"evt_0_{place}"}, 400), seconds=30)

    assert len(simulator.answered) - 1 <= 2 * log2(400) + 2


def test_the_front_half_is_committed_while_the_back_is_still_being_halved() -> None:
    def api(batch: Batch, _now: float) -> int | None:
        if len(batch.items) == 8:
            return 400
        return 200 if batch.first_offset == 0 else 503

    simulator = with_backlog(8).run(api, seconds=10)

    assert simulator.partitions[tp(0)].committed == 4


def test_a_dead_letter_tells_status_text_and_attempts() -> None:
    simulator = with_backlog(1).run(always(400), seconds=5)

    letter = simulator.partitions[tp(0)].dead[0]
    assert (letter.http_status, letter.attempts, letter.stage) == (400, 1, "deliver")


def test_400_to_everything_dead_letters_ten_and_then_holds_with_its_reason() -> None:
    simulator = with_backlog(400).run(always(400), seconds=10 * MINUTE)

    assert len(simulator.dead_ids()) == 10
    assert simulator.held == (HoldReason.REJECTIONS,)
    assert simulator.partitions[tp(0)].committed == 10


def test_a_hold_for_rejections_ends_with_the_first_success_and_delivers_what_is_good() -> None:
    broken_until = 5 * MINUTE
    simulator = with_backlog(100).run(lambda _, now: 400 if now < broken_until else 200, seconds=15 * MINUTE)

    assert simulator.held == ()
    assert simulator.lag() == 0
    assert set(simulator.taken) | set(simulator.dead_ids()) == all_of(100)
    assert not set(simulator.taken) & set(simulator.dead_ids())


@pytest.mark.parametrize("count", [11, 12, 25])
def test_poison_in_a_row_among_good_events_is_isolated_without_a_lasting_hold(count: int) -> None:
    poison = {f"evt_0_{offset}" for offset in range(50, 50 + count)}

    simulator = with_backlog(400).run(refusing(poison, 400), seconds=20 * MINUTE)

    assert set(simulator.dead_ids()) == poison
    assert simulator.taken == dict.fromkeys(all_of(400) - poison, 1)
    assert simulator.held == ()


def test_eleven_poison_events_in_a_row_need_no_pause_at_all() -> None:
    poison = {f"evt_0_{offset}" for offset in range(50, 61)}

    simulator = with_backlog(400).run(refusing(poison, 400), seconds=20)

    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_lane_of_nothing_but_refused_singles_reads_on_until_something_works(status: int) -> None:
    poison = {f"evt_0_{offset}" for offset in range(20)}
    simulator = Simulator(Limits(batch_max_events=1))
    for offset in range(40):
        simulator.produce(*signals(range(offset, offset + 1)))
        if offset == 0:
            simulator.own()
        simulator.run(refusing(poison, status), seconds=10, step=1)

    simulator.run(refusing(poison, status), seconds=6 * HOUR, step=2)

    assert set(simulator.taken) == all_of(40) - poison
    assert set(simulator.dead_ids()) == poison


def test_a_rejection_limit_of_0_never_holds() -> None:
    simulator = with_backlog(64, Limits(rejection_limit=0)).run(always(400), seconds=60)

    assert set(simulator.dead_ids()) == all_of(64)
    assert simulator.held == ()


@pytest.mark.parametrize("status", [401, 403, 404, 405, 302, 418])
def test_a_wrong_key_or_address_holds_everything(status: int) -> None:
    simulator = with_backlog(10, partitions=3).run(always(status), seconds=29)

    expected = HoldReason.UNAUTHORIZED if status in (401, 403) else HoldReason.WRONG_ADDRESS
    assert simulator.held == (expected,)
    assert len(simulator.answered) <= 3
    assert simulator.lag() == 30
    assert simulator.outcomes() == {}


def test_while_held_one_probe_goes_out_every_half_minute() -> None:
    simulator = with_backlog(10)
    for _ in range(1_200):
        simulator.turn(always(401), 0.5)

    probes = [at for at, probe, _ in simulator.requests() if probe]
    assert len(probes) in (19, 20)
    assert all(later - earlier >= 30 for earlier, later in pairwise(probes))


def test_a_key_that_works_again_loses_and_doubles_nothing() -> None:
    revoked = (2.0, 10 * MINUTE)
    simulator = with_backlog(40, Limits(batch_max_events=5), partitions=2)

    simulator.run(lambda _, now: 401 if revoked[0] < now < revoked[1] else 200, seconds=12 * MINUTE)

    assert simulator.taken == dict.fromkeys(all_of(40) | all_of(40, 1), 1)
    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("partitions", [1, 3])
def test_a_key_revoked_in_the_middle_dead_letters_nothing(status: int, partitions: int) -> None:
    simulator = with_backlog(60, Limits(batch_max_events=5), partitions=partitions)

    simulator.run(lambda _, now: status if 3 < now < HOUR else 200, seconds=HOUR + 10 * MINUTE, step=0.5)

    assert simulator.dead_ids() == {}
    assert len(simulator.taken) == 60 * partitions
    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [500, 503, None], ids=str)
@pytest.mark.parametrize("partitions", [1, 3])
def test_an_outage_of_hours_dead_letters_nothing(status: int | None, partitions: int) -> None:
    simulator = with_backlog(12, partitions=partitions)

    simulator.run(always(status), seconds=3 * HOUR, step=5)
    simulator.run(good, seconds=10 * MINUTE, step=1)

    assert simulator.dead_ids() == {}
    assert simulator.taken == dict.fromkeys(
        {message for partition in range(partitions) for message in all_of(12, partition)}, 1
    )
    assert simulator.lag() == 0


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize("places", [{0}, {7}, {19}, {7, 8}, {0, 10, 19}], ids=str)
def test_poison_that_looks_like_something_else_is_isolated(partitions: int, status: int, places: set[int]) -> None:
    poison = {f"evt_0_{place}" for place in places}
    simulator = with_backlog(20, partitions=partitions)
    simulator.run(refusing(poison, status), seconds=HOUR, step=1)
    for first in (20, 22):
        for partition in range(partitions):
            simulator.produce(*signals(range(first, first + 2), partition), partition=partition)
        simulator.run(refusing(poison, status), seconds=HOUR, step=1)

    assert simulator.dead_ids() == dict.fromkeys(poison, Reason.REJECTED)
    produced = {message for partition in range(partitions) for message in all_of(24, partition)}
    assert simulator.taken == dict.fromkeys(produced - poison, 1)
    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [403, 500])
def test_poison_at_the_front_of_a_quiet_lane_does_not_stop_what_comes_later(status: int) -> None:
    poison = {"evt_0_0", "evt_0_1", "evt_0_2"}
    simulator = with_backlog(3).run(refusing(poison, status), seconds=2 * HOUR, step=1)
    for first, last in ((3, 6), (6, 7), (7, 8)):
        simulator.produce(*signals(range(first, last)))
        simulator.run(refusing(poison, status), seconds=HOUR, step=1)

    assert set(simulator.taken) == all_of(8) - poison
    assert set(simulator.dead_ids()) == poison


@pytest.mark.parametrize("status", [403, 500])
def test_a_condemned_single_with_nothing_behind_it_is_tried_until_it_works(status: int) -> None:
    refused = refusing({"evt_0_3"}, status)
    simulator = with_backlog(4).run(refused, seconds=2 * HOUR, step=1)
    simulator.produce(*signals(range(4, 5)))
    simulator.run(refused, seconds=HOUR, step=1)
    assert simulator.partitions[tp(0)].committed == 3
    assert simulator.pipeline.lanes[tp(0)].spans[0].trouble.sentence

    simulator.run(good, seconds=HOUR, step=1)

    assert simulator.taken == dict.fromkeys(all_of(5), 1)
    assert simulator.outcomes() == {(Outcome.DELIVERED, Reason.DELIVERED): 5}


def test_a_403_is_no_proof_of_poison_before_the_second_refused_probe() -> None:
    simulator = with_backlog(4).run(always(403), seconds=59)

    assert {len(request.batch.items) for request in simulator.answered} == {4}


def test_a_refusal_of_an_accused_single_waits_no_half_minute_for_its_next_probe() -> None:
    simulator = with_backlog(2, Limits(batch_max_events=1))
    simulator.run(refusing({"evt_0_0"}, 403), seconds=2 * MINUTE, step=1)
    simulator.produce(*signals(range(2, 4)))
    simulator.run(refusing({"evt_0_0"}, 403), seconds=40, step=1)

    assert simulator.taken == dict.fromkeys(["evt_0_1", "evt_0_2", "evt_0_3"], 1)


def test_a_success_that_started_before_a_refusal_proves_nothing_about_it() -> None:
    simulator = with_backlog(1, partitions=2)
    simulator.poll()
    simulator.now += 1.0
    simulator.tick()
    refused, taken = simulator.startable()
    for request in (refused, taken):
        simulator.start(request)
    simulator.now += 1.0
    simulator.come_home(refused, 403)
    simulator.now += 1.0
    simulator.come_home(taken, 200)

    assert not simulator.pipeline.lanes[refused.batch.tp].spans[0].trouble.worked_since


def test_a_401_never_takes_a_batch_apart() -> None:
    simulator = with_backlog(4).run(always(401), seconds=HOUR, step=1)

    assert {len(request.batch.items) for request in simulator.answered} == {4}


def test_5xx_for_less_than_ten_minutes_leave_a_batch_whole() -> None:
    simulator = with_backlog(4).run(always(503), seconds=9 * MINUTE)

    assert {len(request.batch.items) for request in simulator.answered} == {4}


def test_halves_of_a_batch_that_was_retried_for_long_start_without_its_back_off() -> None:
    def api(batch: Batch, now: float) -> int:
        if now < 5 * MINUTE:
            return 503
        return 400 if "evt_0_3" in ids(batch) else 200

    simulator = with_backlog(64).run(api, seconds=5 * MINUTE + 70)

    assert simulator.dead_ids() == {"evt_0_3": Reason.REJECTED}
    assert simulator.lag() == 0


def test_without_give_up_after_nothing_is_ever_given_up() -> None:
    simulator = with_backlog(2).run(always(None), seconds=24 * HOUR, step=20)

    assert simulator.outcomes() == {}


def test_a_batch_is_given_up_when_its_time_is_over() -> None:
    simulator = with_backlog(2, Limits(give_up_after_seconds=120)).run(always(None), seconds=5 * MINUTE)

    assert simulator.dead_ids() == dict.fromkeys(all_of(2), Reason.GAVE_UP)
    first, last = simulator.answered[0], simulator.answered[-1]
    assert last.started_at - first.started_at >= 120


def test_held_time_counts_towards_nothing() -> None:
    def api(_batch: Batch, now: float) -> int | None:
        return 503 if now < 30 or now > HOUR else 401

    simulator = with_backlog(2, Limits(give_up_after_seconds=600)).run(api, seconds=HOUR + 5 * MINUTE, step=0.5)

    assert simulator.outcomes() == {}


def test_what_was_held_before_the_first_attempt_counts_towards_nothing_either() -> None:
    simulator = with_backlog(1, Limits(give_up_after_seconds=600))
    simulator.run(lambda _batch, now: 401 if now < HOUR else 200, seconds=HOUR + MINUTE, step=0.5)
    simulator.produce(*signals(range(1, 2)))
    simulator.run(always(503), seconds=15 * MINUTE)

    assert simulator.dead_ids() == {"evt_0_1": Reason.GAVE_UP}


def test_a_gave_up_batch_gives_up_whole_and_keeps_the_last_answer() -> None:
    simulator = with_backlog(2, Limits(give_up_after_seconds=1)).run(always(503), seconds=MINUTE)

    letters = simulator.partitions[tp(0)].dead
    assert {letter.http_status for letter in letters.values()} == {503}
    assert all(letter.attempts >= 2 for letter in letters.values())


def test_what_is_filtered_between_poison_events_is_committed_once() -> None:
    simulator = Simulator()
    simulator.produce(*(signal(offset, messageId=f"evt_0_{offset}", context=None) for offset in range(3)))
    simulator.produce(*signals(range(3, 6)))
    simulator.produce(signal(6, messageId="evt_0_6", context=None))
    simulator.produce(*signals(range(7, 9)))

    simulator.own().run(refusing({"evt_0_4", "evt_0_7"}, 400), seconds=10)

    assert simulator.outcomes() == {
        (Outcome.DELIVERED, Reason.DELIVERED): 3,
        (Outcome.FILTERED, Reason.NO_CONSENT): 4,
        (Outcome.DEAD_LETTERED, Reason.REJECTED): 2,
    }


def test_order_is_kept_while_a_batch_is_halved() -> None:
    order: list[str] = []

    def api(batch: Batch, _now: float) -> int:
        if {"evt_0_5", "evt_0_11"} & set(ids(batch)):
            return 400
        order.extend(ids(batch))
        return 200

    with_backlog(16, Limits(batch_max_events=8)).run(api, seconds=20)

    assert order == [f"evt_0_{offset}" for offset in range(16) if offset not in (5, 11)]


@pytest.mark.parametrize("status", [403, 500])
def test_poison_alone_in_its_lane_is_dead_lettered_beside_a_busy_one(status: int) -> None:
    simulator = Simulator(partitions=2)
    simulator.produce(*signals(range(1)))
    simulator.own()
    for offset in range(200):
        simulator.produce(*signals(range(offset, offset + 1), 1), partition=1)
        simulator.turn(refusing({"evt_0_0"}, status), 7.0)

    assert simulator.dead_ids() == {"evt_0_0": Reason.REJECTED}


@pytest.mark.parametrize("outage_seconds", [15 * MINUTE, HOUR])
@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_outage_that_ends_by_fits_and_starts_dead_letters_nothing(
    outage_seconds: float, partitions: int, seed: int
) -> None:
    chance = random.Random(seed)
    simulator = with_backlog(200, Limits(batch_max_events=100), partitions=partitions)
    simulator.run(always(503), seconds=outage_seconds, step=1)
    simulator.run(lambda _batch, _now: 503 if chance.random() < 0.3 else 200, seconds=10 * MINUTE)
    simulator.run(good, seconds=HOUR, step=1)

    assert simulator.dead_ids() == {}
    assert simulator.lag() == 0


@pytest.mark.parametrize("status", [403, 500])
def test_one_refusal_after_a_success_condemns_nobody(status: int) -> None:
    refused = refusing({"evt_0_0"}, status)
    simulator = with_backlog(2, Limits(batch_max_events=1)).run(refused, seconds=2 * HOUR, step=1)
    simulator.produce(*signals(range(2, 3)))
    simulator.run(refused, seconds=5 * MINUTE, step=1).run(good, seconds=HOUR, step=1)

    assert simulator.taken == dict.fromkeys(all_of(3), 1)
    assert simulator.dead_ids() == {}


def test_while_a_key_comes_and_goes_no_403_condemns() -> None:
    def api(batch: Batch, now: float) -> int | None:
        return 403 if now < 20 or "evt_0_1" in ids(batch) else 200

    simulator = with_backlog(12, Limits(batch_max_events=1)).run(api, seconds=9 * MINUTE, step=1)
    assert set(simulator.taken) == all_of(12) - {"evt_0_1"}
    assert simulator.dead_ids() == {}

    for offset in range(12, 16):
        simulator.produce(*signals(range(offset, offset + 1)))
        simulator.run(api, seconds=HOUR, step=1)
    assert simulator.dead_ids() == {"evt_0_1": Reason.REJECTED}


def test_of_two_parked_suspects_the_innocent_one_is_tried_as_well() -> None:
    simulator = with_backlog(2)
    simulator.run(always(500), seconds=HOUR, step=1)
    simulator.run(refusing({"evt_0_0"}, 500), seconds=10 * MINUTE, step=1)

    assert simulator.taken == {"evt_0_1": 1}
