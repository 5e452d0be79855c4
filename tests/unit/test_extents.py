from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from worker.core.records import TopicPartition
from worker.errors import SettingsError
from worker.extents import Extent, RangeOptions, find_extents, wanted_of
from worker.moments import moment_ms

TOPIC = "delivery-dreamdata"
A, B = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
JUNE = moment_ms("2026-06-01")
NOW = moment_ms("2026-06-20")
DAY = 86_400_000


@dataclass(slots=True)
class Cluster:
    """Partition 0 has a record a day from the first of June on, ten of them; its log begins at `start`. Partition 1
    has none, or (`both`) as many.
    """

    start: int = 0
    end: int = 10
    both: bool = False
    topics: dict[str, int] = field(default_factory=lambda: {TOPIC: 2, "delivery-other": 1})

    def partitions(self) -> dict[str, int]:
        return self.topics

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.start if tp == A else 0 for tp in partitions}

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.end if self.both or tp == A else 0 for tp in partitions}

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]:
        kept = [(offset, JUNE + offset * DAY) for offset in range(self.start, 10)]
        found = next((each for each in kept if each[1] >= epoch_ms), None)
        return {tp: found for tp in partitions if (self.both or tp == A) and found is not None}


def found(cluster: Cluster | None = None, topics: tuple[str, ...] = (TOPIC,), **options: Any) -> Extent:
    given = RangeOptions(**options)
    return find_extents(cluster or Cluster(), topics, wanted_of(given, NOW))[A]


