"""The two things that can be rendered: a range of a partition, and a file. Puts the parts together as `run` has them.

Blocks: it reads from Kafka, and asks the registry where a range needs it. Prints nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from worker.assembly import pipeline_of, selection_of
from worker.client_properties import client_properties, consumer_properties
from worker.cluster import Cluster
from worker.core.decoding import SchemaAnswer, SchemaRef
from worker.core.mapping import Selection as EventSelection
from worker.core.pipeline import Pipeline
from worker.core.records import TopicPartition
from worker.errors import SettingsError
from worker.ranges import Bounds, find_bounds, find_partition, read_range
from worker.render.asking import asking
from worker.render.inputs import read_events
from worker.render.lines import Line, counted, lines_of
from worker.render.rehearsal import Rehearsal, rehearse
from worker.render.wanted import Selection
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is written down, and what a reader of it should know besides."""

    lines: list[Line]
    notes: list[str]


def rendered_range(settings: Settings, wanted: Selection, *, events: Collection[str], default_count: int) -> Rendered:
    """Of the topic's partition. Raises SettingsError, or KafkaUnavailableError."""
    count = wanted.count or default_count
    selection = selection_of(settings, tuple(events))
    cluster = Cluster(client_properties(settings))
    tp = find_partition(cluster, wanted.topic or usual_topic(settings), wanted.partition)
    bounds = find_bounds(cluster, tp, wanted.from_offset, count)
    records = read_range(consumer_properties(settings), tp, bounds, count)
    with asking(settings) as find:
        rehearsal = rehearse(rehearsing(settings, selection), tp, records, find)
    return Rendered(lines_of(rehearsal), _notes(rehearsal, bounds))


def rendered_file(
    settings: Settings, name: str, content: bytes, wanted: Selection, *, events: Collection[str]
) -> Rendered:
    """Of the file's events as though they were records of this partition, from its beginning on and as many as there
    are. Raises SettingsError.
    """
    tp = TopicPartition(wanted.topic or usual_topic(settings), wanted.partition or 0)
    file = read_events(name, content, wanted.from_offset or 0, wanted.count)
    pipeline = rehearsing(settings, selection_of(settings, tuple(events)))
    pipeline.intake.known(file.schema, file.plan)
    return Rendered(lines_of(rehearse(pipeline, tp, file.records, _none_to_find)), [])


def _none_to_find(refs: Sequence[SchemaRef]) -> tuple[SchemaAnswer, ...]:
    raise AssertionError(f"a file knows its schema, but there was {refs}")


def rehearsing(settings: Settings, selection: EventSelection | None) -> Pipeline:
    """A pipeline in which time stands still: with no linger at all, every turn would end a body."""
    lingering = settings.model_copy(update={"batch_linger_ms": max(1, settings.batch_linger_ms)})
    return pipeline_of(lingering, selection)


def usual_topic(settings: Settings) -> str:
    if settings.topics_pattern is not None:
        raise SettingsError(["--topic: KAFKA_TOPICS is a pattern, so a topic must be named"])
    return settings.kafka_topics[0]


def _notes(rehearsal: Rehearsal, bounds: Bounds) -> list[str]:
    first = bounds.first_offset
    held = f"{rehearsal.tp} holds offsets [{bounds.log_start}, {bounds.end})"
    notes = [f"{held}; read from {first} on: {counted(len(rehearsal.judged), 'record')}."]
    if rehearsal.batches and first > bounds.log_start:
        notes.append(f"Traits learned before offset {first} are not known here; `run` attaches those it knows.")
    return notes
