"""Several letters of one source record, as replays over the same bad record leave them: how many there are, in bounded
memory. Reads nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.dead_letters import Letter
from worker.letters.rows import Row
from worker.letters.selection import State

# A number of 8 bytes each, some 10 MB in a set.
MOST_RECORDS = 100_000


@dataclass(slots=True)
class Repeats:
    """Of more records than `most` it says nothing."""

    most: int = MOST_RECORDS
    letters: int = 0
    _records: set[int] = field(default_factory=set)

    def take(self, letter: Letter) -> None:
        self.letters += 1
        if len(self._records) <= self.most:
            self._records.add(hash((letter.source, letter.record.offset)))

    def __str__(self) -> str:
        """Empty where each letter is of a record of its own."""
        records = len(self._records)
        if records == self.letters or records > self.most:
            return ""
        return (
            f"{self.letters:,} waiting letters of {records:,} record{'' if records == 1 else 's'}: a redrive sends an "
            "event once for each of its letters, under one messageId"
        )


def watched(rows: Iterable[Row], repeats: Repeats) -> Iterator[Row]:
    """The same, of which those that wait are counted as they go by."""
    for row in rows:
        if row.letter is not None and row.state is State.WAITING:
            repeats.take(row.letter)
        yield row
