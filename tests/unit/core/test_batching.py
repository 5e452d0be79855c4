import msgspec
import pytest

from tests.builders import batch, dead_letter, item, span
from worker.core.batching import Span, SpanState, largest_payload_bytes
from worker.core.identity import IdentityChange
from worker.core.outcomes import Outcome, Reason

SENT_AT = "2026-06-06T11:11:15.120Z"
ENVELOPE = len('{"messageId":"","sentAt":"","batch":[]}') + 36 + len(SENT_AT)


def mixed() -> Span:
    """Offsets 0 to 9 with gaps: items at 1, 4, 6 and 9, and around them all that a span can hold."""
    made = Span(0, 0.0)
    made.filter(item(0).record, Reason.UNMAPPED)
    made.add(item(1))
    made.bury(dead_letter(2))
    made.add(item(4))
    made.filter(item(5).record, Reason.ABSORBED)
    made.learn([IdentityChange(5, "a:x", b"{}")])
    made.add(item(6))
    made.learn([IdentityChange(6, "a:x", None)])
    made.bury(dead_letter(8))
    made.add(item(9))
    made.state = SpanState.SEALED
    return made


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, False), (1, False)])
def test_an_item_alone_must_stay_below_the_limit(over: int, *, fits: bool) -> None:
    payload_bytes = 100
    limit = ENVELOPE + payload_bytes - over

    assert (payload_bytes <= largest_payload_bytes(limit)) is fits
    assert Span(0, 0.0).fits(payload_bytes, max_bytes=limit, max_events=10) is fits


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, False), (1, False)])
def test_a_comma_counts(over: int, *, fits: bool) -> None:
    limit = ENVELOPE + 100 + len(",") + 50 - over

    assert span(item(0, 100)).fits(50, max_bytes=limit, max_events=10) is fits


def test_no_more_events_than_allowed() -> None:
    assert span(item(0)).fits(1, max_bytes=10_000, max_events=2)
    assert not span(item(0), item(1)).fits(1, max_bytes=10_000, max_events=2)


def test_a_body_is_valid_json_of_exactly_its_size() -> None:
    made = batch(item(0), item(1), item(2))
    body = made.body(SENT_AT)

    assert len(body) == made.size
    assert set(msgspec.json.decode(body)) == {"messageId", "sentAt", "batch"}


def test_the_batch_id_is_the_same_at_every_attempt_and_sent_at_is_new() -> None:
    made = batch(item(0), item(1))
    first, second = (msgspec.json.decode(made.body(at)) for at in (SENT_AT, "2026-06-06T11:11:16.120Z"))

    assert first["messageId"] == second["messageId"]
    assert first["sentAt"] != second["sentAt"]


def test_halves_answer_for_their_own_offsets() -> None:
    front, back = mixed().halves()

    assert (front.first_offset, front.next_offset, back.first_offset, back.next_offset) == (0, 6, 6, 10)


def test_halves_hold_together_what_the_whole_held() -> None:
    whole, (front, back) = mixed(), mixed().halves()

    assert [each.record.offset for each in front.items] == [1, 4]
    assert [each.record.offset for each in back.items] == [6, 9]
    assert front.filtered + back.filtered == whole.filtered
    assert front.dead_letters + back.dead_letters == whole.dead_letters
    assert [change.offset for change in front.changes] == [5]
    assert [change.offset for change in back.changes] == [6]
    assert front.records + back.records == whole.records


def test_halves_have_the_size_of_their_own_bodies() -> None:
    front, _ = mixed().halves()

    assert front.size == span(item(1), item(4)).size


def test_halves_start_without_a_batch_or_a_sentence_but_remember_the_trouble() -> None:
    whole = mixed()
    whole.trouble.attempts, whole.trouble.suspect, whole.trouble.sentence = 3, True, (dead_letter(1),)
    whole.trouble.refused_after_success = whole.trouble.tried = True

    for half in whole.halves():
        assert (half.batch, half.state, half.trouble.sentence) == (None, SpanState.SEALED, ())
        assert (half.trouble.attempts, half.trouble.suspect) == (3, True)
        assert (half.trouble.refused_after_success, half.trouble.tried) == (False, False)


def test_the_trouble_of_one_half_is_not_the_others() -> None:
    front, back = mixed().halves()
    front.trouble.attempts += 1

    assert back.trouble.attempts == 0


def test_a_tally_counts_every_record_once() -> None:
    made = mixed()
    made.deliver()

    assert sum(made.outcomes.values()) == made.records == 8
    assert made.outcomes[Outcome.DELIVERED, Reason.DELIVERED] == 4


def test_a_settled_span_lets_its_payloads_go() -> None:
    made = mixed()
    made.deliver()

    assert (made.items, made.batch) == ([], None)


def test_a_delivered_span_forgets_its_sentence() -> None:
    made = span(item(0))
    made.trouble.sentence = (dead_letter(0),)
    made.deliver()

    assert not made.trouble.sentence


def test_dead_letters_of_a_refused_batch_come_in_the_order_of_their_offsets() -> None:
    made = mixed()
    made.bury_items([dead_letter(offset, reason=Reason.REJECTED) for offset in (1, 4, 6, 9)])

    assert [letter.record.offset for letter in made.dead_letters] == [1, 2, 4, 6, 8, 9]
