"""What the stand-in was asked, what it answered and which events it took.

Remembers the latest within fixed bounds, counts everything. Time is an argument; a key that was sent is never kept.
Safe to use from any thread: the server writes, tests read.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from worker.sandbox.rules import Batch

T = TypeVar("T")

_REQUESTS = 10_000
_REQUEST_IDS = 1_000_000
_BODIES = 20


@dataclass(frozen=True, slots=True)
class Moment:
    """One point in time: seconds on the monotonic clock for arithmetic, seconds since 1970 for people."""

    monotonic: float
    epoch: float

    def __str__(self) -> str:
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Request(msgspec.Struct, frozen=True):
    """One answered request to `/v1/batch`; `text` is the answer's. `status` 0: the connection was closed instead."""

    started_at: Moment
    ended_at: Moment
    status: int
    authorized: bool
    body_bytes: int
    message_ids: tuple[str, ...]
    text: str
    sequence: int = 0  # given by the ledger, from 1, in the order of the answers


class Event(msgspec.Struct, frozen=True):
    """One accepted event; `json` as it came."""

    sequence: int
    received_at: Moment
    batch_message_id: str
    message_id: str
    json: bytes

    @property
    def item(self) -> dict[str, object]:
        return msgspec.json.decode(self.json, type=dict[str, object])


class Totals(msgspec.Struct, frozen=True):
    """Since the start: requests, events accepted, requests by the status they were answered with."""

    requests: int
    accepted: int
    statuses: dict[int, int]


class _Recent(Generic[T]):
    """The latest entries: at most `max_entries`, and together at most `max_weight` unless one alone is heavier."""

    def __init__(self, max_entries: int, max_weight: int) -> None:
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._weight = 0
        self._entries: deque[tuple[int, T]] = deque()

    def add(self, entry: T, weight: int) -> None:
        self._entries.append((weight, entry))
        self._weight += weight
        while len(self._entries) > self._max_entries or (self._weight > self._max_weight and len(self._entries) > 1):
            self._weight -= self._entries.popleft()[0]

    def all(self) -> list[T]:
        return [entry for _, entry in self._entries]


class Ledger:
    """`in_flight` is how many requests are being answered now, `max_in_flight` the most there ever were at once."""

    def __init__(self, *, max_events: int, max_event_bytes: int) -> None:
        self._lock = threading.Lock()
        self._requests: _Recent[Request] = _Recent(_REQUESTS, _REQUEST_IDS)
        self._events: _Recent[Event] = _Recent(max_events, max_event_bytes)
        self._bodies: _Recent[bytes] = _Recent(_BODIES, max_event_bytes)
        self._statuses: Counter[int] = Counter()
        self._started = 0
        self._accepted = 0
        self.in_flight = 0
        self.max_in_flight = 0

    def started(self) -> None:
        with self._lock:
            self._started += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def answered(self, request: Request) -> None:
        with self._lock:
            self.in_flight -= 1
            self._statuses[request.status] += 1
            numbered = msgspec.structs.replace(request, sequence=self._statuses.total())
            self._requests.add(numbered, 1 + len(request.message_ids))

    def accepted(self, batch: Batch, body: bytes, now: Moment) -> None:
        with self._lock:
            self._bodies.add(body, len(body))
            for item in batch.items:
                self._accepted += 1
                event = Event(self._accepted, now, batch.message_id, item.message_id, item.json)
                self._events.add(event, len(item.json))

    def totals(self) -> Totals:
        with self._lock:
            return Totals(self._started, self._accepted, dict(sorted(self._statuses.items())))

    def requests(self) -> list[Request]:
        """In the order they were answered; those in flight are not among them."""
        with self._lock:
            return self._requests.all()

    def events(self) -> list[Event]:
        """In the order they were accepted."""
        with self._lock:
            return self._events.all()

    def bodies(self) -> list[bytes]:
        """The last bodies that were accepted, byte for byte."""
        with self._lock:
            return self._bodies.all()
