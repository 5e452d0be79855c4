"""Items, batches and spans: what one request carries, and which offsets it answers for.

The only place where bytes of a body are added up. Nothing here decides when to send, retry or commit.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import attrgetter, itemgetter
from typing import TypeVar

import msgspec

from worker.core.decoding import SchemaRef
from worker.core.identity import IdentityChange
from worker.core.outcomes import DeadLetter, Outcome, Reason
from worker.core.payloads import batch_id
from worker.core.records import Record, TopicPartition

# Both ids are always 36 and the time always 24 characters, so the envelope weighs the same at every attempt.
_HEAD = b'{"messageId":"%b","sentAt":"%b","batch":['
_TAIL = b"]}"
ENVELOPE_BYTES = len(_HEAD % (b"0" * 36, b"0" * 24)) + len(_TAIL)

# A span without much to send must still end: what it holds has to be committed, and it may be all filtered or all dead
# letters.
MAX_SPAN_RECORDS = 10_000
MAX_SPAN_EXTRA_BYTES = 500_000

Entry = TypeVar("Entry")


class Item(msgspec.Struct, frozen=True, gc=False):
    """One event on its way: the bytes that will be sent, and the record they came from, should it be refused."""

    record: Record
    payload: bytes
    message_id: str
    label: str
    identified: bool
    schema: SchemaRef


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request carries. Immutable: sender threads read it while the core goes on.

    `number` is unique in the process; `epoch` is the assignment it was made under.
    """

    number: int
    tp: TopicPartition
    epoch: int
    first_offset: int
    next_offset: int
    items: Sequence[Item]
    size: int

    def body(self, sent_at: str) -> bytes:
        """The body as sent: exactly `size` bytes. `sent_at` is new at every attempt, the id never changes."""
        identifier = batch_id(item.message_id for item in self.items)
        parts = [item.payload for item in self.items]
        # the envelope rides on the first and the last: put around all of them, it would copy the whole body once more
        parts[0] = _HEAD % (identifier.encode("ascii"), sent_at.encode("ascii")) + parts[0]
        parts[-1] += _TAIL
        return b",".join(parts)


def largest_payload_bytes(max_bytes: int) -> int:
    """What one payload may weigh for a body with nothing else in it to stay below `max_bytes`."""
    return max_bytes - ENVELOPE_BYTES - 1


class SpanState(Enum):
    OPEN = "open"  # still growing
    SEALED = "sealed"  # waits for its turn
    SENT = "sent"  # handed to the sender: on the wire, or waiting there for its time
    PARKED = "parked"  # a refused single that waits for proof that it is to blame
    SETTLED = "settled"  # delivered, or its dead letters are decided


@dataclass(slots=True)
class Trouble:
    """What the API has said about a span so far. All times are monotonic seconds.

    `refused_at` is when its last refusal (403, or 5xx of a suspect) came home, and `worked_since` whether a request
    *started after* that was taken. `tried` says that this very piece was refused, and not only what it is a half of.
    `refused_after_success` says that its last refusal came after such a success: what speaks against its content rather
    than against the key or the service; of a single `refusals` counts them. `reprieved`: that happened while the API
    was recovering (`Judge`).
    """

    attempts: int = 0
    retries: int = 0
    first_attempt_at: float | None = None
    held_before: float = 0.0
    first_server_error_at: float | None = None
    probes_forbidden: int = 0
    suspect: bool = False
    refused_at: float | None = None
    worked_since: bool = False
    tried: bool = False
    refused_after_success: bool = False
    reprieved: bool = False
    refusals: int = 0
    sentence: tuple[DeadLetter, ...] = ()

    @property
    def pardonable(self) -> bool:
        """Whether its sentence is one of suspicion, passed or upheld in a truce: then it is not carried out without one
        more trial.
        """
        return self.suspect and self.reprieved

    def inherited(self) -> "Trouble":
        """What a half takes over: all but what only a piece itself can bring against itself."""
        return replace(self, tried=False, refused_after_success=False, reprieved=False, refusals=0, sentence=())


