import pytest

from tests.builders import TTL_MS, dead_letter, item, lane, record
from worker.core import lanes
from worker.core.batching import ENVELOPE_BYTES, MAX_SPAN_RECORDS, SpanState
from worker.core.identity import Identities
from worker.core.lanes import Lane, Limits
from worker.core.outcomes import HoldReason, Outcome, Reason
from worker.core.stretches import Stretch


def filled(count: int, limits: Limits) -> Lane:
    made = lane(limits)
    for offset in range(count):
        made.place(record(offset), item(offset), 0.0)
    return made


def states(made: Lane) -> list[SpanState]:
    return [span.state for span in made.spans]


def send(made: Lane, now: float = 0.0) -> bool:
    span = made.next_to_send(now)
    if span is not None:
        span.state = SpanState.SENT
    return span is not None


def test_an_open_span_waits_for_linger() -> None:
    made = filled(1, Limits(linger_seconds=1.0))

    assert made.next_to_send(0.9) is None
    assert made.next_to_send(1.0) is made.spans[0]


def test_linger_runs_from_the_spans_first_record() -> None:
    made = lane(Limits(linger_seconds=1.0))
    made.place(record(0), Reason.UNMAPPED, 100.0)
    made.place(record(1), item(1), 100.9)

    assert made.next_to_send(100.95) is None
    assert made.next_to_send(101.0) is made.spans[0]


def test_traits_that_were_refused_are_counted_in_the_span_that_brought_them_and_once() -> None:
    made = lane()
    made.identities.traits_refused = 2
    made.place(record(0), Reason.ABSORBED, 0.0)
    made.seal_open()
    made.place(record(1), Reason.ABSORBED, 0.0)

    assert [span.traits_refused for span in made.spans] == [2, 0]


def test_a_span_goes_on_growing_while_the_lane_cannot_send() -> None:
    made = filled(2, Limits(batch_max_events=2))
    made.place(record(2), item(2), 0.0)
    assert send(made)

    assert made.next_to_send(60.0) is None
    made.place(record(3), item(3), 60.0)

    assert states(made) == [SpanState.SENT, SpanState.OPEN]


def test_a_hurry_does_not_wait_for_linger() -> None:
    assert filled(1, Limits()).next_to_send(0.0, hurry=True) is not None


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_as_many_are_in_flight_as_the_limit_says(in_flight: int) -> None:
    made = filled(20, Limits(batch_max_events=1, in_flight=in_flight))

    assert [send(made) for _ in range(in_flight + 1)] == [True] * in_flight + [False]


def test_spans_are_sent_in_the_order_of_their_offsets() -> None:
    made = filled(4, Limits(batch_max_events=1, in_flight=9))
    sent = []
    while (span := made.next_to_send(5.0)) is not None:
        span.state = SpanState.SENT
        sent.append(span.first_offset)

    assert sent == [0, 1, 2, 3]


def test_a_parked_span_goes_only_when_nothing_untried_is_left() -> None:
    made = filled(2, Limits(batch_max_events=1, linger_seconds=0.0, in_flight=3))
    made.spans[0].state = SpanState.PARKED

    assert made.next_to_send(0.0) is made.spans[1]
    made.spans[1].state = SpanState.SETTLED
    assert made.next_to_send(0.0) is made.spans[0]


def test_a_single_condemned_for_a_400_is_never_sent_again() -> None:
    made = filled(1, Limits())
    made.spans[0].state = SpanState.PARKED
    made.spans[0].trouble.sentence = (dead_letter(0),)

    assert made.next_to_send(100.0) is None


def test_a_span_without_a_batch_is_settled_when_it_has_lingered() -> None:
    made = lane(Limits(linger_seconds=1.0))
    made.place(record(0), Reason.UNMAPPED, 0.0)
    made.close_if_due(0.9)
    assert states(made) == [SpanState.OPEN]

    made.close_if_due(1.0)

    assert states(made) == [SpanState.SETTLED]


def test_a_span_closes_at_ten_thousand_records() -> None:
    made = lane()
    for offset in range(MAX_SPAN_RECORDS + 1):
        made.place(record(offset), Reason.UNMAPPED, 0.0)

    assert [span.records for span in made.spans] == [10_000, 1]
    assert states(made) == [SpanState.SETTLED, SpanState.OPEN]


