"""What became of every record of a run, from the sandbox's ledger, the dead-letter topic and the group's offsets.

Nothing is started or produced in here. Distinct ids are counted first, repeats afterwards: repeats alone
can hide a loss.
"""

import io
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType
from typing import Self

import fastavro

from tests.integration.cluster import Cluster, Stored
from tests.integration.harness import wait_until
from worker.sandbox import Sandbox
from worker.sandbox.ledger import Event, Request
from worker.settings.table import shipped_schemas

_SCHEMA = fastavro.parse_schema(json.loads((shipped_schemas() / "signal_event.avsc").read_text()))
_PREFIX_BYTES = 10
_SHOWN = 5


@dataclass(frozen=True, slots=True, order=True)
class Place:
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Audit:
    """One run: what was produced, and each outcome as its keeper tells it.

    `places` has every event by its messageId, `nameless` the records without one. `deliveries` are the sandbox's, in
    the order it took them, `letters` where each dead letter came from. `filtered` is what the test expects to be.
    """

    places: Mapping[str, Place]
    nameless: frozenset[Place]
    deliveries: Sequence[Event]
    letters: Sequence[Place]
    filtered: frozenset[str]
    committed: Mapping[int, int]

    def verify(self, *, max_repeats: int, ordered: bool = True) -> None:
        """Raises AssertionError unless every record ended in an outcome, below the group's offset, and no more than
        `max_repeats` did so twice; `ordered` also wants first deliveries in order of offsets, partition by partition.
        """
        assert not self.lost, f"{len(self.lost)} lost: {_some(self.lost)}"
        assert not self.uncommitted, f"{len(self.uncommitted)} not committed: {_some(self.uncommitted)}"
        assert not self.strangers, f"{len(self.strangers)} delivered that should not have been: {_some(self.strangers)}"
        assert not self.doubled_letters, f"dead letters written twice: {_some(self.doubled_letters)}"
        repeats = self.repeats.total()
        assert repeats <= max_repeats, f"{repeats} repeats, at most {max_repeats} allowed: {_some(self.repeats)}"
        assert not (ordered and self.overtaken), f"{len(self.overtaken)} out of order: {_some(self.overtaken)}"

    @property
    def outcomes(self) -> Counter[Place]:
        """How often each record ended in an outcome: accepted by the API, or written as a dead letter."""
        taken = (self.places[event.message_id] for event in self.deliveries if event.message_id in self.places)
        return Counter(taken) + Counter(self.letters)

    @property
    def lost(self) -> set[Place]:
        """Records that ended in no outcome. Those not committed yet are among them: they may still be on their way."""
        filtered = {self.places[message_id] for message_id in self.filtered}
        return {*self.places.values(), *self.nameless} - set(self.outcomes) - filtered

    @property
    def uncommitted(self) -> set[Place]:
        records = {*self.places.values(), *self.nameless}
        return {place for place in records if place.offset >= self.committed.get(place.partition, 0)}

    @property
    def strangers(self) -> set[str]:
        """Delivered, though to be filtered or never produced."""
        delivered = {event.message_id for event in self.deliveries}
        return (delivered & self.filtered) | (delivered - set(self.places))

    @property
    def repeats(self) -> Counter[Place]:
        """Outcomes beyond a record's first."""
        return Counter({place: count - 1 for place, count in self.outcomes.items() if count > 1})

    @property
    def doubled_letters(self) -> set[Place]:
        """Never allowed: a dead letter is written in the transaction that moves the offset past its record."""
        return {place for place, count in Counter(self.letters).items() if count > 1}

    @property
    def overtaken(self) -> set[str]:
        """Events whose first delivery came after that of a later offset of their partition."""
        latest: dict[int, int] = defaultdict(lambda: -1)
        seen: set[str] = set()
        overtaken: set[str] = set()
        for event in self.deliveries:
            place = self.places.get(event.message_id)
            if place is None or event.message_id in seen:
                continue
            seen.add(event.message_id)
            if place.offset < latest[place.partition]:
                overtaken.add(event.message_id)
            latest[place.partition] = max(latest[place.partition], place.offset)
        return overtaken


def audit(
    cluster: Cluster, sandbox: Sandbox, group: str, produced: Sequence[Stored], *, filtered: Collection[str] = ()
) -> Audit:
    """Of one topic. Waits for the end of transactions that were left open: their dead letters and all behind them are
    not to be seen before.

    Raises ValueError where a messageId stands for two records, and when the sandbox has forgotten events
    (`Sandbox(max_events=...)`).
    """
    topic = produced[0].topic
    deliveries = sandbox.ledger.events()
    if sandbox.ledger.totals().accepted > len(deliveries):
        raise ValueError("the ledger has forgotten events: give the sandbox a larger max_events")
    places: dict[str, Place] = {}
    nameless: set[Place] = set()
    for stored in produced:
        place = Place(stored.partition, stored.record.offset)
        message_id = _message_id(stored.record.value)
        if message_id is None:
            nameless.add(place)
        elif message_id in places:
            raise ValueError(f"{message_id} was produced twice: nobody could tell its deliveries apart")
        else:
            places[message_id] = place
    return Audit(
        places,
        frozenset(nameless),
        deliveries,
        _letters(cluster, topic),
        frozenset(filtered),
        cluster.committed(group, topic),
    )


