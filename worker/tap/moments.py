"""A moment of one record's way, what a watcher wants to see of them, and the ring that keeps the latest. Nothing is
decoded or masked here: that costs more than the work itself, and is done for what is really shown.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from threading import Lock

import msgspec

from worker.core.outcomes import Outcome, Reason
from worker.core.records import Record, TopicPartition

RING_MAX_MOMENTS = 5_000
RING_MAX_BYTES = 4_000_000
# What a moment weighs beside its record and its payload.
MOMENT_BYTES = 500


class Seen(StrEnum):
    """What a moment shows: one of the three outcomes, or what may still become any of them."""

    PENDING = "pending"  # decided: will be sent
    RETRIED = "retried"  # no answer, or a "not now": the same batch goes out again
    REFUSED = "refused"  # something in its batch is bad: halved, or a dead letter if it was alone
    HELD = "held"  # wrong key or address: waits until that is mended
    DELIVERED = Outcome.DELIVERED.value
    FILTERED = Outcome.FILTERED.value
    DEAD_LETTERED = Outcome.DEAD_LETTERED.value


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The API's answer to the batch an event was in. `status` is the word of the metrics; `text` may quote an event,
    unless it is the network's (`quotes` False).

    `attempts` is 0 where it is not known any more: the partition was given away meanwhile.
    """

    status: str
    attempts: int
    text: str = ""
    quotes: bool = True
    milliseconds: int | None = None
    events: int | None = None


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One moment of one record's way. `message_id` and `name` are empty where the record could not be read."""

    at_ms: int
    tp: TopicPartition
    record: Record
    seen: Seen
    reason: Reason = Reason.DELIVERED
    message_id: str = ""
    name: str = ""
    detail: str = ""
    payload: bytes | None = None
    reply: Reply | None = None

    @property
    def size(self) -> int:
        return MOMENT_BYTES + self.record.size + len(self.payload or b"")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A watcher's filter: what stands in one set is alternatives, an empty set takes all."""

    seen: frozenset[Seen] = frozenset(Seen) - {Seen.PENDING}
    reasons: frozenset[Reason] = frozenset()
    message_ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def takes(self, moment: Moment, names: Iterable[str]) -> bool:
        """`names` are those the moment's event goes by; they are looked at only where this filter has any."""
        return (
            moment.seen in self.seen
            and (not self.reasons or moment.reason in self.reasons)
            and (not self.message_ids or moment.message_id in self.message_ids)
            and (not self.names or not self.names.isdisjoint(names))
        )


@dataclass(slots=True)
class Ring:
    """The latest moments, numbered from 1, within a count and a weight. One thread adds, another reads.

    What is pushed out before it was read is lost to the reader, who is told how many.
    """

    max_moments: int = RING_MAX_MOMENTS
    max_bytes: int = RING_MAX_BYTES
    size: int = 0
    last: int = 0
    _moments: deque[Moment] = field(default_factory=deque)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._moments)

    def add(self, moment: Moment) -> None:
        with self._lock:
            self._moments.append(moment)
            self.last += 1
            self.size += moment.size
            # a single one that is too heavy pushes itself out
            while self.size > self.max_bytes or len(self._moments) > self.max_moments:
                self.size -= self._moments.popleft().size

    def after(self, number: int, limit: int) -> tuple[int, list[tuple[int, Moment]]]:
        """How many behind `number` are lost, and up to `limit` of those that follow, each with its number."""
        with self._lock:
            lost = max(0, self.last - len(self._moments) - number)
            place = len(self._moments) - (self.last - number - lost)
            found = list(islice(self._moments, place, place + limit))
        return lost, list(enumerate(found, number + lost + 1))
