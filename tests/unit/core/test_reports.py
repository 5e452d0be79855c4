from collections.abc import Callable

import pytest

from tests.builders import SCHEMA, TP, answer, dead_letter, item, pipeline, record, signal, tp, undecodable
from worker.core.batching import Span, SpanState
from worker.core.commands import Commit, Deliver, LaneCommit
from worker.core.decoding import SchemaRef
from worker.core.identity import Known
from worker.core.lanes import Lane, Limits
from worker.core.outcomes import HoldReason
from worker.core.pipeline import Pipeline
from worker.core.reports import WORRYING_ATTEMPTS, describe, owes_progress, report
from worker.core.stretches import Stretch

OTHER_SCHEMA = SchemaRef.of_id(8)


def working(*, partitions: int = 1, limits: Limits | None = None) -> Pipeline:
    """A pipeline that has read and committed all there was, up to offset 0."""
    made = pipeline(limits)
    for number in range(partitions):
        made.assigned([tp(number)])
        made.restored(tp(number), 0, 0)
    return made


def lane_of(made: Pipeline, partition: int = 0) -> Lane:
    return made.lanes[tp(partition)]


def refuse(made: Pipeline, status: int) -> None:
    """Lets the API answer one batch so."""
    made.received({TP: [signal(0)]}, {}, 0.0)
    batch = next(command.batch for command in made.ticked(1.0) if isinstance(command, Deliver))
    made.answered(batch, answer(status, at=1.0), 1.0)


def fail_commits(made: Pipeline, times: int, refusal: HoldReason | None = None, partition: int = 0) -> None:
    share = LaneCommit(tp(partition), lane_of(made, partition).epoch, 1)
    for _ in range(times):
        made.commit_failed(Commit((share,)), refusal, "the coordinator moves", 0.0)


def test_where_all_is_well_there_is_nothing_to_say() -> None:
    found = report(working(partitions=2), 0.0)
    assert (found.held, found.reasons) == (frozenset(), ())


def test_a_lane_whose_start_is_not_known_is_named() -> None:
    made = working()
    made.assigned([tp(4)])
    assert report(made, 0.0).reasons == ("delivery-dreamdata[4]: looking up where to start",)


@pytest.mark.parametrize(
    ("status", "reason", "what_to_do"),
    [
        (401, HoldReason.UNAUTHORIZED, "Data Platform > Sources > Server Side Analytics APIs"),
        (403, HoldReason.UNAUTHORIZED, "DREAMDATA_API_KEY_FILE"),
        (404, HoldReason.WRONG_ADDRESS, "DREAMDATA_URL"),
        (302, HoldReason.WRONG_ADDRESS, "DREAMDATA_URL"),
    ],
)
def test_a_refused_key_or_address_is_held_and_says_what_to_do(status: int, reason: HoldReason, what_to_do: str) -> None:
    made = working()
    refuse(made, status)
    found = report(made, 1.0)
    assert found.held == {reason}
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith(f"held ({reason}): ")
    assert what_to_do in found.reasons[0]


def test_too_many_rejections_are_held_and_name_their_setting() -> None:
    made = working(limits=Limits(rejection_limit=2))
    for number in range(3):
        made.gate.rejected(probe=False, now=float(number))
    found = report(made, 3.0)
    assert found.held == {HoldReason.REJECTIONS}
    assert "REJECTION_LIMIT" in found.reasons[0]


def test_two_reasons_to_hold_are_both_said() -> None:
    made = working(limits=Limits(rejection_limit=1))
    for _ in range(2):
        made.gate.rejected(probe=False, now=0.0)
    made.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=0.0)
    found = report(made, 0.0)
    assert found.held == {HoldReason.UNAUTHORIZED, HoldReason.REJECTIONS}
    assert len(found.reasons) == 2


def test_a_lane_full_of_undecodable_records_is_held_from_its_first_suspect() -> None:
    made = working(limits=Limits(rejection_limit=2))
    made.received({TP: [undecodable(offset) for offset in range(5)]}, {}, 0.0)
    found = report(made, 0.0)
    assert found.held == {HoldReason.UNDECODABLE}
    assert found.reasons[0].startswith(f"{TP}: held (undecodable): 3 records from offset 2 on")


@pytest.mark.parametrize(
    "refusal", [HoldReason.DEAD_LETTER_REFUSED, HoldReason.IDENTITY_REFUSED, HoldReason.COMMIT_REFUSED]
)
def test_a_refused_write_holds_its_lane_at_the_first_time(refusal: HoldReason) -> None:
    made = working(partitions=2)
    fail_commits(made, 1, refusal, partition=1)
    found = report(made, 0.0)
    assert found.held == {refusal}
    assert found.reasons == (f"{tp(1)}: held ({refusal}): the coordinator moves",)


@pytest.mark.parametrize(
    ("times", "said"),
    [pytest.param(WORRYING_ATTEMPTS - 1, 0, id="not yet"), pytest.param(WORRYING_ATTEMPTS, 1, id="now")],
)
def test_a_passing_fault_of_commits_is_said_once_it_worries(times: int, said: int) -> None:
    made = working()
    fail_commits(made, times)
    found = report(made, 0.0)
    assert found.held == frozenset()
    assert found.reasons == (f"{TP}: 3 commits in a row failed: the coordinator moves",) * said


