from itertools import pairwise

import pytest

from tests.builders import TP, answer, identify, pipeline, record, signal, signals, tp, undecodable, without_consent
from tests.simulator import Simulator, always, good, refusing
from worker.core.commands import Commit, Deliver, Pause
from worker.core.decoding import SchemaRef
from worker.core.identity import Known
from worker.core.lanes import MAX_COMMIT_BYTES, Limits
from worker.core.outcomes import HoldReason, Outcome, Reason
from worker.core.pace import Pace
from worker.core.reports import owes_progress, report

JANE = b'["user-123",1780744274000,{"email":"jane.doe@acme.com"}]'
LATER = SchemaRef.of_id(8)
SINGLES = Limits(batch_max_events=1, linger_seconds=0.0)


def started(simulator: Simulator) -> None:
    for request in simulator.startable():
        simulator.start(request)


def sent(simulator: Simulator, seconds: float = 1.0) -> None:
    """What there is has lingered, and everything that may start is on the wire, unanswered."""
    simulator.poll()
    simulator.now += seconds
    simulator.tick()
    started(simulator)


def test_nothing_is_decided_before_a_lane_is_restored() -> None:
    made = pipeline()
    made.assigned([TP])
    made.received({TP: [without_consent(0)]}, {TP: 1}, 0.0)

    assert made.ticked(5.0) == []


def test_a_group_without_a_commit_commits_where_it_starts() -> None:
    made = pipeline()
    made.assigned([TP])
    made.restored(TP, 40, None)

    commits = [command for command in made.ticked(0.0) if isinstance(command, Commit)]

    assert [share.next_offset for commit in commits for share in commit.lanes] == [40]


def test_known_traits_of_a_restore_ride_on_the_first_event() -> None:
    made = pipeline()
    made.assigned([TP])
    made.restored(TP, 5, 5, Known({"a:df_8f2a1c9e": JANE}, {}))
    made.received({TP: [signal(5)]}, {TP: 6}, 0.0)

    deliveries = [command for command in made.ticked(1.0) if isinstance(command, Deliver)]

    assert b'"email":"jane.doe@acme.com"' in deliveries[0].batch.body("2026-06-06T11:11:15.120Z")


def test_one_transaction_is_in_the_air_at_a_time() -> None:
    simulator = Simulator(SINGLES, partitions=2)
    simulator.own()
    simulator.tick()
    simulator.produce(*(without_consent(offset) for offset in range(3)))

    sent(simulator, 60.0)

    assert simulator.pipeline.committing
    assert simulator.commits == []


def test_at_most_ten_transactions_a_second() -> None:
    simulator = Simulator(SINGLES).own()
    for offset in range(200):
        simulator.produce(without_consent(offset))
        simulator.turn(good, 0.01)

    assert 15 <= len(simulator.commits) <= 20


def test_what_has_grown_during_a_transaction_goes_with_the_next() -> None:
    simulator = Simulator(SINGLES).own()
    simulator.produce(without_consent(0))
    sent(simulator)
    simulator.produce(*(without_consent(offset) for offset in range(1, 5)))
    sent(simulator)
    simulator.land()
    simulator.turn(good, 1.0)

    assert [commit.lanes[0].next_offset for _, commit in simulator.commits] == [1, 5]


def test_the_next_commit_begins_a_tenth_of_a_second_after_the_last_began_however_long_that_took() -> None:
    simulator = Simulator(SINGLES)
    simulator.produce(without_consent(0))
    simulator.own()
    sent(simulator)
    began, in_the_air = simulator.now, []
    simulator.produce(without_consent(1))
    simulator.poll()
    for seconds in (0.09, 0.11):
        simulator.now = began + seconds
        simulator.land()
        simulator.tick()
        in_the_air.append(simulator.commit is not None)

    assert len(simulator.commits) == 1
    assert in_the_air == [False, True]


