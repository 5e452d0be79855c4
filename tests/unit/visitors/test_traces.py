import pytest

from tests.builders import TP
from worker.core.identity import IdentityChange, State
from worker.core.records import Record
from worker.identity_entries import headers_by_hand, headers_of
from worker.visitors.traces import Trace

VISITOR = "a:df_8f2a1c9e"
TOPIC_ID = "topic-id"


def state(email: str, user_id: str | None = None) -> bytes:
    name = "null" if user_id is None else f'"{user_id}"'
    return f'[{name},1780744274000,{{"email":"{email}"}}]'.encode()


def entry(source_offset: int, value: bytes | None, visitor: str = VISITOR, topic_id: str = TOPIC_ID) -> Record:
    headers = headers_of(IdentityChange(source_offset, visitor, value), topic_id)
    return Record(0, -1, visitor.encode(), value, headers)


def by_hand(until: int, visitor: str = VISITOR) -> Record:
    return Record(0, -1, visitor.encode(), None, headers_by_hand(until, TOPIC_ID))


def trace(*records: Record, visitor: str = VISITOR, start: int = 100) -> Trace:
    made = Trace(TP, visitor, start, TOPIC_ID)
    for record in records:
        made.take(record)
    return made


def test_the_last_entry_before_the_start_is_known_and_where_it_was_learned() -> None:
    found = trace(entry(3, state("a")), entry(5, state("b")), entry(100, state("later")))
    assert found.state == State(None, 1780744274000, {"email": "b"})
    assert (found.source_offset, found.entries) == (5, 3)


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(entry(5, None), id="tombstone"),
        pytest.param(by_hand(9), id="operator"),
    ],
)
def test_who_is_forgotten_is_not_known_and_was_learned_nowhere(last: Record) -> None:
    found = trace(entry(3, state("a")), last)
    assert (found.state, found.source_offset, found.entries) == (None, None, 2)


def test_an_operator_s_word_is_remembered_behind_what_is_learned_later() -> None:
    found = trace(by_hand(9), entry(8, state("before")), entry(9, state("after")))
    assert (found.forgotten_until, found.source_offset) == (9, 9)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(entry(3, state("a"), topic_id="another"), id="topic-made-anew"),
        pytest.param(Record(0, -1, VISITOR.encode(), state("a")), id="no-headers"),
        pytest.param(Record(0, -1, VISITOR.encode(), b"[]", ()), id="no-state"),
    ],
)
def test_what_no_worker_takes_is_not_known(record: Record) -> None:
    assert (trace(record).state, trace(record).entries) == (None, 1)


def test_others_are_no_entries() -> None:
    found = trace(entry(3, state("a"), "a:other"), entry(4, state("a"), "u:df_8f2a1c9e"))
    assert (found.entries, found.state, found.alike) == (0, None, set())


def test_for_a_userid_those_known_by_it_at_last_are_named() -> None:
    found = trace(
        entry(1, state("a", "x"), "a:stays"),
        entry(2, state("a", "x"), "a:changes"),
        entry(3, state("a", "y"), "a:changes"),
        entry(4, state("a", "x"), "a:forgotten"),
        entry(5, None, "a:forgotten"),
        Record(0, -1, b"a:garbage", b"\xff"),
        Record(0, -1, b"\xff", state("a", "x")),
        visitor="u:x",
    )
    assert found.alike == {"a:stays"}