def refused(cluster: Cluster | None = None, topics: tuple[str, ...] = (TOPIC,), **options: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        found(cluster, topics, **options)
    return raised.value.problems


def test_from_is_inclusive_and_to_exclusive() -> None:
    assert found(from_time="2026-06-03", to_time="2026-06-05") == Extent(2, 4)


def test_to_is_the_end_where_nothing_else_is_said_or_no_record_is_as_young() -> None:
    assert found(from_time="2026-06-03") == found(from_time="2026-06-03", to_time="2026-06-19") == Extent(2, 10)


def test_a_transaction_still_open_is_not_part_of_a_range() -> None:
    assert found(Cluster(end=6), from_time="2026-06-03", to_time="2026-06-09") == Extent(2, 6)


def test_the_beginning_is_what_is_kept() -> None:
    assert found(Cluster(start=4), from_time="beginning") == Extent(4, 10)


@pytest.mark.parametrize(
    ("begin", "end", "extent"),
    [
        pytest.param(("0:3",), (), Extent(3, 10), id="by partition"),
        pytest.param(("3", "1:0"), ("0:7", "1:0"), Extent(3, 7), id="for all, and an exception"),
        pytest.param(("1:0", "0:9"), (), Extent(9, 10), id="in any order"),
    ],
)
def test_offsets_are_by_partition_or_for_all_others(
    begin: tuple[str, ...], end: tuple[str, ...], extent: Extent
) -> None:
    assert found(Cluster(both=True), from_offsets=begin, to_offsets=end) == extent


def test_where_offsets_are_named_for_some_partitions_the_others_are_left_out() -> None:
    extents = find_extents(Cluster(), [TOPIC], wanted_of(RangeOptions(from_offsets=("0:3",)), NOW))

    assert (extents[A].offsets, extents[B].offsets) == (7, 0)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"from_offsets": ("0:3",), "to_time": "2026-06-08"}, id="the beginning by offset"),
        pytest.param({"from_time": "2026-06-04", "to_offsets": ("0:7",)}, id="the end by offset"),
        pytest.param({"from_offsets": ("3",), "to_offsets": ("0:7",)}, id="a beginning for all"),
        pytest.param({"from_offsets": ("0:3",), "to_offsets": ("7",)}, id="an end for all"),
    ],
)
def test_partitions_left_out_by_one_side_are_left_out_whatever_the_other_says(options: dict[str, Any]) -> None:
    extents = find_extents(Cluster(both=True), [TOPIC], wanted_of(RangeOptions(**options), NOW))

    assert (extents[A], extents[B].offsets) == (Extent(3, 7), 0)


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        pytest.param(("0:3",), ("1:5",), ["--from-offset: partition 0", "--to-offset: partition 1"], id="one each"),
        pytest.param(("0:3",), ("0:7", "1:5"), ["--to-offset: partition 1"], id="an end without a beginning"),
        pytest.param(("0:3", "1:3"), ("0:7",), ["--from-offset: partition 1"], id="a beginning without an end"),
        pytest.param(("0:3",), ("7", "1:5"), ["--to-offset: partition 1"], id="though there is an end for all"),
        pytest.param(("3", "1:3"), ("0:7",), ["--from-offset: partition 1"], id="though there is a beginning for all"),
    ],
)
def test_a_partition_named_by_one_side_and_left_out_by_the_other_is_refused(
    begin: tuple[str, ...], end: tuple[str, ...], said: list[str]
) -> None:
    problems = refused(Cluster(both=True), from_offsets=begin, to_offsets=end)

    assert [problem.partition(" is named here")[0] for problem in problems] == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({}, "--from or --from-offset", id="no beginning"),
        pytest.param({"from_time": "2026-06-03", "from_offsets": ("3",)}, "only one of them", id="two beginnings"),
        pytest.param({"from_time": "x", "to_time": "y"}, "--to: 'y' is no moment", id="no moment"),
        pytest.param({"from_time": "2026-06-05", "to_time": "2026-06-03"}, "is not before", id="reversed"),
        pytest.param({"from_time": "2026-06-05", "to_time": "2026-06-05"}, "is not before", id="nothing at all"),
        pytest.param({"from_time": "2026-06-05", "to_time": "2026-06-21"}, "still to come", id="in the future"),
        pytest.param({"from_offsets": ("-3",)}, "is no offset", id="no offset"),
        pytest.param({"from_offsets": ("x:3",)}, "is no offset", id="no partition"),
        pytest.param({"from_offsets": ("0:3", "0:4")}, "partition 0 twice", id="twice"),
        pytest.param({"from_offsets": ("7:3",)}, "there is no partition 7, only 0 to 1", id="unknown partition"),
        pytest.param({"from_offsets": ("0:11",)}, "11 is beyond the end", id="beyond the end"),
        pytest.param({"from_offsets": ("0:3",), "to_offsets": ("0:11",)}, "--to-offset: 11 is beyond", id="end beyond"),
        pytest.param({"from_offsets": ("0:5",), "to_offsets": ("0:3",)}, "before it begins", id="reversed offsets"),
        pytest.param(
            {"from_time": "2026-06-15"},
            "empty: nothing lies in it of what is kept; delivery-dreamdata[0] holds [0, 10)",
            id="empty",
        ),
    ],
)
def test_a_bad_range_is_refused_with_its_option(options: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in refused(**options)), refused(**options)


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(refused(from_time="x", to_time="y", from_offsets=("z",))) == 4


def test_what_is_deleted_already_is_refused_by_offset_and_by_time() -> None:
    cluster = Cluster(start=4)

    assert "deleted already" in refused(cluster, from_offsets=("0:3",))[0]
    assert "offset 4 (2026-06-05T00:00:00Z)" in refused(cluster, from_time="2026-06-04")[0]
    assert found(cluster, from_time="2026-06-05") == Extent(4, 10)


def test_a_topic_that_is_not_there_is_named() -> None:
    assert refused(topics=("delivery-nowhere",), from_time="2026-06-03") == [
        "--topic: there is no topic delivery-nowhere (or this user may not see it)"
    ]


def test_offsets_of_several_topics_are_refused() -> None:
    assert "offsets are those of one topic" in refused(topics=(TOPIC, "delivery-other"), from_offsets=("3",))[0]
