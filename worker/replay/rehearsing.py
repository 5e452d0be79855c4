"""What a replay would do: each record of the range decided as it would be, nothing sent, nothing committed, no group
made. What was known of visitors before the range is left out: it changes payloads, not outcomes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from worker.assembly import selection_of, wall_ms
from worker.client_properties import consumer_properties
from worker.cluster import Cluster
from worker.core.mapping import Selection
from worker.core.pipeline import Pipeline
from worker.core.records import Record, TopicPartition
from worker.core.stretches import Stretch
from worker.extents import Extent
from worker.patience import patiently
from worker.ranges import Bounds, records_of
from worker.render.asking import asking
from worker.render.rehearsal import CHUNK_RECORDS, NOW, Find, play
from worker.render.sources import rehearsing
from worker.replay.performing import Order
from worker.replay.runs import asked_for, check_same, extents_for, find_replay
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One partition. Times are epoch milliseconds, -1 where there is no record; `waiting` records would not get any
    further, for what `waits_for` says.
    """

    tp: TopicPartition
    extent: Extent
    first_ms: int
    last_ms: int
    counted: Mapping[str, int]
    waiting: int = 0
    waits_for: str = ""


def rehearsed(settings: Settings, cluster: Cluster, order: Order) -> Iterator[Rehearsed]:
    """What is left of a replay that has begun, else the range as it would be fixed now.

    Raises SettingsError, or KafkaUnavailableError.
    """
    extents, events = _extents(settings, cluster, order)
    selection = selection_of(settings, events)
    with asking(settings) as find:
        for tp, extent in extents.items():
            if extent.offsets:
                yield _rehearse(settings, selection, tp, extent, find)


def _extents(settings: Settings, cluster: Cluster, order: Order) -> tuple[Mapping[TopicPartition, Extent], list[str]]:
    asked = asked_for(order.options, order.events)
    found = patiently(lambda: find_replay(cluster, settings.kafka_consumer_group, order.name))
    if found is None:
        extents = extents_for(cluster, settings.topic_names(), order.options, wall_ms(time.monotonic()))
        return extents, list(order.events)
    check_same(found, asked)
    left = {
        tp: Extent(standing.next_offset, standing.stretch.end_offset)
        for tp, standing in found.standings.items()
        if standing.left
    }
    return left, found.events


def _rehearse(
    settings: Settings, selection: Selection | None, tp: TopicPartition, extent: Extent, find: Find
) -> Rehearsed:
    pipeline = rehearsing(settings, selection)
    first, end = extent.first_offset, extent.end_offset
    pipeline.assigned([tp])
    pipeline.restored(tp, first, committed=first, stretch=Stretch(first, end))
    first_ms = last_ms = -1
    with closing(records_of(consumer_properties(settings), tp, Bounds(first, end, first))) as records:
        while chunk := list(islice(records, CHUNK_RECORDS)):
            first_ms = chunk[0].timestamp_ms if first_ms < 0 else first_ms
            last_ms = chunk[-1].timestamp_ms
            _feed(pipeline, tp, chunk, find)
    pipeline.stopping()
    play(pipeline, find)
    lane = pipeline.lanes[tp]
    assert lane.stretch is not None  # it was given one
    ref = lane.missing_schema
    waits_for = "" if ref is None else f"schema {ref}: {pipeline.intake.unavailable.get(ref, 'no answer')}"
    if lane.suspects:
        waits_for = "more than REJECTION_LIMIT in a row that cannot be decoded: the partition would be held"
    return Rehearsed(
        tp, extent, first_ms, last_ms, lane.stretch.counted, len(lane.backlog) + len(lane.suspects), waits_for
    )


def _feed(pipeline: Pipeline, tp: TopicPartition, chunk: Sequence[Record], find: Find) -> None:
    pipeline.received({tp: chunk}, {}, NOW)
    play(pipeline, find)
