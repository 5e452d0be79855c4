import pytest

from tests.builders import TP
from tests.unit.visitors.test_traces import VISITOR, entry, state, trace
from worker.core.records import TopicPartition
from worker.visitors.sources import Letter, Letters, Log
from worker.visitors.words import MAX_LISTED, alike_in_words, erasure, in_words, letters_in_words

LOG = Log(TP.topic, "group.delivery-dreamdata.identity", (0,), ())
DAY_MS = 86_400_000
NO_LIMIT = str(2**63 - 1)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "nobody knows here when"),
        ({"cleanup.policy": "compact", "max.compaction.lag.ms": NO_LIMIT}, "no time limit"),
        ({"cleanup.policy": "compact", "retention.ms": str(DAY_MS)}, "no time limit"),
        ({"cleanup.policy": "compact,delete", "retention.ms": "-1"}, "no time limit"),
        ({"cleanup.policy": "compact,delete", "retention.ms": str(430 * DAY_MS)}, "after 430 days at the latest (ret"),
        (
            {
                "cleanup.policy": "compact,delete",
                "retention.ms": str(430 * DAY_MS),
                "max.compaction.lag.ms": str(7 * DAY_MS),
            },
            "after 7 days at the latest (max.compaction.lag.ms)",
        ),
    ],
    ids=["hidden", "unlimited", "retention-unused", "kept-for-ever", "retention", "compaction"],
)
def test_it_says_by_when_kafka_removes_what_is_superseded(config: dict[str, str], words: str) -> None:
    assert words in erasure(config)


def test_traits_that_are_no_texts_are_shown_as_json_and_nothing_moves_the_terminal() -> None:
    value = b'[null,1780744274000,{"email":"\\u001b[2J","seats":[3,null,true]}]'
    lines = list(in_words(trace(entry(1, value)), LOG, 400, reveal=True))
    assert lines[-2:] == ["  email       \\u001b[2J", "  seats       [3, null, true]"]


def test_a_time_outside_the_calendar_is_shown_as_it_is() -> None:
    lines = list(in_words(trace(entry(1, f'[null,{2**62},{{"email":"x"}}]'.encode())), LOG, 400, reveal=True))
    assert lines[2] == f"  identified  {2**62} ms after 1970, for events of the 400 days after it"


def test_nothing_is_said_of_a_partition_without_an_entry() -> None:
    assert list(in_words(trace(), LOG, 400, reveal=False)) == []


@pytest.mark.parametrize(("count", "said"), [(MAX_LISTED, MAX_LISTED + 1), (MAX_LISTED + 2, MAX_LISTED + 2)])
def test_dead_letters_by_the_thousand_are_counted(count: int, said: int) -> None:
    letter = Letter(TopicPartition("t.dead-letters", 0), 1, "rejected", "t[0]@1")
    lines = list(letters_in_words("t.dead-letters", Letters(1, [letter] * count)))
    assert (lines[0], len(lines)) == (f"{count} dead letters hold this visitor in t.dead-letters:", said)
    assert (lines[-1] == "  … and 2 more") is (count > MAX_LISTED)


def test_a_topic_that_cannot_be_seen_is_not_said_to_be_clean() -> None:
    assert list(letters_in_words("t", Letters(0, []))) == [
        "There are no dead letters: no topic t, or this user may not see it."
    ]
    assert list(letters_in_words("t", Letters(1, []))) == ["No dead letter holds this visitor in t."]


def test_those_known_by_the_same_userid_are_named_once() -> None:
    traces = [trace(entry(1, state("a", "x"), f"a:df_{number % 60}"), visitor="u:x") for number in range(120)]
    [line] = alike_in_words(traces)
    assert line.count("df_") == MAX_LISTED
    assert "and 10 more" in line
    assert list(alike_in_words([trace(entry(1, state("a", "x")), visitor=VISITOR)])) == []
