import pytest

from worker.core.restoring import Entry, Restoration

JANE, JOHN = "a:jane", "a:john"
TOPIC_ID = "id-1"


def learned(visitor: str = JANE, offset: int = 1, state: bytes | None = b"1", topic_id: str = TOPIC_ID) -> Entry:
    return Entry(visitor, state, offset, topic_id)


def by_hand(visitor: str = JANE, until: int = 10, topic_id: str = TOPIC_ID) -> Entry:
    return Entry(visitor, None, 0, topic_id, until, by_hand=True)


def restored(*entries: Entry, start: int = 100) -> Restoration:
    restoration = Restoration(start, TOPIC_ID)
    for entry in entries:
        restoration.take(entry)
    return restoration


def test_the_last_entry_of_each_visitor_counts() -> None:
    found = restored(learned(offset=1), learned(JOHN, 2), learned(offset=3, state=b"3"))

    assert found.known.states == {JANE: b"3", JOHN: b"1"}


def test_a_tombstone_forgets_the_visitor() -> None:
    assert restored(learned(offset=1), learned(offset=2, state=None)).known.states == {}


@pytest.mark.parametrize("offset", [100, 101])
def test_what_will_be_read_again_is_not_known_yet(offset: int) -> None:
    found = restored(learned(offset=99), learned(offset=offset, state=b"later"), learned(JOHN, offset))

    assert found.known.states == {JANE: b"1"}
    assert found.unknown == 1


def test_a_tombstone_of_an_event_that_will_be_read_again_forgets_nothing_yet() -> None:
    assert restored(learned(offset=99), learned(offset=100, state=None)).known.states == {JANE: b"1"}


def test_what_was_made_again_after_a_move_back_counts_by_its_place_in_the_log() -> None:
    found = restored(learned(offset=50), learned(offset=90, state=b"old"), learned(offset=60, state=b"again"), start=70)

    assert found.known.states == {JANE: b"again"}


def test_another_topic_of_the_same_name_teaches_nothing() -> None:
    assert restored(learned(topic_id="id-0")).known.states == {}


def test_an_operator_is_obeyed_whatever_the_offsets_and_the_topic() -> None:
    assert restored(learned(offset=1), by_hand(until=500)).known.states == {}
    assert restored(learned(offset=1), by_hand(until=500, topic_id="id-0")).known.states == {}


def test_an_entry_from_before_the_operator_s_word_is_not_taken_though_it_comes_behind_it() -> None:
    found = restored(by_hand(until=10), learned(offset=9), learned(JOHN, 9))

    assert found.known.states == {JOHN: b"1"}
    assert found.known.forgotten_until == {JANE: 10}


def test_an_entry_from_after_the_operator_s_word_is_taken() -> None:
    assert restored(by_hand(until=10), learned(offset=10)).known.states == {JANE: b"1"}


def test_the_operator_s_word_is_still_known_when_compaction_has_left_only_a_later_entry() -> None:
    later = Entry(JANE, b"1", 500, TOPIC_ID, forgotten_until=10)

    assert restored(later).known.forgotten_until == {JANE: 10}


def test_an_operator_s_word_about_another_topic_of_the_same_name_bounds_no_offsets() -> None:
    assert restored(by_hand(topic_id="id-0")).known.forgotten_until == {}


def test_what_is_found_elsewhere_counts_where_the_log_does_not_tell() -> None:
    restoration = restored(learned(JANE, 1), learned(JOHN, 2), learned(JOHN, 3, None), learned("a:later", 100))

    restoration.complete({JANE: b"old", JOHN: b"old", "a:later": b"old", "a:other": b"old"})

    assert restoration.known.states == {JANE: b"1", "a:later": b"old", "a:other": b"old"}


def test_of_whom_the_log_has_only_later_entries_nothing_is_known() -> None:
    restoration = restored(learned(JANE, 100), learned(JOHN, 1, None), learned(JOHN, 101))

    assert restoration.unknown == 1
    restoration.complete({JANE: b"old"})
    assert restoration.unknown == 0