def test_after_a_refused_transaction_every_lane_commits_alone() -> None:
    simulator = Simulator(SINGLES, partitions=3)
    for partition in range(3):
        simulator.produce(without_consent(0), partition=partition)
    simulator.own()
    sent(simulator)
    simulator.land(ok=False, refusal=HoldReason.DEAD_LETTER_REFUSED)
    simulator.run(good, seconds=5)

    assert {len(commit.lanes) for _, commit in simulator.commits[:3]} == {1}
    assert simulator.lag() == 0


def test_one_lane_that_is_refused_holds_no_other() -> None:
    simulator = Simulator(SINGLES, partitions=2)
    for partition in range(2):
        simulator.produce(*signals(range(1), partition), partition=partition)
    simulator.own()
    for _ in range(100):
        simulator.now += 0.2
        simulator.poll()
        simulator.tick()
        for request in simulator.startable():
            simulator.start(request)
            simulator.come_home(request, 200)
        at_fault = simulator.commit is not None and simulator.commit.lanes[0].tp == tp(0)
        simulator.land(ok=not at_fault, refusal=HoldReason.DEAD_LETTER_REFUSED)

    assert simulator.partitions[tp(1)].committed == 1
    assert simulator.partitions[tp(0)].committed is None
    assert simulator.paused == {tp(0)}


def test_a_refused_transaction_is_tried_again_after_a_back_off() -> None:
    simulator = Simulator(SINGLES).own()
    attempts = []
    for _ in range(100):
        simulator.now += 0.1
        simulator.tick()
        if simulator.commit is not None:
            attempts.append(simulator.now)
            simulator.land(ok=False)

    assert [later - earlier >= 0.99 for earlier, later in pairwise(attempts)] == [True] * 3


def test_a_commit_of_a_former_epoch_changes_nothing() -> None:
    simulator = Simulator(SINGLES).own()
    simulator.produce(without_consent(0))
    sent(simulator)
    stale = simulator.commit
    assert stale is not None
    simulator.revoke([TP], lost=True)
    simulator.own()
    sent(simulator)
    before = simulator.pipeline.lanes[TP].committed

    simulator.pipeline.committed(stale, simulator.now)

    assert simulator.pipeline.lanes[TP].committed == before
    assert len(simulator.pipeline.lanes[TP].spans) == 1


@pytest.mark.parametrize("status", [200, 400, 413, 401, 403, 503, None], ids=str)
def test_a_late_answer_of_a_former_epoch_changes_no_lane(status: int | None) -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(4)))
    simulator.own()
    sent(simulator)
    late = simulator.wire[0]
    simulator.revoke([TP], lost=True)
    simulator.own()
    sent(simulator)
    lane = simulator.pipeline.lanes[TP]
    before = [(span.first_offset, span.state, len(span.items)) for span in lane.spans]

    simulator.come_home(late, status)

    assert [(span.first_offset, span.state, len(span.items)) for span in lane.spans] == before


def test_a_late_401_of_a_former_epoch_still_shuts_the_gate() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(4)))
    simulator.own()
    sent(simulator)
    simulator.revoke([TP], lost=True)
    simulator.come_home(simulator.wire[0], 401)

    assert simulator.pipeline.gate.reasons == (HoldReason.UNAUTHORIZED,)


@pytest.mark.parametrize("status", [200, 400, 413])
def test_a_probe_opens_the_gate_even_if_its_lane_was_revoked(status: int) -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(4)))
    simulator.own().run(always(401), seconds=5)
    sent(simulator, 60.0)
    probe = simulator.wire[0]
    assert probe.probe
    simulator.revoke([TP], lost=True)

    simulator.come_home(probe, status)

    assert not simulator.pipeline.gate.shut


def test_a_probe_that_a_revoke_takes_back_makes_the_next_one_due() -> None:
    simulator = Simulator(partitions=2)
    for partition in range(2):
        simulator.produce(*signals(range(4), partition), partition=partition)
    simulator.own().run(always(401), seconds=5)
    simulator.now += 60.0
    simulator.tick()
    taken_back = simulator.queued[0].batch.tp

    simulator.revoke([taken_back])
    simulator.tick()

    assert [request.batch.tp != taken_back for request in simulator.queued] == [True]


