"""From records to decisions, lane by lane: framing, schema, plan, decision. Holds what has to wait, decides nothing
about sending.

A record waits for its schema together with everything behind it in its partition, because order is kept. Too many
records in a row that do not decode are no poison but a bad deploy: they wait as well, until one decodes or the registry
knows better.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from worker.core.batching import Item
from worker.core.decisions import Decider
from worker.core.decoding import DecodeError, Event, Plan, SchemaRef, framing
from worker.core.identity import Identities
from worker.core.lanes import Decision, Lane
from worker.core.outcomes import DeadLetter, Reason, Stage
from worker.core.pace import Pace
from worker.core.records import Record, TopicPartition

# Is shown every decision, with the event where there is one to be read; nothing depends on what it makes of it. A
# record that was decided too early, its schema being unknown at first, is shown again.
Witness = Callable[[TopicPartition, Record, Event | None, Decision], None]


class Origin(NamedTuple):
    """What a dead letter was at first: the source's record, where it lay, and who is known there."""

    tp: TopicPartition
    record: Record
    identities: Identities


# Opens a dead letter that is to be decided again; or says at once what becomes of it.
Reopen = Callable[[TopicPartition, Record, float], Origin | Reason | DeadLetter]

# How long the registry's "no such schema" is believed, and how often a lane full of undecodable records asks again.
ASK_AGAIN_SECONDS = 30.0


class _SchemaMissingError(Exception):
    """Retry: the writer schema is not known yet; the lane waits."""

    def __init__(self, ref: SchemaRef) -> None:
        super().__init__(str(ref))
        self.ref = ref


