"""The scout runs a thread of its own: these tests wait for what it reports, and wake it by asking it something."""

import queue
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from worker.core.records import TopicPartition
from worker.core.start_offsets import OffsetReset
from worker.errors import KafkaUnavailableError, TopicRefusedError
from worker.planners import LivePlanner
from worker.scout import (
    ENDS_INTERVAL_SECONDS,
    TOPICS_INTERVAL_SECONDS,
    EndsSeen,
    Finding,
    KafkaUnreachable,
    Located,
    OwnTopicsSeen,
    Place,
    Scout,
    TopicsMadeAnew,
    TopicsSeen,
)
from worker.topics import TopicNames

PATIENCE_SECONDS = 5.0
GROUP = "dreamdata-worker"
A, B = TopicPartition("delivery-a", 0), TopicPartition("delivery-b", 0)
NOBODYS = TopicPartition("nobodys", 0)

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Offsets:
    committed: int | None = 5
    earliest: int = 0
    latest: int = 10
    metadata: str = ""


@dataclass(slots=True)
class Cluster:
    """A cluster that says what the test set, once `open` is set."""

    topics: dict[str, int] = field(default_factory=lambda: {"delivery-a": 1, "delivery-b": 1})
    known: dict[TopicPartition, Offsets] = field(default_factory=lambda: {A: Offsets(), B: Offsets()})
    ids: dict[str, str] = field(default_factory=lambda: {"delivery-a": "id-a", "delivery-b": "id-b"})
    down: bool = False
    refused: set[str] = field(default_factory=set)
    open: threading.Event = field(default_factory=threading.Event)
    asked: list[list[TopicPartition]] = field(default_factory=list)
    made: list[tuple[str, str]] = field(default_factory=list)

    def _answer(self) -> None:
        assert self.open.wait(PATIENCE_SECONDS)
        if self.down:
            raise KafkaUnavailableError("no broker answers")

    def partitions(self) -> dict[str, int]:
        self._answer()
        return dict(self.topics)

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        self._answer()
        return {tp: self.known[tp].latest for tp in partitions if tp in self.known}

    def make_dead_letter_topic(self, source: str, name: str) -> None:
        self._answer()
        self.made.append((source, name))
        if source in self.refused:
            raise TopicRefusedError(f"{name}: no right to make it")

    def doubts(self, source: str, dead_letter_topic: str) -> list[str]:
        self._answer()
        return [f"{dead_letter_topic} keeps its records for an hour"]

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        self._answer()
        return {topic: self.ids[topic] for topic in topics if topic in self.ids}

    def offsets(self, group: str, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Offsets]:
        self._answer()
        assert group == GROUP
        self.asked.append(list(partitions))
        return {tp: self.known[tp] for tp in partitions if tp in self.known}