def test_probes_take_turns_over_the_lanes() -> None:
    simulator = Simulator(partitions=4)
    for partition in range(4):
        simulator.produce(*signals(range(2), partition), partition=partition)

    simulator.own().run(always(401), seconds=300)

    probed = [request.batch.tp for request in simulator.answered if request.probe]
    assert len(set(probed[:4])) == 4
    assert probed[4:8] == probed[:4]


def test_an_open_span_is_sealed_for_a_probe() -> None:
    simulator = Simulator(Limits(linger_seconds=3_600.0), partitions=2)
    simulator.produce(*signals(range(1), 1), partition=1)
    simulator.own()
    simulator.poll()
    simulator.pipeline.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=0.0)

    sent(simulator, 30.0)

    assert [request.probe for request in simulator.wire] == [True]


def test_a_batch_in_back_off_is_probed_with_after_the_gate_has_shut_in_the_same_turn() -> None:
    simulator = Simulator(partitions=2)
    for partition in range(2):
        simulator.produce(*signals(range(1), partition), partition=partition)
    simulator.own()
    sent(simulator)
    first, second = simulator.wire
    simulator.come_home(first, 503)
    simulator.come_home(second, 401)
    simulator.revoke([second.batch.tp])

    simulator.run(good, seconds=60)

    assert simulator.held == ()
    assert set(simulator.taken) == {"evt_0_0"}


def test_a_batch_to_be_retried_is_not_sent_for_a_lane_given_away_in_the_same_turn() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(1)))
    simulator.own()
    sent(simulator)
    simulator.come_home(simulator.wire[0], 503)
    simulator.revoke([TP])

    assert not [command for command in simulator.tick() if isinstance(command, Deliver)]


def test_an_empty_lane_goes_on_reading_while_held() -> None:
    simulator = Simulator(partitions=2)
    simulator.produce(*signals(range(1)))
    simulator.own().run(always(401), seconds=10)
    simulator.produce(*signals(range(1), 1), partition=1)

    simulator.run(always(401), seconds=40)

    assert {request.batch.tp for request in simulator.answered if request.probe} == {tp(1)}


def test_a_backlog_pauses_a_lane_and_its_end_resumes_it() -> None:
    simulator = Simulator(SINGLES)
    simulator.produce(*signals(range(10)))
    simulator.own()
    sent(simulator)
    assert simulator.paused == {TP}

    simulator.come_home(simulator.wire[0], 200)
    simulator.run(good, seconds=20)

    assert simulator.paused == set()
    assert simulator.lag() == 0


def test_several_in_flight_settle_out_of_order_and_commit_in_order() -> None:
    simulator = Simulator(Limits(batch_max_events=1, in_flight=3, linger_seconds=0.0))
    simulator.produce(*signals(range(3)))
    simulator.own()
    sent(simulator)
    first, second, third = simulator.wire
    committed = []
    simulator.land()
    for request in (third, second, first):
        simulator.come_home(request, 200)
        simulator.now += 1.0
        simulator.tick()
        simulator.land()
        committed.append(simulator.partitions[TP].committed)

    assert committed == [None, None, 3]


def test_gaps_of_compaction_and_markers_of_transactions_leave_no_lag() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(3, 4)), *signals(range(90, 91)))
    simulator.partitions[TP].end = 97

    simulator.own().run(good, seconds=5)

    assert simulator.lag() == 0
    assert simulator.outcomes() == {(Outcome.DELIVERED, Reason.DELIVERED): 2}


def test_a_position_that_the_consumer_does_not_know_moves_nothing_back() -> None:
    made = pipeline()
    made.assigned([TP])
    made.restored(TP, 40, 40)
    made.received({}, {TP: -1001}, 0.0)

    assert made.ticked(5.0) == []


