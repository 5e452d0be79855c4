"""Reads dead-letter topics, and how far a redrive is with them. Blocks; prints and writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from worker.cluster import Cluster
from worker.core.records import Record, TopicPartition
from worker.errors import SettingsError
from worker.letters.selection import Place, redrive_group
from worker.patience import offsets_in_time
from worker.ranges import Bounds, records_of
from worker.topics import TopicNames


@dataclass(frozen=True, slots=True)
class LetterTopic:
    """A topic's dead letters. `partitions` 0: there is no such topic, or this user may not see it."""

    source: str
    name: str
    partitions: int

    @property
    def tps(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, partition) for partition in range(self.partitions)]


def topics_of(cluster: Cluster, names: TopicNames, wanted: str | None) -> list[LetterTopic]:
    """Of all that the settings mean; or of `wanted`, which may be named by itself or by its source.

    Raises SettingsError, or KafkaUnavailableError.
    """
    existing = cluster.partitions()
    if wanted is None:
        sources = names.selected_now(existing)
    else:
        candidates = [*names.selected(existing), *existing]
        source = _source(wanted, names, candidates)
        if not {source, names.dead_letter(source)} & set(candidates):
            raise SettingsError([f"--topic: there is no topic {wanted} (or this user may not see it)"])
        sources = [source]
    return [
        LetterTopic(source, names.dead_letter(source), existing.get(names.dead_letter(source), 0)) for source in sources
    ]


def _source(wanted: str, names: TopicNames, candidates: list[str]) -> str:
    for source in candidates:
        if names.dead_letter(source) == wanted:
            return source
    if names.is_own(wanted):
        raise SettingsError(
            [f"--topic: {wanted} is a topic of the worker's own, and not the dead letters of any other"]
        )
    return wanted


def refuse_missing(cluster: Cluster, topics: Sequence[LetterTopic], places: Sequence[Place]) -> None:
    """Raises SettingsError where a place is in none of these topics, be it that retention has taken it, or
    KafkaUnavailableError.
    """
    there = [topic for topic in topics if topic.partitions]
    if not there:
        return
    problems = []
    for place in places:
        named = [topic.tps[place.partition] for topic in there if place.partition < topic.partitions]
        bounds = {tp: cluster.bounds(tp) for tp in named}
        if any(place.first < end and place.last >= log_start for log_start, end in bounds.values()):
            continue
        holds = [f"{tp} holds {_held(*found)}" for tp, found in bounds.items()]
        holds = holds or [f"{topic.name} has {topic.partitions} partitions, counted from 0" for topic in there]
        problems.append(f"--offset {place}: there is no such dead letter; {', '.join(holds)}")
    if problems:
        raise SettingsError(problems)


def _held(log_start: int, end: int) -> str:
    return f"offsets {log_start} to {end - 1}" if log_start < end else "nothing"


class Reader:
    """`properties` are the consumer's, whose group is named and never joined."""

    def __init__(self, cluster: Cluster, properties: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._properties = properties

    def redriven_to(self, group: str, topics: list[LetterTopic]) -> dict[TopicPartition, int]:
        """Where a redrive of this group would begin, of each partition that one has begun with.

        Raises KafkaUnavailableError, also without the right to ask for that group.
        """
        partitions = [tp for topic in topics for tp in topic.tps]
        found = offsets_in_time(self._cluster, redrive_group(group), partitions) if partitions else {}
        return {tp: offsets.committed for tp, offsets in found.items() if offsets.committed is not None}

    def records(self, topics: list[LetterTopic]) -> Iterator[tuple[TopicPartition, Record]]:
        """All that is there, partition after partition, each as far as its end when it is begun."""
        for topic in topics:
            for tp in topic.tps:
                log_start, end = self._cluster.bounds(tp)
                with closing(records_of(self._properties, tp, Bounds(log_start, end, log_start))) as records:
                    for record in records:
                        yield tp, record

    def record(self, tp: TopicPartition, offset: int) -> Record:
        """The one at this offset. Raises SettingsError where there is none, and says what there is."""
        log_start, end = self._cluster.bounds(tp)
        if not log_start <= offset < end:
            raise SettingsError([f"{tp} holds {_held(log_start, end)}: there is no dead letter at {offset}"])
        with closing(records_of(self._properties, tp, Bounds(log_start, end, offset))) as records:
            found = next(records, None)
        if found is None or found.offset != offset:
            next_one = f"the next one is at {found.offset}" if found else "nothing comes after it"
            raise SettingsError([f"{tp} has no dead letter at {offset}, only a transaction's mark; {next_one}"])
        return found
