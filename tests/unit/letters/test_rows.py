from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import TP
from worker.letters.rows import Row, Tally
from worker.letters.selection import State


def row(offset: int, at_ms: int) -> Row:
    return Row(TP, offset, at_ms, State.WAITING, None)


def tallied(times: Iterable[int], limit: int, *, oldest_first: bool) -> Tally:
    tally = Tally(limit, oldest_first)
    for offset, at_ms in enumerate(times):
        tally.take(row(offset, at_ms))
    return tally


@given(st.lists(st.integers(0, 9)), st.integers(1, 12), st.booleans())
def test_of_all_rows_the_first_are_kept_and_the_rest_are_counted(times: list[int], limit: int, oldest: bool) -> None:  # noqa: FBT001 - drawn
    tally = tallied(times, limit, oldest_first=oldest)
    in_order = sorted(enumerate(times), key=lambda entry: ((1 if oldest else -1) * entry[1], entry[0]))
    assert [each.offset for each in tally.kept] == [offset for offset, _ in in_order[:limit]]
    assert tally.more == max(0, len(times) - limit)
    assert tally.counts.total() == len(times)
