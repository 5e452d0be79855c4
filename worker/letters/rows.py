"""Dead letters in a list: one row each, counted as they go by, so that a topic of any size can be gone through. Reads
nothing, prints nothing.

The fields of the JSON are an interface (`docs/dead-letters.md`): fields are added, never renamed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import NamedTuple

from msgspec.structs import replace

from worker.core.records import Record, TopicPartition
from worker.dead_letters import Letter, opened, time_text
from worker.letters.selection import Ownership, Selection, State

# By reason ("" for what no worker wrote) and state.
Counts = Counter[tuple[str, State]]


class Row(NamedTuple):
    """One record of a dead-letter topic, without its bytes. `letter` None: no worker has written it."""

    tp: TopicPartition
    offset: int
    written_ms: int
    state: State
    letter: Letter | None

    @property
    def failed_ms(self) -> int:
        """When it failed first, as far as anybody can tell."""
        if self.letter is not None and self.letter.first_failed_at_ms >= 0:
            return self.letter.first_failed_at_ms
        return self.written_ms


@dataclass(slots=True)
class Passing:
    """Records that are counted as they go by, whether they are asked for or not."""

    records: Iterable[tuple[TopicPartition, Record]]
    number: int = 0

    def __iter__(self) -> Iterator[tuple[TopicPartition, Record]]:
        for each in self.records:
            self.number += 1
            yield each


def rows(
    records: Iterable[tuple[TopicPartition, Record]],
    redriven_to: dict[TopicPartition, int],
    owner: Ownership,
    selection: Selection,
    states: frozenset[State],
) -> Iterator[Row]:
    """Those that are asked for. What no worker wrote is in no selection but that of everything."""
    for tp, record in records:
        letter = opened(record)
        state = owner.state(letter, record.offset, redriven_to.get(tp, 0))
        if states and state not in states:
            continue
        if selection.all if letter is None else selection.takes(tp, record.offset, letter):
            yield Row(tp, record.offset, record.timestamp_ms, state, letter and _without_bytes(letter))


def _without_bytes(letter: Letter) -> Letter:
    return replace(letter, record=replace(letter.record, key=None, value=None, headers=()))


@dataclass(slots=True)
class Tally:
    """Counts every row, and keeps `limit` of them at most: the newest, or the oldest."""

    limit: int
    oldest_first: bool
    counts: Counts = field(default_factory=Counter)
    _kept: list[tuple[tuple[int, int], Row]] = field(default_factory=list)

    def take(self, row: Row) -> None:
        count(self.counts, row)
        number = self.counts.total()
        # the number keeps rows of one moment in the order they were read, and rows themselves from being compared
        key = (-row.failed_ms, -number) if self.oldest_first else (row.failed_ms, -number)
        if len(self._kept) < self.limit:
            heappush(self._kept, (key, row))
        else:
            heappushpop(self._kept, (key, row))

    @property
    def kept(self) -> list[Row]:
        return [row for _, row in sorted(self._kept, key=lambda entry: entry[0], reverse=True)]

    @property
    def more(self) -> int:
        return self.counts.total() - len(self._kept)


def count(counts: Counts, row: Row) -> None:
    counts[row.letter.reason if row.letter else "", row.state] += 1


def as_json(row: Row) -> dict[str, object]:
    letter = row.letter
    return {
        "topic": row.tp.topic,
        "partition": row.tp.partition,
        "offset": row.offset,
        "state": row.state.value,
        "written_at": time_text(row.written_ms) or None,
        **(_of_letter(letter) if letter is not None else dict.fromkeys(_FIELDS)),
    }


def _of_letter(letter: Letter) -> dict[str, object]:
    return {
        "reason": letter.reason,
        "detail": letter.detail or None,
        "stage": letter.stage or None,
        "http_status": letter.http_status,
        "attempts": letter.attempts,
        "redrives": letter.redrives,
        "first_failed_at": time_text(letter.first_failed_at_ms) or None,
        "source_topic": letter.source.topic,
        "source_partition": letter.source.partition,
        "source_offset": letter.record.offset,
        "source_timestamp": time_text(letter.record.timestamp_ms) or None,
        "schema": letter.schema or None,
        "group": letter.group,
        "worker_version": letter.worker_version or None,
    }


_FIELDS = tuple(_of_letter(Letter(source=TopicPartition("", 0), record=Record(0, 0, None, None), reason="", group="")))