def test_a_commit_that_goes_through_ends_the_reason() -> None:
    made = working()
    fail_commits(made, WORRYING_ATTEMPTS)
    made.committed(Commit((LaneCommit(TP, lane_of(made).epoch, 1),)), 0.0)
    assert report(made, 0.0).reasons == ()


def test_a_schema_that_nobody_has_is_named_with_the_reason() -> None:
    made = working()
    made.received({TP: [signal(0, OTHER_SCHEMA)]}, {}, 0.0)
    made.schema_unavailable(OTHER_SCHEMA, "the registry answers 500")
    assert report(made, 0.0).reasons == ("waiting for schema id:8: the registry answers 500",)


def test_a_schema_that_no_lane_waits_for_any_more_is_no_reason() -> None:
    made = working()
    made.received({TP: [signal(0, OTHER_SCHEMA)]}, {}, 0.0)
    made.schema_unavailable(OTHER_SCHEMA, "the registry answers 500")
    made.revoked([TP])
    assert report(made, 0.0).reasons == ()


def test_paused_partitions_are_counted() -> None:
    made = working(partitions=3)
    for partition in (0, 2):
        lane_of(made, partition).paused = True
    assert report(made, 0.0).paused_partitions == 2


def test_identities_of_all_lanes_are_counted() -> None:
    made = pipeline()
    for number, visitors in enumerate((2, 1)):
        made.assigned([tp(number)])
        made.restored(tp(number), 0, 0, Known({f"a:{visitor}": b"[null,0,{}]" for visitor in range(visitors)}, {}))
    assert report(made, 0.0).identities == 3


def test_the_oldest_unsettled_record_is_that_of_any_lane() -> None:
    made = working(partitions=2)
    made.received({tp(1): [signal(0)]}, {}, 3.0)
    made.received({tp(0): [signal(0)]}, {}, 5.0)
    assert report(made, 10.0).oldest_unsettled_seconds == 7.0


def test_where_all_is_settled_nothing_is_old() -> None:
    assert report(working(), 99.0).oldest_unsettled_seconds == 0.0


Change = Callable[[Pipeline], None]


def has_a_span(made: Pipeline) -> None:
    lane_of(made).spans.append(Span(0, 0.0))


def has_undecided_records(made: Pipeline) -> None:
    lane_of(made).backlog.append(record())


def has_unread_records(made: Pipeline) -> None:
    lane_of(made).position = 4


@pytest.mark.parametrize("owed", [has_a_span, has_undecided_records, has_unread_records])
def test_a_lane_with_something_left_to_do_owes_progress(owed: Change) -> None:
    made = working(partitions=2)
    lane_of(made).position = 5
    owed(made)
    assert owes_progress(made, {TP: 5})


def test_a_lane_that_is_through_owes_nothing() -> None:
    made = working()
    lane_of(made).position = 5
    assert not owes_progress(made, {TP: 5})


def test_the_end_of_another_partition_is_no_debt_of_this_one() -> None:
    assert not owes_progress(working(), {tp(9): 100})


def looks_up_its_start(made: Pipeline) -> None:
    lane_of(made).restored = False


def waits_for_a_schema(made: Pipeline) -> None:
    lane_of(made).missing_schema = SCHEMA


def waits_for_one_that_decodes(made: Pipeline) -> None:
    lane_of(made).suspects.append((record(), dead_letter()))


def has_a_refused_write(made: Pipeline) -> None:
    lane_of(made).trouble.refusal = HoldReason.DEAD_LETTER_REFUSED


WAITS_ON_PURPOSE = [looks_up_its_start, waits_for_a_schema, waits_for_one_that_decodes, has_a_refused_write]


@pytest.mark.parametrize("waits", WAITS_ON_PURPOSE)
def test_a_lane_that_waits_on_purpose_owes_nothing(waits: Change) -> None:
    made = working()
    has_a_span(made)
    waits(made)
    assert not owes_progress(made, {TP: 5})


@pytest.mark.parametrize("waits", WAITS_ON_PURPOSE)
def test_a_lane_that_waits_does_not_excuse_another(waits: Change) -> None:
    made = working(partitions=2)
    waits(made)
    assert owes_progress(made, {tp(1): 5})


def test_a_hold_excuses_all_lanes() -> None:
    made = working(partitions=2)
    has_a_span(made)
    made.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=0.0)
    assert not owes_progress(made, {tp(1): 5})


def test_a_lane_is_described_by_offsets_and_states_and_never_its_events() -> None:
    made = working()
    lane = lane_of(made)
    span = Span(3, 0.0, state=SpanState.SENT)
    span.add(item(7))
    lane.spans.append(span)
    lane.paused = True
    assert describe(lane) == (
        "delivery-dreamdata[0] epoch 1: position 0, committed 0, paused, 0 undecided, spans: [3, 8) sent"
    )


def test_a_lane_at_its_own_end_owes_nothing_however_much_lies_behind_it() -> None:
    made = working()
    lane_of(made).position, lane_of(made).stretch = 5, Stretch(0, 5)

    assert not owes_progress(made, {TP: 100})


def test_a_lane_before_its_own_end_owes_progress() -> None:
    made = working()
    lane_of(made).position, lane_of(made).stretch = 4, Stretch(0, 5)

    assert owes_progress(made, {TP: 100})
