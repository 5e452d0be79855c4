from collections.abc import Iterator

import pytest

from tests.builders import TIME_MS, dead_letter, record
from tests.unit.test_dead_letters import headers, letter_record, rejected, returned
from worker.core.commands import LaneCommit
from worker.core.outcomes import DeadLetter, Reason, Stage, left_out
from worker.core.records import TopicPartition
from worker.dead_letters import opened
from worker.outgoing import Outgoing, ReturnWriter

LETTERS = TopicPartition("delivery-dreamdata.dead-letters", 3)


class Topics:
    """Notes what it is asked to make."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def make_dead_letter_topic(self, source: str, name: str) -> None:
        self.made.append((source, name))

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]:
        raise AssertionError("a redrive writes to no identity log")


@pytest.fixture
def topics() -> Topics:
    return Topics()


def written(topics: Topics, *letters: DeadLetter) -> Iterator[Outgoing]:
    writer = ReturnWriter({LETTERS.topic: "delivery-dreamdata"}, topics)
    return writer.records_of(LaneCommit(LETTERS, epoch=1, next_offset=9, dead_letters=letters))


def test_what_failed_again_goes_back_to_where_it_lay_and_is_told_anew(topics: Topics) -> None:
    source = record(42, b"value", key=b"key", headers=(("trace", b"1"),))
    lies = letter_record(headers(rejected(source)), source)
    again = DeadLetter(lies, Reason.GAVE_UP, Stage.DELIVER, "too long", 0.0)
    [out] = written(topics, again)
    assert (out.to.topic, out.partition, out.key, out.value) == (LETTERS.topic, 3, b"key", b"value")
    assert out.headers == returned(lies, again).headers
    assert out.timestamp_ms == 0, "it has failed now"
    out.to.make()
    assert topics.made == [("delivery-dreamdata", LETTERS.topic)]


@pytest.mark.parametrize(("timestamp_ms", "expected"), [(TIME_MS, TIME_MS), (-1, 0)], ids=["known", "none"])
def test_what_was_left_out_goes_back_as_it_is(topics: Topics, timestamp_ms: int, expected: int) -> None:
    lies = record(7, None, key=b"anything", headers=(("dl-reason", b"x"), ("theirs", None)), timestamp_ms=timestamp_ms)
    [out] = written(topics, left_out(lies, Reason.NOT_SELECTED, 0.0))
    assert (out.partition, out.key, out.value, out.headers) == (3, lies.key, lies.value, lies.headers)
    assert out.timestamp_ms == expected


def test_nothing_else_of_a_share_is_written(topics: Topics) -> None:
    assert list(written(topics)) == []
    assert opened(dead_letter().record) is None
    with pytest.raises(AssertionError):
        list(written(topics, dead_letter()))