def test_a_last_commit_waits_for_no_back_off() -> None:
    simulator = Simulator(SINGLES).own()
    simulator.produce(without_consent(0))
    sent(simulator)
    simulator.land(ok=False)
    simulator.revoke([TP])

    assert simulator.partitions[TP].committed == 1


def test_a_lost_lane_commits_nothing_more() -> None:
    simulator = Simulator(SINGLES).own()
    simulator.produce(without_consent(0))
    simulator.poll()
    simulator.revoke([TP], lost=True)

    assert simulator.pipeline.ticked(60.0) == []


def test_what_was_delivered_but_not_committed_comes_again_with_the_same_ids() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(3)))
    simulator.own()
    sent(simulator)
    simulator.come_home(simulator.wire[0], 200)
    simulator.revoke([TP], lost=True)

    simulator.own().run(good, seconds=5)

    assert simulator.taken == {"evt_0_0": 2, "evt_0_1": 2, "evt_0_2": 2}


def test_stopping_pauses_every_lane_and_sends_what_is_open() -> None:
    simulator = Simulator(Limits(linger_seconds=3_600.0)).own()
    simulator.produce(*signals(range(3)))
    simulator.poll()
    assert not simulator.pipeline.drained()

    simulator.pipeline.stopping()
    commands = simulator.tick()

    assert any(isinstance(command, Pause) for command in commands)
    assert any(isinstance(command, Deliver) for command in commands)


def test_it_is_drained_when_everything_is_settled_and_no_transaction_is_in_the_air() -> None:
    simulator = Simulator(Limits(linger_seconds=3_600.0)).own()
    simulator.produce(*signals(range(3)))
    simulator.poll()
    simulator.pipeline.stopping()

    simulator.run(good, seconds=2)

    assert simulator.pipeline.drained()
    assert simulator.lag() == 0


def test_a_stop_does_not_wait_for_records_whose_schema_is_not_known() -> None:
    simulator = Simulator().own()
    simulator.produce(*signals(range(3)), signal(3, LATER), *signals(range(4, 6)))
    simulator.poll()
    simulator.pipeline.stopping()

    simulator.tick()
    simulator.run(good, seconds=0.5)

    assert simulator.pipeline.drained()
    assert simulator.partitions[TP].committed == 3


def test_a_stop_with_a_pace_sends_what_is_decided_and_gives_up_the_rest() -> None:
    simulator = Simulator(Limits(linger_seconds=3_600.0))
    simulator.pipeline.intake.pace = Pace(10)
    simulator.produce(*signals(range(100)))
    simulator.own()
    simulator.poll()
    simulator.pipeline.stopping()

    simulator.run(good, seconds=5)

    assert simulator.pipeline.drained()
    assert simulator.taken == {"evt_0_0": 1, "evt_0_1": 1}
    assert simulator.partitions[TP].committed == 2


def test_identity_changes_are_committed_with_the_offset_that_taught_them() -> None:
    simulator = Simulator()
    simulator.produce(identify(0, userId="user-123", traits={"email": "jane.doe@acme.com"}))

    simulator.own().run(good, seconds=3)

    changes = [
        (change.offset, change.visitor)
        for _, commit in simulator.commits
        for share in commit.lanes
        for change in share.changes
    ]
    assert changes == [(0, "a:df_8f2a1c9e")]


def test_a_tombstone_is_filtered() -> None:
    simulator = Simulator()
    simulator.produce(record(0, None))

    simulator.own().run(good, seconds=3)

    assert simulator.outcomes() == {(Outcome.FILTERED, Reason.NULL_VALUE): 1}


def test_the_same_offsets_give_the_same_items_ids_and_order() -> None:
    bodies = []
    for _ in range(2):
        simulator = Simulator(Limits(batch_max_events=3))
        simulator.produce(identify(0, traits={"email": "jane.doe@acme.com"}), *signals(range(1, 9)))
        simulator.own().run(refusing({"evt_0_4"}, 400), seconds=10)
        bodies.append([request.batch.body("2026-06-06T11:11:15.120Z") for request in simulator.answered])

    assert bodies[0] == bodies[1]


