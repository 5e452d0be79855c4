"""Renders a range as a replay would take it: by time or by offset, of several partitions, one after the other.

Blocks: it reads from Kafka, and asks the registry where a range needs it. Prints nothing.
"""

import time
from collections.abc import Collection, Mapping

from worker.assembly import selection_of
from worker.client_properties import client_properties, consumer_properties
from worker.cluster import Cluster
from worker.core.records import Record, TopicPartition
from worker.errors import SettingsError
from worker.extents import Extent, find_extents, wanted_of
from worker.ranges import Bounds, read_range
from worker.render.asking import asking
from worker.render.lines import Line, counted, lines_of
from worker.render.rehearsal import rehearse
from worker.render.sources import Rendered, rehearsing, usual_topic
from worker.render.wanted import Wanted
from worker.settings import Settings


def rendered_extents(settings: Settings, wanted: Wanted, *, events: Collection[str], default_count: int) -> Rendered:
    """Of one topic. Raises SettingsError, or KafkaUnavailableError."""
    cluster = Cluster(client_properties(settings))
    topic = wanted.range.topic or usual_topic(settings)
    selection = selection_of(settings, tuple(events))
    lines: list[Line] = []
    notes: list[str] = []
    extents = extents_of(cluster, [topic], wanted)
    starts = cluster.starts(extents)
    with asking(settings) as find:
        for tp, extent in extents.items():
            records = records_within(settings, tp, extent, wanted, default_count)
            rehearsal = rehearse(rehearsing(settings, selection), tp, records, find)
            lines += lines_of(rehearsal)
            notes.append(note_of(tp, extent, len(records)))
            if rehearsal.batches and extent.first_offset > starts.get(tp, 0):
                notes.append(f"Traits learned before offset {extent.first_offset} of {tp} are not known here.")
    return Rendered(lines, notes)


def extents_of(cluster: Cluster, topics: Collection[str], wanted: Wanted) -> Mapping[TopicPartition, Extent]:
    """Those that are not empty. Raises SettingsError, or KafkaUnavailableError."""
    now_ms = time.time_ns() // 1_000_000
    found = find_extents(cluster, topics, wanted_of(wanted.spelled_out(), now_ms))
    numbers = {tp.partition for tp in found}
    strange = sorted(set(wanted.partitions) - numbers)
    if strange:
        raise SettingsError([f"--partition: there is no {number}, only 0 to {max(numbers)}" for number in strange])
    chosen = {
        tp: extent
        for tp, extent in found.items()
        if extent.offsets and (not wanted.partitions or tp.partition in wanted.partitions)
    }
    if not chosen:
        raise SettingsError(["--partition: the range is empty there"])
    return chosen


def records_within(
    settings: Settings, tp: TopicPartition, extent: Extent, wanted: Wanted, default_count: int
) -> list[Record]:
    """All of them where somebody has said how many or where it ends."""
    count = wanted.count or (extent.offsets if wanted.has_end else default_count)
    bounds = Bounds(extent.first_offset, extent.end_offset, extent.first_offset)
    return read_range(consumer_properties(settings), tp, bounds, count)


def note_of(tp: TopicPartition, extent: Extent, records: int) -> str:
    return f"{tp}, offsets [{extent.first_offset}, {extent.end_offset}): {counted(records, 'record')} shown."
