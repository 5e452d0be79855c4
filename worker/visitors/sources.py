"""Reads what Kafka holds of one visitor: the identity logs, and the dead letters. Blocks; prints and writes nothing.

A log is gone through from its beginning, because nobody but the producer knows which partition a visitor is in.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.cluster import Cluster
from worker.core.decoding import DecodeError, Event, Plan, SchemaRef, framing
from worker.core.records import Record, TopicPartition
from worker.core.start_offsets import OffsetReset, start_of
from worker.errors import NoSuchSchemaError, SchemaUnavailableError, SettingsError
from worker.patience import offsets_in_time
from worker.ranges import Bounds, records_of
from worker.topics import TopicNames
from worker.visitors.traces import USER_PREFIX, Trace

if TYPE_CHECKING:
    from worker.registry import Registry


@dataclass(frozen=True, slots=True)
class Log:
    """A topic and its identity log. `partitions` are those that both have; none where there is no log."""

    source: str
    name: str
    partitions: tuple[int, ...]
    missing: tuple[int, ...]

    @property
    def sources(self) -> list[TopicPartition]:
        return [TopicPartition(self.source, partition) for partition in self.partitions]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that holds the visitor. `source` is where it came from, as its headers say."""

    tp: TopicPartition
    offset: int
    reason: str
    source: str


@dataclass(slots=True)
class Letters:
    """`partitions` 0: there is no such topic. `by_key_alone` counts dead letters whose event could not be read, so that
    only their key was looked at.
    """

    partitions: int
    found: list[Letter]
    by_key_alone: int = 0


def logs_of(cluster: Cluster, names: TopicNames, topic: str | None) -> list[Log]:
    """Of one topic, or of all that the settings mean. Raises SettingsError, or KafkaUnavailableError."""
    existing = cluster.partitions()
    if topic is not None and names.is_own(topic):
        raise SettingsError([f"--topic: {topic} is named like a topic of the worker's own: name the one it reads"])
    wanted = [topic] if topic is not None else names.selected_now(existing)
    problems = [
        f"{'--topic' if topic else 'KAFKA_TOPICS'}: there is no topic {each} (or this user may not see it)"
        for each in wanted
        if each not in existing
    ]
    if problems:
        raise SettingsError(problems)
    return [_log(each, names.identity(each), existing) for each in wanted]


def _log(source: str, name: str, existing: Mapping[str, int]) -> Log:
    both = min(existing[source], existing.get(name, 0))
    return Log(source, name, tuple(range(both)), tuple(range(both, existing[source])))


class Searcher:
    """Looks for one visitor. `properties` are the consumer's, whose group is named and never joined.

    Raises KafkaUnavailableError where something cannot be read.
    """

    def __init__(self, cluster: Cluster, properties: Mapping[str, Any], visitor: str) -> None:
        self._cluster = cluster
        self._properties = properties
        self._visitor = visitor

    def traces(self, log: Log, group: str, reset: OffsetReset) -> list[Trace]:
        """One for each partition of the log: what a worker would know that is assigned it now."""
        if not log.partitions:
            return []
        topic_id = self._cluster.topic_ids([log.source])[log.source]
        offsets = offsets_in_time(self._cluster, group, log.sources)
        found: list[Trace] = []
        for tp in log.sources:
            at = offsets[tp]
            start = start_of(at.committed, at.earliest, at.latest, reset)
            trace = Trace(tp, self._visitor, start.offset, topic_id)
            for record in self._records(TopicPartition(log.name, tp.partition)):
                trace.take(record)
            found.append(trace)
        return found

    def letters(self, topic: str, reader: "Reader") -> Letters:
        """What a dead-letter topic still holds of the visitor."""
        letters = Letters(self._cluster.partitions().get(topic, 0), [])
        wanted = self._visitor[len(USER_PREFIX) :]
        for partition in range(letters.partitions):
            tp = TopicPartition(topic, partition)
            for record in self._records(tp):
                event = reader.event(record)
                if record.key == wanted.encode() or (event is not None and wanted in self._ids(event)):
                    letters.found.append(_letter(tp, record))
                elif event is None:
                    letters.by_key_alone += 1
        return letters

    def _ids(self, event: Event) -> Iterable[str | None]:
        return (event.user_id,) if self._visitor.startswith(USER_PREFIX) else (event.anonymous_id,)

    def _records(self, tp: TopicPartition) -> Iterator[Record]:
        log_start, end = self._cluster.bounds(tp)
        with closing(records_of(self._properties, tp, Bounds(log_start, end, log_start))) as records:
            yield from records


def _letter(tp: TopicPartition, record: Record) -> Letter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    source = f"{headers.get('dl-topic', '?')}[{headers.get('dl-partition', '?')}]@{headers.get('dl-offset', '?')}"
    return Letter(tp, record.offset, headers.get("dl-reason", "?"), source)


class Reader:
    """Reads events with the schemas of the directory and, where there is one, the registry: once for each schema, and
    not at all once it does not answer.
    """

    def __init__(self, local: Mapping[SchemaRef, Plan], registry: "Registry | None") -> None:
        self._plans: dict[SchemaRef, Plan | None] = dict(local)
        self._registry = registry

    def event(self, record: Record) -> Event | None:
        """None where there is none to be read."""
        try:
            ref, start = framing(record)
            plan = self._plan(ref)
            return plan.read(record.value or b"", start) if plan is not None else None
        except DecodeError:
            return None

    def _plan(self, ref: SchemaRef) -> Plan | None:
        if ref not in self._plans:
            self._plans[ref] = self._asked(ref)
        return self._plans[ref]

    def _asked(self, ref: SchemaRef) -> Plan | None:
        if self._registry is None or ref.kind == "fingerprint":
            return None
        try:
            return self._registry.find(ref)
        except NoSuchSchemaError:
            return None
        except SchemaUnavailableError:
            self._registry = None
            return None
