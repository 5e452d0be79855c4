"""Renders dead letters as a redrive would make them now: bodies, and what becomes of each. Blocks; prints and sends
nothing.

A letter's place is where it lies in its own topic; its ids, and who its visitor is, are those of its source.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import msgspec

from worker.assembly import selection_of
from worker.client_properties import client_properties
from worker.cluster import Cluster
from worker.core.records import Record, TopicPartition
from worker.dead_letters import opened
from worker.extents import BEGINNING
from worker.letters.known import known_of
from worker.letters.looking import Rehearser, rehearser_of, visitors_of
from worker.letters.reopening import Reopener, Visitors
from worker.letters.selection import Ownership, Selection
from worker.letters.sources import topics_of
from worker.render.extents import extents_of, note_of, records_within
from worker.render.lines import Line, RecordLine, lines_of
from worker.render.rehearsal import Rehearsal
from worker.render.sources import Rendered
from worker.render.wanted import Wanted
from worker.settings import Settings


def rendered_letters(settings: Settings, wanted: Wanted, *, events: Collection[str], default_count: int) -> Rendered:
    """Of the dead-letter topics that are meant; without a beginning, from that of each. Raises SettingsError, or
    KafkaUnavailableError.
    """
    cluster = Cluster(client_properties(settings))
    topics = topics_of(cluster, settings.topic_names(), wanted.range.topic)
    names = [topic.name for topic in topics if topic.partitions]
    if not names:
        looked_for = ", ".join(topic.name for topic in topics)
        return Rendered([], [f"there are no dead letters: no topic {looked_for} (or no right to see it)"])
    if wanted.range.from_time is None and not wanted.range.from_offsets:
        wanted = replace(wanted, range=replace(wanted.range, from_time=BEGINNING))
    lines: list[Line] = []
    notes: list[str] = []
    with rehearser_of(settings, selection_of(settings, tuple(events))) as rehearser:
        for tp, extent in extents_of(cluster, names, wanted).items():
            records = records_within(settings, tp, extent, wanted, default_count)
            lines += _with_sources(lines_of(_rehearsed(settings, cluster, rehearser, tp, records)), records)
            notes.append(note_of(tp, extent, len(records)))
    return Rendered(lines, notes)


def _rehearsed(
    settings: Settings, cluster: Cluster, rehearser: Rehearser, tp: TopicPartition, records: Sequence[Record]
) -> Rehearsal:
    """Once to see whose events they are, and again with what the identity logs know of them now."""
    owner = Ownership(settings.kafka_consumer_group)

    def rehearse(known: Visitors) -> Rehearsal:
        return rehearser.rehearse(tp, records, Reopener(owner, Selection(), known))

    found = rehearse({})
    visitors = visitors_of(found.judged)
    return rehearse(known_of(settings, cluster, visitors)) if visitors else found


def _with_sources(lines: Iterable[Line], records: Iterable[Record]) -> list[Line]:
    letters = {record.offset: opened(record) for record in records}
    result: list[Line] = []
    for line in lines:
        letter = letters[line.offset] if isinstance(line, RecordLine) else None
        if isinstance(line, RecordLine) and letter is not None:
            result.append(msgspec.structs.replace(line, source=f"{letter.source}@{letter.record.offset}"))
        else:
            result.append(line)
    return result
