"""Notes what becomes of records, while and as far as somebody looks. Decodes, masks and sends nothing.

`turned`, `decided`, `answered` and `committed` are for the loop's thread; `watch` and a watch's `take` for the status
server's. The pipeline is touched on the loop's thread alone: a new watcher is registered, and the next turn switches
the pipeline's witness on. A watcher who has taken nothing for some seconds, because it left, hangs or is too slow, is
forgotten; with the last one the witness goes, and all that was kept.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

import msgspec

from worker.core.batching import Batch, Item
from worker.core.commands import Commit
from worker.core.decisions import OTHER
from worker.core.decoding import Event
from worker.core.intake import Witness
from worker.core.lanes import Decision, Lane
from worker.core.mapping import EventMapping, snake_case
from worker.core.outcomes import Answer, DeadLetter, Reason, Stage, Verdict
from worker.core.payloads import derived_message_id
from worker.core.pipeline import Pipeline
from worker.core.records import Record, TopicPartition
from worker.tap.moments import Moment, Reply, Ring, Seen, Wanted

MAX_WATCHES = 8
# Event names come from a handful of call sites.
MAX_NAMES = 1_000
# Long enough to come back to after a dropped connection, short enough that somebody who has gone costs nothing.
FORGOTTEN_AFTER_SECONDS = 10.0
# Payloads of refused items, until the commit tells what has become of them.
REFUSED_MAX_BYTES = 4_000_000

_SEEN = {
    Verdict.TAKEN: Seen.DELIVERED,
    Verdict.NOT_NOW: Seen.RETRIED,
    Verdict.TOO_BIG: Seen.REFUSED,
    Verdict.BAD: Seen.REFUSED,
    Verdict.FORBIDDEN: Seen.HELD,
    Verdict.WRONG_ADDRESS: Seen.HELD,
}
# Other dead letters are seen when they are decided, with the event at hand.
_SEEN_AT_COMMIT = (Stage.DECODE, Stage.DELIVER)


class _Name(msgspec.Struct):
    type: str
    event: str = ""


_name = msgspec.json.Decoder(_Name)


@dataclass(slots=True)
class Watch:
    """One watcher: what it wants, and what there is of that. `identifier` is a new one at every start of recording."""

    wanted: Wanted
    identifier: str
    taken_at: float
    clock: Callable[[], float]
    ring: Ring = field(default_factory=Ring)
    forgotten: bool = False

    def take(self, number: int, limit: int) -> tuple[int, list[tuple[int, Moment]]]:
        """What follows `number` in its ring; asking for it is what keeps the watch alive."""
        self.taken_at = self.clock()
        return self.ring.after(number, limit)


class Tap:
    """`clock` is monotonic; `wall` is the time of day, in seconds since 1970. `mapping` is one of its own: which names
    an event goes by.
    """

    def __init__(self, mapping: EventMapping, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._mapping = mapping
        self._names_of = lru_cache(MAX_NAMES)(self._all_names)
        self._clock = clock
        self._wall = wall
        self._lock = Lock()
        self._watches: tuple[Watch, ...] = ()
        self._pipeline: Pipeline | None = None
        self._other: Witness | None = None
        self._refused: OrderedDict[tuple[TopicPartition, int], Item] = OrderedDict()
        self._refused_bytes = 0

    def watch(self, wanted: Wanted, identifier: str = "") -> Watch | None:
        """A new watch, or the one of this identifier where it is still kept; None where there are too many."""
        wanted = Wanted(wanted.seen, wanted.reasons, wanted.message_ids, self._all_names(wanted.names))
        with self._lock:
            for watch in self._watches:
                if watch.identifier == identifier and watch.wanted == wanted:
                    watch.taken_at = self._clock()
                    return watch
            if len(self._watches) >= MAX_WATCHES:
                return None
            watch = Watch(wanted, secrets.token_hex(8), self._clock(), self._clock)
            self._watches = (*self._watches, watch)
            return watch

    def event_of(self, record: Record) -> Event | None:
        """Any thread: the event of a record, read once more."""
        pipeline = self._pipeline
        return pipeline.intake.event_of(record) if pipeline else None

    def turned(self, pipeline: Pipeline) -> None:
        """Once a turn: forgets who has gone, and lets the intake show its decisions while anybody looks."""
        recording = self._pipeline is not None
        if not self._watches and not recording:
            return
        self._forget(self._clock() - FORGOTTEN_AFTER_SECONDS)
        if self._watches and not recording:
            self._pipeline, self._other = pipeline, pipeline.intake.witness
            pipeline.intake.witness = self.decided
        elif recording and not self._watches:
            pipeline.intake.witness = self._other
            self._pipeline = self._other = None
            self._refused.clear()
            self._refused_bytes = 0

    def _forget(self, before: float) -> None:
        with self._lock:
            for watch in self._watches:
                watch.forgotten = watch.taken_at < before
            self._watches = tuple(watch for watch in self._watches if not watch.forgotten)

    def decided(self, tp: TopicPartition, record: Record, event: Event | None, decision: Decision) -> None:
        """The intake's witness, in front of the one that was there before."""
        if self._other is not None:
            self._other(tp, record, event, decision)
        if isinstance(decision, Item):
            if watches := self._who_wants(Seen.PENDING):
                self._add(watches, self._of_item(tp, decision, Seen.PENDING, None))
            return
        letter = decision if isinstance(decision, DeadLetter) else None
        if letter is not None and event is None:
            return  # it may be decided anew; the commit tells what becomes of it
        seen, reason = (Seen.DEAD_LETTERED, letter.reason) if letter else (Seen.FILTERED, decision)
        watches = self._who_wants(seen)
        if not watches:
            return
        assert isinstance(reason, Reason)
        message_id, name = _ids(tp, record, event)
        detail = letter.detail if letter else ""
        self._add(watches, Moment(self._now_ms(), tp, record, seen, reason, message_id, name, detail))

    def answered(self, batch: Batch, answer: Answer) -> None:
        """After the pipeline has heard of it: one moment for each event of the batch."""
        if self._pipeline is None:
            return
        seen = _SEEN[answer.verdict]
        if seen is not Seen.DELIVERED:
            self._keep_refused(batch)
        watches = self._who_wants(seen)
        if not watches:
            return
        reply = Reply(
            status=answer.label,
            attempts=_attempts(self._pipeline.lanes.get(batch.tp), batch),
            text=answer.body,
            quotes=answer.status is not None,
            milliseconds=round((answer.ended_at - answer.started_at) * 1000),
            events=len(batch.items),
        )
        for item in batch.items:
            self._add(watches, self._of_item(batch.tp, item, seen, reply))

    def committed(self, commit: Commit) -> None:
        """Dead letters that no decision about an event has shown: they are written now."""
        if self._pipeline is None:
            return
        watches = self._who_wants(Seen.DEAD_LETTERED)
        for share in commit.lanes:
            for letter in share.dead_letters:
                if watches and letter.stage in _SEEN_AT_COMMIT:
                    self._add(watches, self._of_letter(share.tp, letter))

    def _of_item(self, tp: TopicPartition, item: Item, seen: Seen, reply: Reply | None) -> Moment:
        name = item.label
        if name == OTHER:
            sent = _name.decode(item.payload)
            name = sent.event or sent.type
        return Moment(
            self._now_ms(),
            tp,
            item.record,
            seen,
            message_id=item.message_id,
            name=name,
            payload=item.payload,
            reply=reply,
        )

    def _of_letter(self, tp: TopicPartition, letter: DeadLetter) -> Moment:
        record = letter.record
        item = self._refused.get((tp, record.offset))
        message_id, name = _ids(tp, record, self.event_of(record))
        reply = None
        if letter.stage is Stage.DELIVER:
            status = "no answer" if letter.http_status is None else str(letter.http_status)
            reply = Reply(status, letter.attempts, letter.http_body, quotes=letter.http_status is not None)
        return Moment(
            self._now_ms(),
            tp,
            record,
            Seen.DEAD_LETTERED,
            letter.reason,
            message_id,
            name,
            letter.detail,
            item.payload if item else None,
            reply,
        )

    def _keep_refused(self, batch: Batch) -> None:
        for item in batch.items:
            key = (batch.tp, item.record.offset)
            if key not in self._refused:
                self._refused[key] = item
                self._refused_bytes += len(item.payload) + item.record.size
        while self._refused_bytes > REFUSED_MAX_BYTES:
            _, item = self._refused.popitem(last=False)
            self._refused_bytes -= len(item.payload) + item.record.size

    def _who_wants(self, seen: Seen) -> Sequence[Watch]:
        return [watch for watch in self._watches if seen in watch.wanted.seen]

    def _add(self, watches: Iterable[Watch], moment: Moment) -> None:
        for watch in watches:
            names = self._names_of((moment.name,)) if watch.wanted.names else ()
            if watch.wanted.takes(moment, names):
                watch.ring.add(moment)

    def _all_names(self, names: Collection[str]) -> frozenset[str]:
        """These and what they are sent as, so that an event is found under Signal's name and under Dreamdata's."""
        sent = (self._mapping.track(name) for name in names)
        return frozenset(snake_case(name) for name in (*names, *sent) if not isinstance(name, Reason))

    def _now_ms(self) -> int:
        return round(self._wall() * 1000)


def _ids(tp: TopicPartition, record: Record, event: Event | None) -> tuple[str, str]:
    """The messageId and the name that an event goes by before anything is sent; empty where there is no event."""
    if event is None:
        return "", ""
    name = event.event if event.type == "track" else event.type
    return event.message_id or derived_message_id(tp, record), name or ""


def _attempts(lane: Lane | None, batch: Batch) -> int:
    """How often the batch was tried, as its span or, once halved, the first of its halves says."""
    if lane is None or lane.epoch != batch.epoch:
        return 0
    return next((span.trouble.attempts for span in lane.spans if span.first_offset == batch.first_offset), 0)