@dataclass(slots=True)
class Intake:
    """`wanted` are the schemas to fetch, emptied by whoever fetches; `unavailable` says why the ones asked for are not
    here yet. `pace` None: as fast as it goes. With `reopen` the records are dead letters.
    """

    decider: Decider
    witness: Witness | None = None
    pace: Pace | None = None
    reopen: Reopen | None = None
    plans: dict[SchemaRef, Plan] = field(default_factory=dict)
    unknown: dict[SchemaRef, tuple[float, str]] = field(default_factory=dict)
    asked: set[SchemaRef] = field(default_factory=set)
    wanted: list[SchemaRef] = field(default_factory=list)
    unavailable: dict[SchemaRef, str] = field(default_factory=dict)

    def known(self, ref: SchemaRef, plan: Plan, lanes: Iterable[Lane] = ()) -> None:
        """Suspects of this schema are decided anew, and all behind them, before anything could acquit them."""
        self.plans[ref] = plan
        self.unknown.pop(ref, None)
        self._answered(ref)
        for lane in lanes:
            if ref in self._unknown_to(lane):
                self._put_back(lane)

    def not_known(self, ref: SchemaRef, detail: str, now: float) -> None:
        self.unknown = {other: answer for other, answer in self.unknown.items() if answer[0] > now}
        self.unknown[ref] = (now + ASK_AGAIN_SECONDS, detail)
        self._answered(ref)

    def _answered(self, ref: SchemaRef) -> None:
        self.asked.discard(ref)
        self.unavailable.pop(ref, None)

    def work(self, lane: Lane, now: float) -> None:
        """Decides the lane's backlog in order, as far as the schemas at hand and the pace reach."""
        if not lane.restored:
            return
        self._work(lane, now)
        lane.backlog_bytes = sum(record.size for record in lane.backlog)
        if not lane.backlog and not lane.suspects:
            lane.undecided_since = None
        elif lane.undecided_since is None:
            lane.undecided_since = now

    def work_all(self, lanes: Iterable[Lane], now: float) -> None:
        """Those first that have waited longest: the pace may leave nothing for the others."""
        for lane in sorted(lanes, key=lambda lane: lane.worked_at):
            self.work(lane, now)

    def _work(self, lane: Lane, now: float) -> None:
        while lane.backlog and (self.pace is None or self.pace.allows(now)):
            record = lane.backlog[0]
            try:
                if self.reopen is None:
                    event, decision = self._decide(lane, lane.tp, record, lane.identities, now)
                else:
                    event, decision = self._decide_again(lane, record, self.reopen(lane.tp, record, now), now)
            except _SchemaMissingError as missing:
                self._wait_for(missing.ref, lane, now)
                return
            if self.witness is not None:
                self.witness(lane.tp, record, event, decision)
            if self.pace is not None:
                self.pace.spend()
                lane.worked_at = now
            lane.backlog.popleft()
            if lane.undecodable_in_a_row and self._too_many_in_a_row(lane):
                lane.suspects.append((record, decision))
                lane.suspects_bytes += record.size
            else:
                lane.place(record, decision, now)
        lane.missing_schema = None

    @staticmethod
    def _too_many_in_a_row(lane: Lane) -> bool:
        return 0 < lane.limits.rejection_limit < lane.undecodable_in_a_row

    def ask_again(self, lane: Lane, now: float) -> None:
        """Puts a lane's suspects back to the start, once the registry's no has expired: it may know better by now."""
        if any(self.unknown.get(ref, (now, ""))[0] <= now for ref in self._unknown_to(lane)):
            self._put_back(lane)
            self.work(lane, now)

    @staticmethod
    def _unknown_to(lane: Lane) -> set[SchemaRef]:
        """The schemas its suspects wait for."""
        return {
            decision.schema
            for _, decision in lane.suspects
            if isinstance(decision, DeadLetter) and decision.reason is Reason.UNKNOWN_SCHEMA and decision.schema
        }

    @staticmethod
    def _put_back(lane: Lane) -> None:
        lane.backlog.extendleft(record for record, _ in reversed(lane.suspects))
        lane.suspects.clear()
        lane.suspects_bytes = 0

    def _wait_for(self, ref: SchemaRef, lane: Lane, now: float) -> None:
        """Asks for it, and at once for all others that the lane will need: one after the other, a few records of
        garbage with a made-up id each would hold it for minutes.
        """
        self._ask(ref)
        if lane.missing_schema == ref:
            return
        lane.missing_schema = ref
        for record in lane.backlog:
            try:
                other, _ = framing(record)
            except DecodeError:
                continue
            if other not in self.plans and self.unknown.get(other, (now, ""))[0] <= now:
                self._ask(other)

    def _ask(self, ref: SchemaRef) -> None:
        if ref not in self.asked:
            self.asked.add(ref)
            self.wanted.append(ref)

    def _decide_again(
        self, lane: Lane, record: Record, found: Origin | Reason | DeadLetter, now: float
    ) -> tuple[Event | None, Decision]:
        """As its source's record was decided; what becomes of it is the dead letter's own."""
        if not isinstance(found, Origin):
            return None, found
        event, decision = self._decide(lane, found.tp, found.record, found.identities, now)
        if isinstance(decision, Item | DeadLetter):
            decision = msgspec.structs.replace(decision, record=record)
        return event, decision

    def _decide(
        self, lane: Lane, tp: TopicPartition, record: Record, identities: Identities, now: float
    ) -> tuple[Event | None, Decision]:
        """Raises _SchemaMissingError; the record then stays where it is."""
        if record.value is None:
            return None, Reason.NULL_VALUE
        ref = None
        try:
            ref, start = framing(record)
            plan = self.plans.get(ref)
            if plan is None:
                return None, self._without_schema(lane, ref, record, now)
            event = plan.read(record.value, start)
        except DecodeError as error:
            lane.undecodable_in_a_row += 1
            return None, DeadLetter(record, Reason.UNDECODABLE, Stage.DECODE, str(error), now, ref)
        # Before the decision, not after it: what this event teaches belongs into its own span, not into that of the
        # suspects before it.
        lane.undecodable_in_a_row = 0
        if lane.suspects:
            lane.acquit(now)
        return event, self.decider.decide(tp, record, event, identities, schema=ref, now=now)

    def event_of(self, record: Record) -> Event | None:
        """The event of a record, read once more for somebody to look at; None where it cannot be read. Changes nothing,
        and may be called from any thread.
        """
        try:
            ref, start = framing(record)
            plan = self.plans.get(ref)
            return None if plan is None or record.value is None else plan.read(record.value, start)
        except DecodeError:
            return None

    def _without_schema(self, lane: Lane, ref: SchemaRef, record: Record, now: float) -> DeadLetter:
        expires_at, detail = self.unknown.get(ref, (now, ""))
        if expires_at <= now:
            raise _SchemaMissingError(ref)
        lane.undecodable_in_a_row += 1
        return DeadLetter(record, Reason.UNKNOWN_SCHEMA, Stage.DECODE, detail, now, ref)