def test_a_span_closes_at_500_kb_of_dead_letters() -> None:
    made = lane()
    for offset in range(6):
        made.place(record(offset), dead_letter(offset, b"x" * 100_000), 0.0)

    assert [span.records for span in made.spans] == [5, 1]


def test_a_span_closes_at_500_kb_of_identity_changes() -> None:
    made = lane()
    for offset in range(20):
        made.identities.learn("a:x", None, {"email": "x" * 30_000}, at_ms=0, offset=offset)
        made.place(record(offset), Reason.ABSORBED, 0.0)

    assert made.spans[0].state is SpanState.SETTLED
    assert made.spans[0].records == 17


def test_a_dead_letter_beside_items_does_not_settle_the_span() -> None:
    made = lane()
    made.place(record(0), item(0), 0.0)
    made.place(record(1), dead_letter(1, b"x" * 500_000), 0.0)

    assert states(made) == [SpanState.SEALED]


def test_bodies_fill_up_to_one_byte_below_the_limit() -> None:
    limit = ENVELOPE_BYTES + 100 + 1 + 100
    exactly, one_less = filled(2, Limits(batch_max_bytes=limit)), filled(2, Limits(batch_max_bytes=limit + 1))

    assert len(exactly.spans) == 2
    assert len(one_less.spans) == 1


def test_what_a_record_taught_is_committed_with_its_own_offset() -> None:
    made = lane(Limits(batch_max_events=1))
    made.place(record(0), item(0), 0.0)
    made.identities.learn("a:x", None, {"email": "jane.doe@acme.com"}, at_ms=0, offset=1)
    made.place(record(1), item(1), 0.0)

    assert [len(span.changes) for span in made.spans] == [0, 1]


def test_only_the_settled_prefix_is_committed() -> None:
    made = filled(3, Limits(batch_max_events=1))
    for settled in (0, 2):
        made.spans[settled].deliver()

    share = made.share()

    assert share is not None
    assert (share.next_offset, share.spans) == (1, 1)


def test_a_settled_prefix_is_never_passed_by_the_position() -> None:
    made = filled(2, Limits(batch_max_events=1))
    made.position = 90
    made.spans[0].deliver()

    share = made.share()

    assert share is not None
    assert share.next_offset == 1


def test_the_position_past_markers_is_committed_when_nothing_waits() -> None:
    made = filled(1, Limits())
    made.position = 7
    made.spans[0].deliver()

    share = made.share()

    assert share is not None
    assert share.next_offset == 7


@pytest.mark.parametrize("waiting", ["backlog", "suspects", "open span"])
def test_the_bare_position_is_not_committed_while_something_waits(waiting: str) -> None:
    made = lane()
    made.position = 7
    if waiting == "backlog":
        made.backlog.append(record(3))
    elif waiting == "suspects":
        made.suspects.append((record(3), dead_letter(3)))
    else:
        made.place(record(3), item(3), 0.0)

    assert made.share() is None


def test_a_start_position_is_committed_where_nothing_was() -> None:
    made = lane(committed=None)
    made.position = 40

    share = made.share()

    assert share is not None
    assert share.next_offset == 40


def test_nothing_is_committed_twice() -> None:
    made = filled(1, Limits())
    made.position = 1
    made.spans[0].deliver()
    share = made.share()
    assert share is not None
    made.committed_share(share, 0.0)

    assert made.share() is None


def test_settled_records_are_committed_even_where_the_group_had_that_offset_already() -> None:
    made = lane(committed=2)
    for offset in range(2):
        made.place(record(offset), dead_letter(offset), 0.0)
    made.close_if_due(5.0)

    share = made.share()

    assert share is not None
    assert len(share.dead_letters) == 2


@pytest.mark.parametrize(("in_flight", "waiting"), [(1, 2), (2, 2), (5, 5)])
def test_it_is_paused_when_enough_batches_wait(in_flight: int, waiting: int) -> None:
    made = filled(waiting, Limits(batch_max_events=1, in_flight=in_flight))
    assert not made.should_pause()  # the last span is still open

    made.place(record(waiting), item(waiting), 0.0)

    assert made.should_pause()


def test_a_paused_lane_is_resumed_one_batch_below() -> None:
    made = filled(3, Limits(batch_max_events=1))
    made.place(record(3), item(3), 0.0)
    resumed = []
    for span in list(made.spans)[:2]:
        span.deliver()
        resumed.append(not made.should_pause())

    assert resumed == [False, True]


