"""What was known of visitors where a part of a replay begins: what the live group's identity log has from before it,
and what earlier records of the topic teach where the log does not tell.

Nothing is written, no log is made. Everything is read and reported from the identity log's threads, one partition after
the other; what is read is judged as `run` judges it.
"""

import threading
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from worker.core.decisions import Decider
from worker.core.decoding import DecodeError, Plan, SchemaRef, framing
from worker.core.identity import Identities, Known, visitor_of
from worker.core.records import Record, TopicPartition
from worker.core.restoring import Restoration
from worker.errors import KafkaUnavailableError, NoSuchSchemaError, SchemaUnavailableError, SettingsError
from worker.identity_log import LogFinding, Restored, Restoring, Visitors
from worker.replay.options import WarmUp
from worker.scout import Place
from worker.starting import VisitorSource

PROGRESS_RECORDS = 10_000
AGAIN_SECONDS = 3.0

Report = Callable[[LogFinding], None]
# The records of `[first_offset, end_offset)`; raises KafkaUnavailableError, or SettingsError where they are gone.
Read = Callable[[TopicPartition, int, int], Generator[Record]]


class TimeFinder(Protocol):
    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]: ...


class _NotWantedError(Exception):
    """Stop: the partition was given away while it was read."""


class Learner:
    """What records teach. `find` asks for a schema and may take its time."""

    def __init__(self, decider: Decider, find: Callable[[SchemaRef], Plan]) -> None:
        self._decider = decider
        self._find = find
        self._plans: dict[SchemaRef, Plan | None] = {}
        self._doubted: set[SchemaRef] = set()

    def learn(self, record: Record, restoration: Restoration, identities: Identities) -> None:
        """Raises SchemaUnavailableError; the record is then still to be learned from."""
        if record.value is None:
            return
        try:
            ref, start = framing(record)
            plan = self._plan(ref)
            event = None if plan is None else plan.read(record.value, start)
        except DecodeError:
            return
        visitor = None if event is None else visitor_of(event.anonymous_id, event.user_id)
        if event is None or visitor is None or restoration.tells_of(visitor):
            return
        self._decider.remember(record, event, identities)
        identities.changes.clear()

    def _plan(self, ref: SchemaRef) -> Plan | None:
        """None where there definitely is no such schema: it has to be said twice."""
        if ref not in self._plans:
            try:
                self._plans[ref] = self._find(ref)
            except NoSuchSchemaError as error:
                if ref not in self._doubted:
                    self._doubted.add(ref)
                    raise SchemaUnavailableError(str(error)) from error
                self._plans[ref] = None
        return self._plans[ref]


class PastVisitors:
    """A VisitorSource. `log` makes the one that reads the identity log, given whom to tell."""

    def __init__(
        self,
        log: Callable[[Report], VisitorSource],
        finder: TimeFinder,
        read: Read,
        learner: Learner,
        warm_up: WarmUp,
        ttl_ms: int,
        report: Report,
        *,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._again_seconds = again_seconds
        self._finder = finder
        self._read = read
        self._learner = learner
        self._warm_up = warm_up
        self._ttl_ms = ttl_ms
        self._report = report
        self._wanted: dict[TopicPartition, Place] = {}
        self._changed = threading.Event()
        self._log = log(self._heard)

    def restore(self, places: Collection[Place]) -> None:
        """Of those that have nothing left to read, nothing has to be known."""
        done = [place for place in places if _done(place)]
        if done:
            self._report(Restored(tuple(Visitors(place, "", Restoration(0, ""), 0) for place in done)))
        rest = [place for place in places if place not in done]
        self._wanted.update((place.tp, place) for place in rest)
        self._log.restore(rest)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        for tp in partitions:
            self._wanted.pop(tp, None)
        self._changed.set()
        self._log.drop(partitions)

    def close(self) -> None:
        self._wanted.clear()
        self._changed.set()
        self._log.close()

    def _heard(self, finding: LogFinding) -> None:
        if not isinstance(finding, Restored):
            self._report(finding)
            return
        for visitors in finding.visitors:
            try:
                self._report(Restored((self._completed(visitors),)))
            except _NotWantedError:
                continue

    def _completed(self, visitors: Visitors) -> Visitors:
        place, restoration = visitors.place, visitors.restoration
        first = None if self._warm_up.nothing else self._learn_earlier(place, restoration)
        stretch = place.start.stretch
        if stretch is None or place.start.offset > stretch.first_offset:
            return visitors
        # from the very first record on, nothing of anybody can have been missed
        unknown = 0 if first == 0 else restoration.unknown
        return replace(visitors, place=replace(place, start=replace(place.start, stretch=stretch.unsure_of(unknown))))

    def _learn_earlier(self, place: Place, restoration: Restoration) -> int:
        """Returns the offset from which on earlier records were read."""
        while True:
            self._check_wanted(place)
            try:
                return self._learn_once(place, restoration)
            except KafkaUnavailableError as error:
                self._say(place, f"reading earlier records fails: {error}")
            except SettingsError:
                self._say(place, "earlier records were deleted while they were read; they are read again")
            self._wait()

    def _learn_once(self, place: Place, restoration: Restoration) -> int:
        tp, end = place.tp, place.start.offset
        first = self._first_offset(tp, end)
        identities = Identities(self._ttl_ms, Known({}, dict(restoration.known.forgotten_until)))
        with closing(self._read(tp, first, end)) as records:
            for number, record in enumerate(records):
                if number % PROGRESS_RECORDS == 0:
                    self._check_wanted(place)
                    done, total = record.offset - first, end - first
                    self._say(place, f"restoring visitors, {done:,} of {total:,} earlier offsets read")
                self._learn(place, record, restoration, identities)
        restoration.complete(identities.states)
        return first

    def _first_offset(self, tp: TopicPartition, end: int) -> int:
        first = min(self._finder.starts([tp])[tp], end)
        since_ms = self._warm_up.since_ms
        if self._warm_up.span_ms is not None and first < end:
            with closing(self._read(tp, end - 1, end)) as records:
                last = next(records, None)
            since_ms = None if last is None else max(0, last.timestamp_ms - self._warm_up.span_ms)
        if since_ms is None:
            return first
        found = self._finder.at_time([tp], since_ms)
        return min(found.get(tp, (end, 0))[0], end)

    def _learn(self, place: Place, record: Record, restoration: Restoration, identities: Identities) -> None:
        while True:
            try:
                self._learner.learn(record, restoration, identities)
                return
            except SchemaUnavailableError as error:
                self._say(place, f"restoring visitors, waiting for a schema: {error}")
            self._wait()
            self._check_wanted(place)

    def _wait(self) -> None:
        self._changed.clear()
        self._changed.wait(self._again_seconds)

    def _check_wanted(self, place: Place) -> None:
        if self._wanted.get(place.tp) is not place:
            raise _NotWantedError

    def _say(self, place: Place, progress: str) -> None:
        self._report(Restoring((place.tp,), progress))


def _done(place: Place) -> bool:
    return place.start.stretch is not None and place.start.offset >= place.start.stretch.end_offset