def _letters(cluster: Cluster, topic: str) -> list[Place]:
    name = f"{topic}.dead-letters"
    if name not in cluster.topics():  # asking for it by name might make it
        return []
    wait_until(lambda: cluster.is_stable(name), 60, f"no transaction is open in {name}")
    letters = cluster.read_topic(name)
    return [Place(int(each.headers["dl-partition"]), int(each.headers["dl-offset"])) for each in letters]


def _message_id(value: bytes | None) -> str | None:
    """None for what is no event in the shipped schema, or one without an id of its own."""
    try:
        event = fastavro.schemaless_reader(io.BytesIO((value or b"")[_PREFIX_BYTES:]), _SCHEMA, None)
    except (EOFError, IndexError, ValueError):
        return None
    assert isinstance(event, dict)
    message_id = event["messageId"]
    assert message_id is None or isinstance(message_id, str)
    return message_id


def at_risk(
    requests: Sequence[Request], stopped_at: float, *, read_within_seconds: float = 0.0, answered_within_seconds: float
) -> int:
    """How many events a worker that dies at `stopped_at` (monotonic) may repeat: those of the requests on the wire, and
    of those answered so shortly before that their commit was still to come.

    The API may be `read_within_seconds` late to read what was sent.
    """
    return sum(
        len(request.message_ids)
        for request in requests
        if request.started_at.monotonic <= stopped_at + read_within_seconds
        and request.ended_at.monotonic >= stopped_at - answered_within_seconds
    )


def at_risk_in_any_order(
    requests: Sequence[Request],
    numbers: Callable[[str], int],
    stopped_at: float,
    *,
    read_within_seconds: float = 0.0,
    answered_within_seconds: float,
) -> int:
    """As `at_risk`, where several requests of one partition are on their way at once: what was answered behind one that
    was not is at risk with it. `numbers` gives an event's place in its partition.
    """
    begun = [request for request in requests if request.started_at.monotonic <= stopped_at + read_within_seconds]
    unsure = [request for request in begun if request.ended_at.monotonic >= stopped_at - answered_within_seconds]
    first = min((numbers(each) for request in unsure for each in request.message_ids), default=None)
    told = {each for request in begun for each in request.message_ids}
    return 0 if first is None else sum(numbers(each) >= first for each in told)


class CommitWatch:
    """Notes the group's offsets again and again, for as long as its block lasts."""

    def __init__(self, cluster: Cluster, group: str, topic: str, every_seconds: float = 0.05) -> None:
        self._cluster = cluster
        self._group = group
        self._topic = topic
        self._every_seconds = every_seconds
        self._samples: list[tuple[float, dict[int, int]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="commit-watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_seconds):
            committed = self._cluster.committed(self._group, self._topic)
            self._samples.append((time.monotonic(), committed))

    def seen_at(self, place: Place) -> float:
        """When what was there had first been seen committed (monotonic); infinite where it never was."""
        passed = (moment for moment, committed in self._samples if committed.get(place.partition, 0) > place.offset)
        return next(passed, float("inf"))

    def verify(self, run: Audit) -> None:
        """As `verify_commits`, of what was seen so far."""
        assert self._samples, "nothing was watched"
        verify_commits(self._samples, run)


def verify_commits(samples: Sequence[tuple[float, Mapping[int, int]]], run: Audit) -> None:
    """Raises AssertionError unless offsets only rose, and at every moment everything below them had its outcome.

    `samples`: when (monotonic), and the offsets by partition. A dead letter counts as settled whenever it is there at
    all: it appears in the step that moves the offset.
    """
    settled = _settled_at(run)
    before: dict[int, int] = {}
    for seen_at, committed in samples:
        for partition, next_offset in committed.items():
            assert next_offset >= before.get(partition, 0), f"partition {partition} went back to {next_offset}"
            early = [offset for offset, moment in settled[partition] if offset < next_offset and moment > seen_at]
            assert not early, f"partition {partition} was committed to {next_offset} before {early[0]} was settled"
        before |= committed


def _settled_at(run: Audit) -> dict[int, list[tuple[int, float]]]:
    """By partition: offset, and since when everything up to it has had its outcome."""
    moments = {place: float("inf") for place in {*run.places.values(), *run.nameless}}
    for event in reversed(run.deliveries):
        if event.message_id in run.places:
            moments[run.places[event.message_id]] = event.received_at.monotonic
    free = [*run.letters, *(run.places[message_id] for message_id in run.filtered)]
    moments |= dict.fromkeys(free, float("-inf"))
    by_partition: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for place in sorted(moments):
        by_partition[place.partition].append((place.offset, moments[place]))
    return {
        partition: list(zip([o for o, _ in rows], accumulate([m for _, m in rows], max), strict=True))
        for partition, rows in by_partition.items()
    }


def _some(found: Collection[object]) -> str:
    return ", ".join(map(str, sorted(found, key=str)[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