def test_a_probe_waits_for_no_back_off() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(1)))
    simulator.own().run(always(503), seconds=20)
    simulator.pipeline.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=simulator.now)
    simulator.tick()
    simulator.now += 30.0

    probes = [command for command in simulator.tick() if isinstance(command, Deliver)]

    assert [(probe.probe, probe.retry) for probe in probes] == [(True, 0)]


def test_an_answer_for_a_partition_never_owned_is_survived() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(1)))
    simulator.own()
    sent(simulator)
    batch = simulator.wire[0].batch
    other = pipeline()

    other.answered(batch, answer(200), 0.0)

    assert other.lanes == {}


def test_a_flood_of_dead_letters_is_committed_in_portions_a_transaction_can_carry() -> None:
    simulator = Simulator(Limits(rejection_limit=0), partitions=3)
    for partition in range(3):
        simulator.produce(*(undecodable(offset) for offset in range(20_000)), partition=partition)
    simulator.own().run(good, seconds=600)

    assert simulator.lag() == 0
    assert simulator.outcomes() == {(Outcome.DEAD_LETTERED, Reason.UNDECODABLE): 60_000}
    weights = [sum(share.extra_bytes for share in commit.lanes) for _, commit in simulator.commits]
    assert max(weights) <= 4_600_000
    assert max(len(share.dead_letters) for _, commit in simulator.commits for share in commit.lanes) < 3_000


def test_what_all_lanes_have_to_write_is_committed_in_transactions_of_bounded_size() -> None:
    simulator = Simulator(Limits(rejection_limit=0), partitions=12)
    for partition in range(12):
        simulator.produce(*(record(offset, b"?" * 100_000) for offset in range(9)), partition=partition)
    simulator.own()
    for _ in range(20):  # the first transaction takes its time, and all lanes have something for the next
        simulator.poll()
        simulator.tick()
        simulator.now += 0.1
    simulator.run(good, seconds=5)

    written = [sum(share.extra_bytes for share in commit.lanes) for _, commit in simulator.commits]
    assert max(written) <= MAX_COMMIT_BYTES
    assert max(len(commit.lanes) for _, commit in simulator.commits) > 1
    assert len(simulator.dead_ids()) == 108


def test_dead_letters_that_wait_for_their_commit_pause_the_lane() -> None:
    simulator = Simulator(Limits(rejection_limit=0))
    simulator.produce(*(undecodable(offset) for offset in range(100_000)))
    simulator.own()
    for _ in range(200):
        simulator.poll()
        simulator.tick()

    assert simulator.paused == {TP}
    assert sum(span.extra_bytes for span in simulator.pipeline.lanes[TP].spans) < 2_000_000


def test_a_refused_lane_does_not_take_the_last_commit_of_the_others_down() -> None:
    simulator = Simulator(partitions=2).own().run(good, seconds=1)
    simulator.produce(undecodable(0))
    simulator.poll()
    simulator.now += 2
    simulator.tick()
    simulator.land(ok=False, refusal=HoldReason.DEAD_LETTER_REFUSED)
    simulator.produce(*signals(range(5), 1), partition=1)
    simulator.poll()
    simulator.now += 2
    simulator.tick()
    simulator.come_home_all(200)
    simulator.land(ok=False, refusal=HoldReason.DEAD_LETTER_REFUSED)

    simulator.revoke([tp(0), tp(1)])

    assert [simulator.partitions[tp(number)].committed for number in (0, 1)] == [0, 5]


def test_commits_that_fail_again_and_again_are_a_reason_not_to_be_ready() -> None:
    simulator = Simulator()
    simulator.produce(*signals(range(3)))
    simulator.own()
    for _ in range(400):
        simulator.now += 1
        simulator.poll()
        simulator.tick()
        simulator.come_home_all(200)
        simulator.land(ok=False)

    [reason] = report(simulator.pipeline, simulator.now).reasons
    assert "commits in a row failed" in reason
    assert owes_progress(simulator.pipeline, {}), "no excuse for the watchdog"