def test_batches_on_the_wire_do_not_pause_a_lane() -> None:
    made = filled(3, Limits(batch_max_events=1, in_flight=2))
    assert send(made)
    assert send(made)

    assert not made.should_pause()


def test_parked_spans_pause_a_lane_by_their_weight_alone() -> None:
    made = lane(Limits(batch_max_bytes=2_000))
    for offset in range(3):
        made.place(record(offset), item(offset, 1_500), 0.0)
    for span in list(made.spans)[:2]:
        span.state = SpanState.PARKED
    assert not made.should_pause()

    made.spans[2].state = SpanState.PARKED

    assert made.should_pause()


def test_records_that_weigh_nothing_pause_a_lane_by_their_number() -> None:
    made = lane()
    made.backlog.extend(record(offset) for offset in range(MAX_SPAN_RECORDS))

    assert made.should_pause()


def test_two_batches_worth_of_undecided_records_pause_a_lane() -> None:
    made = lane()
    made.backlog_bytes, made.suspects_bytes = 600_000, 400_000

    assert made.should_pause()


def test_a_refused_transaction_pauses_its_lane() -> None:
    made = lane()
    made.trouble.refusal = HoldReason.DEAD_LETTER_REFUSED

    assert made.should_pause()


def test_settled_spans_that_wait_for_a_transaction_do_not_grow_without_bound() -> None:
    made = filled(lanes.MAX_SPANS, Limits(batch_max_events=1))
    for span in made.spans:
        span.deliver()

    assert made.should_pause()


def test_a_batch_is_the_same_at_every_attempt() -> None:
    made = filled(2, Limits())
    numbers = iter((1, 2))

    first, second = (made.batch_of(made.spans[0], lambda: next(numbers)) for _ in range(2))

    assert first is second


def test_a_batch_of_another_epoch_answers_for_no_span() -> None:
    made = filled(1, Limits())
    batch = made.batch_of(made.spans[0], lambda: 1)
    later = Lane(made.tp, 2, made.limits, Identities(TTL_MS))
    later.spans = made.spans

    assert made.span_of(batch) is made.spans[0]
    assert later.span_of(batch) is None


def ending_at(end: int) -> Lane:
    made = lane()
    made.stretch = Stretch(0, end)
    return made


def test_a_lane_takes_in_nothing_from_its_end_on() -> None:
    made = ending_at(3)

    made.take_in([record(offset) for offset in (1, 2, 3, 4)])

    assert [each.offset for each in made.backlog] == [1, 2]
    assert made.backlog_bytes == sum(each.size for each in made.backlog)


@pytest.mark.parametrize(
    ("offsets", "position"), [pytest.param((0, 2), 3, id="exact"), pytest.param((0, 7), 3, id="a gap at the end")]
)
def test_the_position_of_a_lane_is_never_past_its_end(offsets: tuple[int, ...], position: int) -> None:
    made = ending_at(3)

    made.take_in([record(offset) for offset in offsets])

    assert (made.position, made.read_out, made.should_pause()) == (position, True, True)


def test_a_lane_short_of_its_end_reads_on() -> None:
    made = ending_at(3)

    made.take_in([record(1)])

    assert (made.position, made.read_out, made.should_pause()) == (2, False, False)


def test_the_last_commit_of_a_lane_is_its_end_and_says_what_became_of_all() -> None:
    made = ending_at(3)
    made.place(record(0, None), Reason.NULL_VALUE, 0.0)
    made.seal_open()
    made.position = 3

    share = made.share()

    assert share is not None
    assert (share.next_offset, share.stretch) == (3, Stretch(0, 3, counted={"filtered/null-value": 1}))


def test_what_was_committed_is_counted_in_the_next_commit_as_well() -> None:
    made = ending_at(9)
    for offset in (0, 1):
        made.place(record(offset, None), Reason.NULL_VALUE, 0.0)
        made.seal_open()
        share = made.share()
        assert share is not None
        made.committed_share(share, 0.0)

    assert made.stretch == Stretch(0, 9, counted={f"{Outcome.FILTERED}/{Reason.NULL_VALUE}": 2})


def test_offsets_lost_while_a_commit_is_in_the_air_are_not_forgotten() -> None:
    made = ending_at(9)
    made.place(record(0, None), Reason.NULL_VALUE, 0.0)
    made.seal_open()
    share = made.share()
    assert share is not None

    made.lose(4)
    made.committed_share(share, 0.0)

    assert made.stretch is not None
    assert made.stretch.lost == 4