@dataclass(slots=True)
class Span:
    """Offsets `[first_offset, next_offset)` of one lane and all that was read there.

    Only offsets that were handed to us exist: compaction and transaction markers leave gaps.
    """

    first_offset: int
    opened_at: float
    next_offset: int = -1
    state: SpanState = SpanState.OPEN
    records: int = 0
    items: list[Item] = field(default_factory=list)
    size: int = ENVELOPE_BYTES
    filtered: list[tuple[int, Reason]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    changes: list[IdentityChange] = field(default_factory=list)
    extra_bytes: int = 0
    traits_refused: int = 0
    outcomes: Counter[tuple[Outcome, Reason]] = field(default_factory=Counter)
    delivered: Counter[tuple[str, bool]] = field(default_factory=Counter)
    batch: Batch | None = None
    trouble: Trouble = field(default_factory=Trouble)

    def fits(self, payload_bytes: int, *, max_bytes: int, max_events: int) -> bool:
        """Asked before an item is added: whether the body would stay below `max_bytes`, comma included, and within
        `max_events`.
        """
        comma = 1 if self.items else 0
        return len(self.items) < max_events and self.size + comma + payload_bytes < max_bytes

    def add(self, item: Item) -> None:
        self.size += len(item.payload) + (1 if self.items else 0)
        self.items.append(item)
        self._cover(item.record)

    def filter(self, record: Record, reason: Reason) -> None:
        self.filtered.append((record.offset, reason))
        self._cover(record)

    def bury(self, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        self.extra_bytes += letter.size
        self._cover(letter.record)

    def learn(self, changes: Sequence[IdentityChange]) -> None:
        self.changes.extend(changes)
        self.extra_bytes += sum(change.size for change in changes)

    def _cover(self, record: Record) -> None:
        self.records += 1
        self.next_offset = record.next_offset

    @property
    def full(self) -> bool:
        """Whether it must close whatever its body weighs."""
        return self.records >= MAX_SPAN_RECORDS or self.extra_bytes >= MAX_SPAN_EXTRA_BYTES

    def deliver(self) -> None:
        """The API has taken it. Payloads and records are let go: a settled span may wait for its commit, but not with
        their weight.
        """
        self.delivered = Counter((item.label, item.identified) for item in self.items)
        self.settle()

    def bury_items(self, letters: Sequence[DeadLetter]) -> None:
        self.dead_letters = sorted([*self.dead_letters, *letters], key=_offset_of_letter)
        self.extra_bytes += sum(letter.size for letter in letters)
        self.settle()

    def settle(self) -> None:
        """Nothing in it is undecided. What filtered records there were is a number from now on: it is never halved
        again.
        """
        self.outcomes = self._tally()
        self.filtered = []
        self.items = []
        self.batch = None
        self.trouble.sentence = ()
        self.state = SpanState.SETTLED

    def _tally(self) -> Counter[tuple[Outcome, Reason]]:
        """How many of its records ended in which outcome, for which reason: adds up to `records`."""
        outcomes = Counter((Outcome.FILTERED, reason) for _, reason in self.filtered)
        outcomes.update((letter.outcome, letter.reason) for letter in self.dead_letters)
        if self.delivered:
            outcomes[Outcome.DELIVERED, Reason.DELIVERED] = self.delivered.total()
        return outcomes

    def halves(self) -> "tuple[Span, Span]":
        """Two sealed spans in its place, each answering for its own offsets: the second begins at its first item's
        record.

        So the front half can be committed as soon as it is settled, and what was filtered in between is counted with
        it.
        """
        middle = len(self.items) // 2
        border = self.items[middle].record.offset
        front, back = Span(self.first_offset, self.opened_at), Span(border, self.opened_at)
        front.next_offset, back.next_offset = border, self.next_offset
        for part, items in ((front, self.items[:middle]), (back, self.items[middle:])):
            part.state = SpanState.SEALED
            part.items = items
            part.size = ENVELOPE_BYTES + sum(len(item.payload) for item in items) + len(items) - 1
            part.trouble = self.trouble.inherited()
        front.filtered, back.filtered = _cut(self.filtered, border, itemgetter(0))
        front.dead_letters, back.dead_letters = _cut(self.dead_letters, border, _offset_of_letter)
        front.changes, back.changes = _cut(self.changes, border, attrgetter("offset"))
        front.traits_refused = self.traits_refused
        for part in (front, back):
            part.extra_bytes = sum(letter.size for letter in part.dead_letters)
            part.extra_bytes += sum(change.size for change in part.changes)
            part.records = len(part.items) + len(part.filtered) + len(part.dead_letters)
        return front, back


def _offset_of_letter(letter: DeadLetter) -> int:
    return letter.record.offset


def _cut(entries: list[Entry], border: int, offset_of: Callable[[Entry], int]) -> tuple[list[Entry], list[Entry]]:
    place = bisect_left(entries, border, key=offset_of)
    return entries[:place], entries[place:]
