from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from worker.core.records import TopicPartition
from worker.core.stretches import Asked, Stretch
from worker.errors import GroupBusyError, SettingsError
from worker.extents import Extent, RangeOptions
from worker.finish import Standing
from worker.replay.runs import (
    Replay,
    asked_for,
    begin_replay,
    check_same,
    extents_for,
    find_replay,
    group_of,
    in_words,
    name_of,
)
from worker.topics import TopicNames

LIVE = "dreamdata-worker"
GROUP = "dreamdata-worker.replay.june"
A, B = TopicPartition("delivery-dreamdata", 0), TopicPartition("delivery-dreamdata", 1)
ASKED: Asked = {"from": "2026-06-01"}
NAMES = TopicNames(("^delivery-",), LIVE, dead_letter="{topic}.dead-letters", identity="{group}.{topic}.identity")


@dataclass(frozen=True, slots=True)
class Committed:
    offset: int | None
    metadata: str


@dataclass(slots=True)
class Cluster:
    """Ten records in each of two partitions; what is committed is found again, unless others have `joined`."""

    stored: dict[TopicPartition, tuple[int, str]] = field(default_factory=dict)
    joined: dict[TopicPartition, tuple[int, str]] | None = None
    topics: dict[str, int] = field(default_factory=lambda: {"delivery-dreamdata": 2, "__consumer_offsets": 50})

    def partitions(self) -> dict[str, int]:
        return self.topics

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]:
        return dict.fromkeys(partitions, (4, epoch_ms))

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        assert group == GROUP
        assert not any(tp.topic.startswith("__") for tp in partitions)
        return {tp: Committed(*self.stored.get(tp, (None, ""))) for tp in partitions}

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        assert group == GROUP
        if self.joined is not None:
            self.stored = self.joined
            raise GroupBusyError("Unknown member")
        self.stored = dict(offsets)


@pytest.mark.parametrize("name", ["", "a b", "june/7", "x" * 65, "jüni"])
def test_a_name_that_no_group_can_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="--name"):
        group_of(LIVE, name)


def test_a_replay_s_group_has_its_name_and_gives_it_back() -> None:
    assert group_of(LIVE, "june") == GROUP
    assert [name_of(LIVE, group) for group in (GROUP, LIVE, "other.replay.june")] == ["june", None, None]


def test_a_replay_is_found_as_it_was_begun() -> None:
    cluster = Cluster()
    begun = begin_replay(cluster, LIVE, "june", ASKED, {A: Extent(3, 9), B: Extent(5, 5)})

    assert begun == find_replay(cluster, LIVE, "june")
    assert begun == Replay("june", GROUP, ASKED, {A: Standing(Stretch(3, 9, ASKED), 3)})


def test_what_nobody_has_begun_is_not_found() -> None:
    assert find_replay(Cluster(), LIVE, "june") is None


def test_offsets_that_are_no_replay_s_are_none() -> None:
    assert find_replay(Cluster({A: (3, "moved by hand")}), LIVE, "june") is None


def test_where_another_process_was_quicker_its_range_counts() -> None:
    cluster = Cluster(joined={A: (6, Stretch(3, 8, ASKED).text())})

    assert begin_replay(cluster, LIVE, "june", ASKED, {A: Extent(3, 9)}).standings == {
        A: Standing(Stretch(3, 8, ASKED), 6)
    }


def test_where_another_process_was_quicker_with_another_range_that_is_said() -> None:
    cluster = Cluster(joined={A: (6, Stretch(3, 8, {"from": "2026-05-01"}).text())})

    with pytest.raises(SettingsError, match="june has the range --from 2026-05-01, not --from 2026-06-01"):
        begin_replay(cluster, LIVE, "june", ASKED, {A: Extent(3, 9)})


def test_where_somebody_else_has_the_group_another_name_is_wanted() -> None:
    with pytest.raises(SettingsError, match="no replay's"):
        begin_replay(Cluster(joined={}), LIVE, "june", ASKED, {A: Extent(3, 9)})


def test_the_same_range_or_none_goes_on_and_another_is_refused() -> None:
    replay = Replay("june", GROUP, ASKED, {})

    check_same(replay, dict(ASKED))
    check_same(replay, {})
    with pytest.raises(SettingsError, match="replay drop june"):
        check_same(replay, {**ASKED, "event": ["page"]})


def test_only_what_was_given_is_kept_and_read_back_as_options() -> None:
    options = RangeOptions(topic="delivery-a", from_offsets=("0:3", "7"))

    asked = asked_for(options, ["page", "Lead Generated", "page"])

    assert asked == {"topic": "delivery-a", "from-offset": ["0:3", "7"], "event": ["Lead Generated", "page"]}
    assert in_words(asked) == (
        "--topic delivery-a --from-offset 0:3 --from-offset 7 --event 'Lead Generated' --event page"
    )
    assert asked_for(RangeOptions(), ()) == {}


def test_more_names_than_a_commit_can_keep_are_refused() -> None:
    with pytest.raises(SettingsError, match="--event"):
        asked_for(RangeOptions(from_time="2026-06-01"), [f"Event Number {number}" for number in range(300)])


def test_without_a_topic_all_that_the_settings_mean_is_in_the_range() -> None:
    cluster = Cluster(topics={"delivery-a": 1, "delivery-b": 1, "delivery-a.dead-letters": 1, "orders": 1})

    extents = extents_for(cluster, NAMES, RangeOptions(from_time="2026-06-01"), 2**62)

    assert {tp.topic for tp in extents} == {"delivery-a", "delivery-b"}


def test_the_worker_s_own_topics_are_not_replayed() -> None:
    with pytest.raises(SettingsError, match="the worker's own"):
        extents_for(Cluster(), NAMES, RangeOptions(topic="a.dead-letters", from_time="2026-06-01"), 2**62)


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no topic matches \^delivery-"):
        extents_for(Cluster(topics={}), NAMES, RangeOptions(from_time="2026-06-01"), 2**62)