class Rig:
    """A scout on a clock set by hand. Its thread waits in its first question until `cluster.open` is set."""

    def __init__(
        self, wanted: tuple[str, ...], reset: OffsetReset, *, dead_letter: str = "{topic}.dead-letters"
    ) -> None:
        self.now = 0.0
        self.cluster = Cluster()
        self.found: queue.SimpleQueue[Finding] = queue.SimpleQueue()
        names = TopicNames(wanted, GROUP, dead_letter=dead_letter, identity="{group}.{topic}.identity")
        self.scout = Scout(self.cluster, names, GROUP, LivePlanner(reset), self.found.put, lambda: self.now)

    def wake(self) -> None:
        """Makes it go round at once: a question about a partition that nobody follows is dropped."""
        self.scout.locate(NOBODYS, 0)

    def next(self, kind: type[F]) -> F:
        """The next finding of this kind; the others before it are dropped."""
        while True:
            finding = self.found.get(timeout=PATIENCE_SECONDS)
            if isinstance(finding, kind):
                return finding

    def rounds(self, count: int = 1) -> list[Finding]:
        """What it found by the time it has gone round so often more, ends and all; each takes it five seconds on."""
        findings: list[Finding] = []
        for _ in range(count + 1):
            self.now += ENDS_INTERVAL_SECONDS
            self.wake()
            while True:
                findings.append(self.found.get(timeout=PATIENCE_SECONDS))
                if isinstance(findings[-1], EndsSeen):
                    break
        return findings


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Reads topics a and b from their beginning; a parameter `(wanted, reset)` changes that."""
    made = Rig(*getattr(request, "param", (("delivery-a", "delivery-b"), OffsetReset.EARLIEST)))
    yield made
    made.cluster.open.set()
    made.scout.close(PATIENCE_SECONDS)


def reading(topics: str, reset: OffsetReset = OffsetReset.EARLIEST) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rig", [(tuple(topics.split(",")), reset)], indirect=True, ids=[topics])


def test_a_partition_starts_at_what_the_group_has_committed(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.scout.follow([A])
    rig.scout.locate(A, 7)
    place = rig.next(Located).places[0]
    assert (place.tp, place.epoch, place.start.offset, place.start.committed) == (A, 7, 5, 5)


def test_all_places_of_one_look_come_together(rig: Rig) -> None:
    rig.scout.follow([A, B])
    rig.scout.locate(A, 1)
    rig.scout.locate(B, 1)
    rig.cluster.open.set()
    assert {place.tp for place in rig.next(Located).places} == {A, B}


def test_a_partition_is_asked_for_once_and_the_newest_question_wins(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    rig.scout.locate(A, 2, position=8)
    rig.cluster.open.set()
    (place,) = rig.next(Located).places
    assert (place.epoch, place.asked_at, place.start.offset) == (2, 8, 8)
    assert rig.cluster.asked == [[A]]


def test_a_newer_question_takes_the_place_of_one_still_unanswered(rig: Rig) -> None:
    del rig.cluster.known[A]
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    rig.cluster.open.set()
    rig.rounds()
    rig.scout.locate(A, 2)
    rig.cluster.known[A] = Offsets()
    rig.wake()
    while not (places := rig.next(Located).places):
        continue
    assert [place.epoch for place in places] == [2]


def test_a_position_counts_as_committed(rig: Rig) -> None:
    rig.cluster.known[A] = Offsets(committed=5, earliest=8, latest=10)
    rig.scout.follow([A])
    rig.scout.locate(A, 1, position=2)
    rig.cluster.open.set()
    start = rig.next(Located).places[0].start
    assert (start.offset, start.lost) == (8, 6)


def test_one_without_an_answer_is_asked_for_again_while_the_other_is_reported(rig: Rig) -> None:
    del rig.cluster.known[B]
    rig.scout.follow([A, B])
    rig.scout.locate(A, 1)
    rig.scout.locate(B, 1)
    rig.cluster.open.set()
    assert [place.tp for place in rig.next(Located).places] == [A]
    rig.cluster.known[B] = Offsets(committed=3)
    rig.rounds()
    assert rig.cluster.asked[-1] == [B]


def test_one_with_an_answer_is_not_asked_for_again(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    rig.next(Located)
    rig.rounds(2)
    assert rig.cluster.asked == [[A]]


def test_what_is_no_longer_followed_is_dropped(rig: Rig) -> None:
    rig.scout.follow([A, B])
    rig.scout.locate(A, 1)
    rig.scout.locate(B, 1)
    rig.scout.follow([B])
    rig.cluster.open.set()
    rig.rounds(2)
    assert rig.cluster.asked == [[B]]


def test_a_cluster_that_cannot_be_reached_is_reported(rig: Rig) -> None:
    rig.cluster.down = True
    rig.cluster.open.set()
    assert rig.next(KafkaUnreachable).detail == "no broker answers"


def test_after_an_outage_it_answers_what_was_asked_before(rig: Rig) -> None:
    rig.cluster.down = True
    rig.scout.follow([A])
    rig.scout.locate(A, 4)
    rig.cluster.open.set()
    rig.next(KafkaUnreachable)
    rig.cluster.down = False
    rig.wake()
    assert rig.next(Located).places[0].epoch == 4


@reading("delivery-a", OffsetReset.LATEST)
def test_a_partition_that_was_there_from_the_start_follows_the_setting(rig: Rig) -> None:
    rig.cluster.known[A] = Offsets(committed=None)
    rig.cluster.open.set()
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    assert rig.next(Located).places[0].start.offset == 10


@pytest.mark.parametrize(
    "late", [pytest.param(TopicPartition("delivery-a", 1), id="partition"), pytest.param(B, id="topic")]
)
@reading("delivery-a,delivery-b", OffsetReset.LATEST)
def test_what_is_first_seen_while_running_is_read_from_its_beginning(rig: Rig, late: TopicPartition) -> None:
    rig.cluster.topics = {"delivery-a": 1}
    rig.cluster.open.set()
    rig.next(TopicsSeen)
    rig.cluster.topics = {"delivery-a": 2, "delivery-b": 1}
    rig.now = TOPICS_INTERVAL_SECONDS
    rig.wake()
    rig.next(TopicsSeen)
    rig.cluster.known[late] = Offsets(committed=None, earliest=2)
    rig.scout.follow([late])
    rig.scout.locate(late, 1)
    assert rig.next(Located).places[0].start.offset == 2


@reading("delivery-a", OffsetReset.ERROR)
def test_the_reason_to_stop_reaches_the_loop(rig: Rig) -> None:
    rig.cluster.known[A] = Offsets(committed=12)
    rig.cluster.open.set()
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    assert "beyond the end 10" in rig.next(Located).places[0].start.refused


@reading("delivery-a,delivery-c,delivery-d")
def test_listed_topics_that_do_not_exist_are_named(rig: Rig) -> None:
    rig.cluster.open.set()
    assert rig.next(TopicsSeen) == TopicsSeen(("delivery-a", "delivery-c", "delivery-d"), ("delivery-c", "delivery-d"))


@reading("^delivery-.*")
def test_a_pattern_gives_what_matches_but_the_workers_own(rig: Rig) -> None:
    rig.cluster.topics |= {"delivery-a.dead-letters": 1, "dreamdata-worker.delivery-a.identity": 1, "orders": 1}
    rig.cluster.open.set()
    assert rig.next(TopicsSeen) == TopicsSeen(("delivery-a", "delivery-b"), ())


@reading("^events-.*")
def test_a_pattern_that_matches_nothing_is_missing_itself(rig: Rig) -> None:
    rig.cluster.open.set()
    assert rig.next(TopicsSeen) == TopicsSeen((), ("^events-.*",))


@reading("^delivery-.*")
def test_topics_are_looked_for_every_half_minute(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.next(EndsSeen)
    rig.cluster.topics["delivery-c"] = 1
    rig.now = TOPICS_INTERVAL_SECONDS - ENDS_INTERVAL_SECONDS - 0.1
    early = rig.rounds(0)
    later = rig.rounds(0)
    assert [finding for finding in early if isinstance(finding, TopicsSeen)] == []
    assert TopicsSeen(("delivery-a", "delivery-b", "delivery-c"), ()) in later


def test_a_topic_made_again_under_its_name_is_reported_once(rig: Rig) -> None:
    rig.scout.follow([A, B])
    rig.cluster.open.set()
    rig.rounds()
    rig.cluster.ids["delivery-b"] = "id-b-again"
    findings = rig.rounds(2)
    assert [each for each in findings if isinstance(each, TopicsMadeAnew)] == [TopicsMadeAnew(("delivery-b",))]


def test_a_topic_that_is_missing_for_a_while_is_remembered_by_its_old_id(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.cluster.open.set()
    rig.rounds()
    del rig.cluster.ids["delivery-a"]
    rig.rounds()
    rig.cluster.ids["delivery-a"] = "id-a-again"
    assert TopicsMadeAnew(("delivery-a",)) in rig.rounds()


def test_a_topic_made_again_while_nobody_read_it_is_like_any_other(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.cluster.open.set()
    rig.rounds()
    rig.scout.follow([B])
    rig.rounds()
    rig.cluster.ids["delivery-a"] = "id-a-again"
    rig.scout.follow([A, B])
    assert not [each for each in rig.rounds() if isinstance(each, TopicsMadeAnew)]


def test_a_topic_made_again_is_noticed_before_an_offset_in_it_is_looked_up(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    rig.cluster.open.set()
    rig.next(Located)
    rig.cluster.ids["delivery-a"] = "id-a-again"
    rig.scout.locate(A, 1, position=3)
    found: list[Finding] = []
    while not found or not isinstance(found[-1], Located):
        found.append(rig.found.get(timeout=PATIENCE_SECONDS))
    assert TopicsMadeAnew(("delivery-a",)) in found


def test_from_the_beginning_is_from_there_whatever_is_committed_and_set(rig: Rig) -> None:
    rig.cluster.known[A] = Offsets(committed=5, earliest=2)
    rig.scout.follow([A])
    rig.scout.locate(A, 1, from_beginning=True)
    rig.cluster.open.set()
    start = rig.next(Located).places[0].start
    assert (start.offset, start.committed) == (2, None)


def test_ends_are_those_of_what_is_followed(rig: Rig) -> None:
    rig.scout.follow([B])
    rig.cluster.open.set()
    assert rig.next(EndsSeen).ends == {B: 10}


def test_ends_are_asked_for_every_five_seconds(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.next(EndsSeen)
    rig.now = ENDS_INTERVAL_SECONDS - 0.1
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    assert isinstance(rig.found.get(timeout=PATIENCE_SECONDS), Located)
    rig.now = ENDS_INTERVAL_SECONDS
    rig.wake()
    assert rig.next(EndsSeen).ends == {A: 10}


def test_own_topics_are_made_for_what_is_read_and_once(rig: Rig) -> None:
    rig.scout.follow([A, B])
    rig.cluster.open.set()
    rig.next(OwnTopicsSeen)
    assert not [finding for finding in rig.rounds(9) if isinstance(finding, OwnTopicsSeen)]
    assert rig.cluster.made == [
        ("delivery-a", "delivery-a.dead-letters"),
        ("delivery-b", "delivery-b.dead-letters"),
    ]


def test_doubts_about_own_topics_are_reported(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.cluster.open.set()
    assert rig.next(OwnTopicsSeen) == OwnTopicsSeen((), ("delivery-a.dead-letters keeps its records for an hour",))


def test_what_a_redrive_reads_are_dead_letters_themselves_and_need_none() -> None:
    redriving = Rig(("delivery-a",), OffsetReset.EARLIEST, dead_letter="{topic}")
    redriving.scout.follow([A])
    redriving.cluster.open.set()
    assert not [finding for finding in redriving.rounds(2) if isinstance(finding, OwnTopicsSeen)]
    assert redriving.cluster.made == []
    redriving.scout.close(PATIENCE_SECONDS)


def test_before_anything_is_read_no_topic_is_made(rig: Rig) -> None:
    rig.cluster.open.set()
    assert not [finding for finding in rig.rounds(2) if isinstance(finding, OwnTopicsSeen)]
    assert rig.cluster.made == []


def test_a_refused_own_topic_is_named_and_the_others_are_made(rig: Rig) -> None:
    rig.cluster.refused = {"delivery-a"}
    rig.scout.follow([A, B])
    rig.cluster.open.set()
    assert rig.next(OwnTopicsSeen).refused == ("delivery-a.dead-letters: no right to make it",)
    assert [source for source, _ in rig.cluster.made] == ["delivery-a", "delivery-b"]


def test_a_refused_own_topic_is_tried_again_after_half_a_minute_and_not_before(rig: Rig) -> None:
    rig.cluster.refused = {"delivery-a"}
    rig.scout.follow([A])
    rig.cluster.open.set()
    rig.next(OwnTopicsSeen)
    rig.cluster.refused = set()
    assert not [finding for finding in rig.rounds(4) if isinstance(finding, OwnTopicsSeen)]
    mended = [finding for finding in rig.rounds(1) if isinstance(finding, OwnTopicsSeen)]
    assert [finding.refused for finding in mended] == [()]
    assert [source for source, _ in rig.cluster.made] == ["delivery-a", "delivery-a"]


def test_what_was_refused_is_forgotten_when_its_topic_is_no_longer_read(rig: Rig) -> None:
    rig.cluster.refused = {"delivery-a"}
    rig.scout.follow([A, B])
    rig.cluster.open.set()
    rig.next(OwnTopicsSeen)
    rig.scout.follow([B])
    rig.wake()
    assert rig.next(OwnTopicsSeen) == OwnTopicsSeen((), ())


def test_an_own_topic_that_could_not_be_made_for_an_outage_is_made_later(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.next(EndsSeen)
    rig.cluster.down = True
    rig.scout.follow([A])
    rig.wake()
    rig.next(KafkaUnreachable)
    rig.cluster.down = False
    rig.now += TOPICS_INTERVAL_SECONDS
    rig.wake()
    assert rig.next(OwnTopicsSeen).refused == ()


def test_a_closed_scout_asks_nothing_more(rig: Rig) -> None:
    rig.cluster.open.set()
    rig.next(EndsSeen)
    rig.scout.close(PATIENCE_SECONDS)
    rig.scout.follow([A])
    rig.scout.locate(A, 1)
    assert rig.cluster.asked == []
    assert rig.found.empty()


def test_a_place_carries_what_it_was_asked_for(rig: Rig) -> None:
    rig.scout.follow([A])
    rig.scout.locate(A, 3, position=5)
    rig.cluster.open.set()
    place = rig.next(Located).places[0]
    assert place == Place(A, 3, place.start, 5)
