"""Asks the cluster, on a thread of its own, what the loop must not wait for: start offsets, ends, topics. Decides
nothing but when to ask.
"""

import queue
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.core.records import TopicPartition
from worker.core.start_offsets import Start
from worker.errors import KafkaUnavailableError, TopicRefusedError
from worker.planners import OffsetsLike, Planner
from worker.topics import TopicNames

ENDS_INTERVAL_SECONDS = 5.0
TOPICS_INTERVAL_SECONDS = 30.0
RETRY_SECONDS = 1.0


class ClusterLike(Protocol):
    """Blocking questions; each raises KafkaUnavailableError."""

    def partitions(self) -> dict[str, int]: ...

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...

    def make_dead_letter_topic(self, source: str, name: str) -> None:
        """Raises TopicRefusedError as well."""

    def doubts(self, source: str, dead_letter_topic: str) -> list[str]: ...

    def offsets(self, group: str, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, OffsetsLike]: ...

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Without topics that are not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to start reading a partition, for the assignment of this epoch; `asked_at` is the position it was asked
    from.
    """

    tp: TopicPartition
    epoch: int
    start: Start
    asked_at: int | None


@dataclass(frozen=True, slots=True)
class Located:
    """All places found by one look: to be started together."""

    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class TopicsSeen:
    """What to subscribe to, by now, and what of it does not exist: a pattern that matches nothing counts as one."""

    topics: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndsSeen:
    ends: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class TopicsMadeAnew:
    """Deleted and made again while they were read: their offsets tell of other records than before."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KafkaUnreachable:
    detail: str


@dataclass(frozen=True, slots=True)
class OwnTopicsSeen:
    """The worker's own topics, of all it reads: `refused` must be mended before a dead letter can be written."""

    refused: tuple[str, ...]
    doubts: tuple[str, ...]


Finding = Located | TopicsSeen | EndsSeen | OwnTopicsSeen | TopicsMadeAnew | KafkaUnreachable


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`position` None: ask the group; else it counts as committed (the log was cut while we were reading).
    `from_beginning`: what the group has committed is of a topic that is no more.
    """

    tp: TopicPartition
    epoch: int
    position: int | None = None
    from_beginning: bool = False


class Scout:
    """`report` is called from the scout's thread. The other methods are for the loop's thread and return at once."""

    def __init__(
        self,
        cluster: ClusterLike,
        names: TopicNames,
        group: str,
        planner: Planner,
        report: Callable[[Finding], None],
        clock: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._group = group
        self._planner = planner
        self._report = report
        self._clock = clock
        self._wanted: queue.SimpleQueue[_Wanted | None] = queue.SimpleQueue()
        self._followed: frozenset[TopicPartition] = frozenset()
        self._seen_at_start: dict[str, int] | None = None
        self._ids: dict[str, str] = {}
        self._prepared: set[str] = set()
        self._tried: set[str] = set()
        self._topics_at = self._ends_at = self._prepared_at = float("-inf")
        self._thread = threading.Thread(target=self._work, name="scout", daemon=True)
        self._thread.start()

    def locate(
        self, tp: TopicPartition, epoch: int, position: int | None = None, *, from_beginning: bool = False
    ) -> None:
        self._wanted.put(_Wanted(tp, epoch, position, from_beginning))

    def follow(self, partitions: Collection[TopicPartition]) -> None:
        """Whose ends to report from now on."""
        self._followed = frozenset(partitions)

    def close(self, timeout_seconds: float = 1.0) -> None:
        self._wanted.put(None)
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        # By partition, the newest question alone: one that was asked twice is refused as a whole.
        missing: dict[TopicPartition, _Wanted] = {}
        wanted: list[_Wanted] | None = []
        while wanted is not None:
            missing |= {item.tp: item for item in wanted}
            try:
                self._look_around()
                missing = {tp: item for tp, item in missing.items() if tp in self._followed}
                if missing:
                    for tp in self._locate(list(missing.values())):
                        del missing[tp]
                self._prepare()
            except KafkaUnavailableError as error:
                self._report(KafkaUnreachable(str(error)))
            wanted = self._next()

    def _next(self) -> list[_Wanted] | None:
        """What was asked for since, after a short wait; None at the end."""
        wanted: list[_Wanted] = []
        try:
            first = self._wanted.get(timeout=RETRY_SECONDS)
            while True:
                if first is None:
                    return None
                wanted.append(first)
                first = self._wanted.get_nowait()
        except queue.Empty:
            return wanted

    def _look_around(self) -> None:
        now = self._clock()
        if now - self._topics_at >= TOPICS_INTERVAL_SECONDS:
            existing = self._cluster.partitions()
            self._topics_at = now
            if self._seen_at_start is None:
                self._seen_at_start = existing
            topics = self._names.selected(existing)
            missing = [topic for topic in topics or self._names.wanted if topic not in existing]
            self._report(TopicsSeen(tuple(topics), tuple(missing)))
        if now - self._ends_at >= ENDS_INTERVAL_SECONDS:
            self._ends_at = now
            self._look_for_others()
            self._report(EndsSeen(self._cluster.ends(self._followed)))

    def _look_for_others(self) -> None:
        """Topics made again under their old names. Before an offset is looked up as well: of such a topic it may be
        beyond the end, or, worse, not.
        """
        topics = {tp.topic for tp in self._followed}
        found = self._cluster.topic_ids(topics) if topics else {}
        anew = [topic for topic, name in found.items() if self._ids.get(topic, name) != name]
        self._ids = {topic: name for topic, name in (self._ids | found).items() if topic in topics}
        if anew:
            self._report(TopicsMadeAnew(tuple(anew)))

    def _locate(self, wanted: list[_Wanted]) -> list[TopicPartition]:
        """Reports where to start, and returns for which partitions it could tell."""
        self._look_for_others()
        offsets = self._cluster.offsets(self._group, [item.tp for item in wanted])
        places: list[Place] = []
        for item in wanted:
            found = offsets.get(item.tp)
            if found is None:
                continue
            start = self._planner.start(
                found, item.position, anew=item.from_beginning, was_there=self._was_there(item.tp)
            )
            places.append(Place(item.tp, item.epoch, start, item.position))
        self._report(Located(tuple(places)))
        return [place.tp for place in places]

    def _prepare(self) -> None:
        """Makes and looks at the dead-letter topics of what is read; where one was refused, every half minute.

        It reports whenever other topics are read than before: what was refused for one that is gone no longer matters.
        """
        # a redrive reads dead-letter topics: they are their own, and there already
        topics = {tp.topic for tp in self._followed if self._names.dead_letter(tp.topic) != tp.topic}
        now = self._clock()
        settled = topics <= self._prepared or now - self._prepared_at < TOPICS_INTERVAL_SECONDS
        if topics == self._tried and settled:
            return
        self._tried, self._prepared_at = topics, now
        refused: list[str] = []
        doubts: list[str] = []
        for topic in sorted(topics - self._prepared):
            name = self._names.dead_letter(topic)
            try:
                self._cluster.make_dead_letter_topic(topic, name)
            except TopicRefusedError as error:
                refused.append(str(error))
                continue
            doubts += self._cluster.doubts(topic, name)
            self._prepared.add(topic)
        self._report(OwnTopicsSeen(tuple(refused), tuple(doubts)))

    def _was_there(self, tp: TopicPartition) -> bool:
        return self._seen_at_start is not None and tp.partition < self._seen_at_start.get(tp.topic, 0)
