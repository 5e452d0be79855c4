"""From an assignment to the first record: where to start, what is known of visitors there, then reading. Nothing is
decided about records, and no partition is given away in here.

On the loop's thread. What is found out for an assignment that is over is dropped: a partition may have come back since,
under another epoch.
"""

from collections.abc import Collection
from typing import Protocol

from worker.core.lanes import Lane
from worker.core.pipeline import Pipeline
from worker.core.records import TopicPartition
from worker.errors import KafkaStoppedError
from worker.identity_log import LogDoubted, OfVisitors, Restored, Restoring, VisitorForgotten, Visitors
from worker.kafka import Consumer
from worker.reporter import Reporter
from worker.scout import Place, Scout


class VisitorSource(Protocol):
    """Reads what is known of the visitors of partitions that are to start, and says so as `OfVisitors`. For the loop's
    thread; all but the last return at once.
    """

    def restore(self, places: Collection[Place]) -> None: ...

    def drop(self, partitions: Collection[TopicPartition]) -> None: ...

    def close(self) -> None: ...


class Starting:
    def __init__(
        self, pipeline: Pipeline, reporter: Reporter, consumer: Consumer, scout: Scout, visitors: VisitorSource
    ) -> None:
        self._pipeline = pipeline
        self._reporter = reporter
        self._consumer = consumer
        self._scout = scout
        self._visitors = visitors
        self._out_of_range: set[TopicPartition] = set()

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """They are ours: asks where each is to start."""
        self._assigned(partitions, from_beginning=False)

    def begin_anew(self, partitions: Collection[TopicPartition]) -> None:
        """They are ours still, their records are others: nothing is read until the beginning is found."""
        self._consumer.pause(partitions)
        self._assigned(partitions, from_beginning=True)

    def _assigned(self, partitions: Collection[TopicPartition], *, from_beginning: bool) -> None:
        self._pipeline.assigned(partitions)
        self._scout.follow(self._pipeline.lanes)
        for tp in partitions:
            self._scout.locate(tp, self._pipeline.lanes[tp].epoch, from_beginning=from_beginning)
        self._reporter.assigned(partitions)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """They are given away."""
        self._pipeline.revoked(partitions)
        self._visitors.drop(partitions)
        self._scout.follow(self._pipeline.lanes)
        self._reporter.revoked(partitions)

    def out_of_range(self, tp: TopicPartition) -> None:
        """What was to be read next is gone. Asked for after the chunk that this came with (`locate_anew`): what it has
        read of the partition moves the position.
        """
        self._out_of_range.add(tp)

    def locate_anew(self) -> None:
        for tp in self._out_of_range:
            lane = self._pipeline.lanes.get(tp)
            if lane is not None and not lane.read_out:
                self._scout.locate(tp, lane.epoch, lane.position)
        self._out_of_range.clear()

    def located(self, places: Collection[Place]) -> None:
        """Those whose log was cut go on at once; of new ones the visitors are read first, as of where they start.

        One whose end comes first is not read at all. Raises KafkaStoppedError where there is no offset to start at.
        """
        new: list[Place] = []
        offsets: dict[TopicPartition, int] = {}
        for place in places:
            lane = self._waiting(place)
            if lane is None or (lane.restored and lane.position != place.asked_at):
                continue
            if place.start.refused:
                raise KafkaStoppedError(f"{place.tp}: {place.start.refused}")
            if not lane.restored:
                new.append(place)
                continue
            lane.seal_open()
            lane.position = place.start.offset
            lane.lose(place.start.lost)
            if not lane.read_out:
                offsets[place.tp] = place.start.offset
            self._reporter.started(place.tp, place.start)
        self._visitors.restore(new)
        self._consumer.start(offsets)

    def of_visitors(self, fact: OfVisitors) -> None:
        match fact:
            case Restored(visitors):
                self._restored(visitors)
            case Restoring(partitions, progress, refused):
                for tp in partitions:
                    self._pipeline.restoring(tp, progress, refused=refused)
                self._reporter.restoring(progress, refused=refused)
            case LogDoubted(doubts):
                self._reporter.own_topics_doubted(doubts)
            case VisitorForgotten(tp, visitor, until):
                self._pipeline.forgotten(tp, visitor, until)
                self._reporter.visitor_forgotten(tp)

    def _restored(self, found: Collection[Visitors]) -> None:
        """All of them together: the consumer's assignment changes in one step."""
        offsets: dict[TopicPartition, int] = {}
        for each in found:
            tp, start = each.place.tp, each.place.start
            lane = self._waiting(each.place)
            if lane is None or lane.restored:
                continue
            known = each.restoration.known
            self._pipeline.restored(tp, start.offset, start.committed, known, each.topic_id, start.stretch)
            lane.lose(start.lost)
            if not lane.read_out:
                offsets[tp] = start.offset
            self._reporter.restored(tp, each.restoration, each.unreadable)
            self._reporter.started(tp, start)
        # of those that begin anew
        self._consumer.resume(offsets)
        self._consumer.start(offsets)

    def _waiting(self, place: Place) -> Lane | None:
        """The lane this was found out for; None where the partition was given away since."""
        lane = self._pipeline.lanes.get(place.tp)
        return lane if lane is not None and lane.epoch == place.epoch else None
