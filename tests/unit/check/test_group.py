import pytest

from worker.check.group import judge_group, judge_lag
from worker.check.results import Verdict
from worker.cluster import Offsets
from worker.core.records import TopicPartition
from worker.core.start_offsets import OffsetReset
from worker.inspector import GroupSeen

STICKY = "cooperative-sticky"


def lag(*partitions: Offsets, reset: OffsetReset = OffsetReset.EARLIEST) -> list[tuple[Verdict, str]]:
    offsets = {TopicPartition("t", number): found for number, found in enumerate(partitions)}
    return [(result.verdict, result.what) for result in judge_lag(offsets, reset)]


@pytest.mark.parametrize(
    ("seen", "verdict", "words"),
    [
        pytest.param(GroupSeen(exists=False), Verdict.OK, "does not exist yet", id="new"),
        pytest.param(GroupSeen(exists=True), Verdict.OK, "no members", id="nobody at work"),
        pytest.param(GroupSeen(exists=True, members=2, assignor=STICKY), Verdict.OK, "2 members", id="at work"),
        pytest.param(
            GroupSeen(exists=True, members=1, assignor="range"), Verdict.FINDING, "range", id="somebody else's"
        ),
        pytest.param(
            GroupSeen(exists=False, rights=frozenset({"DESCRIBE"})), Verdict.FINDING, "joined", id="no right to READ"
        ),
        pytest.param(GroupSeen(exists=False, rights=frozenset({"READ"})), Verdict.OK, "yet", id="the right to READ"),
    ],
)
def test_a_group_is_judged_by_its_rights_and_members(seen: GroupSeen, verdict: Verdict, words: str) -> None:
    [result] = judge_group("g", seen, STICKY)
    assert result.verdict is verdict
    assert words in result.what


def test_where_the_broker_assigns_any_assignor_is_well() -> None:
    [result] = judge_group("g", GroupSeen(exists=True, members=1, assignor="uniform"), None)
    assert result.verdict is Verdict.OK


def test_lag_is_the_sum_over_a_topics_partitions() -> None:
    assert lag(Offsets(5, 0, 10), Offsets(7, 0, 1_007)) == [(Verdict.OK, "t: 1,005 records to read")]


def test_a_lag_of_one_record_is_said_in_the_singular() -> None:
    assert lag(Offsets(9, 0, 10)) == [(Verdict.OK, "t: 1 record to read")]


def test_lag_of_a_new_group_counts_from_where_it_would_start() -> None:
    assert lag(Offsets(None, 3, 10)) == [(Verdict.OK, "t: nothing committed yet, 7 records to read")]
    assert lag(Offsets(None, 3, 10), reset=OffsetReset.LATEST) == [
        (Verdict.OK, "t: nothing committed yet, 0 records to read")
    ]


def test_a_partition_that_was_added_is_named() -> None:
    assert lag(Offsets(10, 0, 10), Offsets(None, 0, 4)) == [
        (Verdict.OK, "t: 4 records to read, nothing committed yet in 1 partition")
    ]


@pytest.mark.parametrize(
    ("offsets", "reset", "words"),
    [
        pytest.param(Offsets(5, 20, 30), OffsetReset.EARLIEST, "next 15 offsets were deleted", id="deleted unread"),
        pytest.param(Offsets(1_000, 0, 30), OffsetReset.EARLIEST, "1000 is beyond the end 30", id="beyond the end"),
        pytest.param(Offsets(None, 0, 30), OffsetReset.ERROR, "KAFKA_AUTO_OFFSET_RESET=error", id="error, no offset"),
        pytest.param(Offsets(5, 20, 30), OffsetReset.ERROR, "KAFKA_AUTO_OFFSET_RESET=error", id="error, deleted"),
    ],
)
def test_an_offset_from_which_nobody_can_go_on_is_a_finding(offsets: Offsets, reset: OffsetReset, words: str) -> None:
    [(verdict, what)] = lag(offsets, reset=reset)
    assert verdict is Verdict.FINDING
    assert what.startswith("t [0]: ")
    assert words in what


def test_each_topic_has_a_line_of_its_own() -> None:
    offsets = {TopicPartition(topic, 0): Offsets(0, 0, 1) for topic in ("b", "a")}
    assert [result.what.partition(":")[0] for result in judge_lag(offsets, OffsetReset.EARLIEST)] == ["a", "b"]


def test_without_a_topic_there_is_no_lag() -> None:
    [result] = judge_lag({}, OffsetReset.EARLIEST)
    assert result.verdict is Verdict.SKIPPED
