"""Dead letters that are opened and written again, whatever is in them."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import TIME_MS, record
from tests.unit.test_dead_letters import (
    FAILED_AT,
    TEXTS,
    TP,
    headers,
    letter_record,
    rejected,
    returned,
    undecodable,
    wall_ms,
)
from worker.core.records import Headers, TopicPartition
from worker.dead_letters import opened

NAMES = st.text(max_size=12).filter(lambda name: not name.startswith("dl-"))
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=5).map(tuple)


@given(st.integers(-1, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1))
def test_an_opened_letter_names_its_source_to_the_millisecond(time_ms: int, offset: int, partition: int) -> None:
    source, tp = record(offset, timestamp_ms=time_ms), TopicPartition("delivery-dreamdata", partition)
    letter = opened(letter_record(headers(undecodable(of=source), tp=tp), source))
    assert letter is not None
    assert (letter.source, letter.record) == (tp, source)


@given(HEADERS, TEXTS, TEXTS, TEXTS.filter(bool), st.lists(TEXTS, min_size=10, max_size=10))
def test_ten_redrives_keep_the_source_and_the_headers_and_add_no_bytes(
    theirs: Headers, detail: str, body: str, group: str, details: list[str]
) -> None:
    source = record(42, b"value", key=b"key", headers=theirs, timestamp_ms=TIME_MS + 17)
    first = msgspec.structs.replace(rejected(source), detail=detail, http_body=body)
    lies = letter_record(headers(first, group=group), source)
    for number, again in enumerate(details, 1):
        lies = returned(lies, msgspec.structs.replace(rejected(lies), detail=again, http_body=again, attempts=2))
        letter = opened(lies)
        assert letter is not None
        assert (letter.source, letter.record) == (TP, source)
        assert (letter.redrives, letter.attempts) == (number, 9 + 2 * number)
        assert letter.first_failed_at_ms == wall_ms(FAILED_AT)
        assert lies.headers[: len(theirs)] == theirs
        assert sum(len(name.encode()) + len(value or b"") for name, value in lies.headers[len(theirs) :]) <= 4_096
        assert len({name for name, _ in lies.headers[len(theirs) :]}) == len(lies.headers) - len(theirs)


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in headers(rejected())]), st.binary(max_size=12))))
def test_whatever_the_headers_say_nothing_is_raised(anything: list[tuple[str, bytes]]) -> None:
    opened(record(1, headers=tuple(dict(headers(rejected())).items() | dict(anything).items())))
