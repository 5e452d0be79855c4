"""A simulator that notes in which situations it has been, so that a random walk can say what it has come through.

It watches and changes nothing. A situation that no walk reaches is one that no invariant was ever asserted in.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum

from tests.builders import answer
from tests.simulator import Request, Simulator
from worker.core.batching import Span, SpanState
from worker.core.commands import Command, Commit, Pause, Release, Resume
from worker.core.lanes import Lane, Limits
from worker.core.outcomes import Answer, HoldReason, Outcome, Reason, Verdict
from worker.core.records import TopicPartition


class Situation(Enum):
    LATE_AFTER_REVOKE = "an answer to a lane given away"
    LATE_OF_OLDER_EPOCH = "an answer of an older epoch, the lane being back"
    LATE_REJECTION = "a late 400 or 413"
    LATE_REFUSAL = "a late 401, 403 or 404"
    SETTLED_OUT_OF_ORDER = "settled behind a span that is not"
    HALVED = "halved"
    HALVED_AMONG_OTHERS = "halved with others of its lane in flight"
    HALVED_AS_PROBE = "a probe halved, the key being proved by it"
    TAKEN_WHILE_HELD = "taken while held, but no probe"
    PROBE_OPENED = "a probe taken"
    PROBE_OPENED_WITHOUT_LANE = "a probe taken whose lane was given away"
    PROBE_REFUSED = "a probe refused"
    PROBE_UNANSWERED = "a probe without an answer, or with a 5xx"
    PROBE_ON_THE_WIRE_AT_REVOKE = "revoked with its probe on the wire"
    PROBE_TAKEN_BACK = "revoked with its probe not started yet"
    REVOKED_WHILE_HELD = "revoked while held"
    REVOKED_ON_THE_WIRE = "revoked with requests on the wire"
    REVOKED_UNRESTORED = "revoked before it was restored"
    REVOKED_BESIDE_REFUSED = "revoked together with a lane whose writes are refused"
    LOST_WITH_TRANSACTION = "lost with its transaction in the air"
    LAST_COMMIT_FAILED = "the last commit of a revoke failed"
    LAST_COMMIT_TOO_LATE = "the last commit of a revoke still in the air"
    LANDED_AFTER_REVOKE = "a transaction landed after its lane was given away"
    TRANSACTION_FAILED = "a transaction failed for no lane's fault"
    TRANSACTION_REFUSED = "a transaction refused"
    TRANSACTION_OF_MANY_FAILED = "a transaction of several lanes failed"
    DIED_ON_THE_WIRE = "killed with requests on the wire"
    DIED_IN_TRANSACTION = "killed with a transaction in the air"
    HOLD_TOOK_BACK = "a hold took back what had not started"
    HELD_FOR_KEY = "held for the key"
    HELD_FOR_ADDRESS = "held for the address"
    HELD_FOR_REJECTIONS = "held for rejections"
    HELD_FOR_TWO_REASONS = "held for the key and for rejections"
    RELEASED = "released"
    PAUSED = "paused by back-pressure"
    RESUMED = "resumed"
    POSITION_COMMITTED = "a bare position committed, past markers"
    IDENTITY_COMMITTED = "an identity committed"
    IDENTITY_FORGOTTEN = "a visitor forgotten"
    SUSPECTED_FOR_403 = "suspected for its 403"
    SUSPECTED_FOR_500 = "suspected for its 5xx"
    CONDEMNED = "a sentence passed on suspicion"
    CONDEMNED_CARRIED_OUT = "a sentence passed on suspicion carried out"
    CONDEMNED_ACQUITTED = "taken after a sentence was passed on suspicion"
    PARKED_FOR_REJECTIONS = "a rejected single parked while too many were"
    GAVE_UP = "given up"
    SCHEMA_AWAITED = "a backlog that waits for a schema"
    UNDECODABLE_IN_A_ROW = "too many undecodable in a row"


class Watched(Simulator):
    """`seen` counts, over the whole life."""

    def __init__(self, limits: Limits, *, partitions: int) -> None:
        super().__init__(limits, partitions=partitions)
        self.seen: Counter[Situation] = Counter()
        self.revoking = False

    def note(self, situation: Situation, *, when: bool = True) -> None:
        if when:
            self.seen[situation] += 1

    def come_home(self, request: Request, status: int | None) -> Answer:
        batch = request.batch
        lane = self.pipeline.lanes.get(batch.tp)
        span = lane.span_of(batch) if lane else None
        verdict = answer(status, self.now).verdict
        if lane is None or span is None:
            self._note_late(lane, verdict, probe=request.probe)
        else:
            self._note_answer(request, lane, span, verdict)
        condemned = self._condemned()
        suspect = span is not None and span.trouble.suspect
        came = super().come_home(request, status)
        for parked in condemned:
            ended = parked.state is SpanState.SETTLED
            self.note(Situation.CONDEMNED_CARRIED_OUT, when=ended and bool(parked.dead_letters))
            self.note(Situation.CONDEMNED_ACQUITTED, when=ended and not parked.dead_letters)
        if span is not None and not suspect and span.trouble.suspect:
            self.note(Situation.SUSPECTED_FOR_403 if status == 403 else Situation.SUSPECTED_FOR_500)
        if span is not None and span.trouble.sentence and span not in condemned:
            self.note(Situation.CONDEMNED if span.trouble.suspect else Situation.PARKED_FOR_REJECTIONS)
        return came

    def _condemned(self) -> list[Span]:
        spans = (span for lane in self.pipeline.lanes.values() for span in lane.spans)
        return [span for span in spans if span.trouble.sentence and span.trouble.suspect]

    def _note_late(self, lane: Lane | None, verdict: Verdict, *, probe: bool) -> None:
        self.note(Situation.LATE_AFTER_REVOKE if lane is None else Situation.LATE_OF_OLDER_EPOCH)
        self.note(Situation.LATE_REJECTION, when=verdict in (Verdict.BAD, Verdict.TOO_BIG))
        self.note(Situation.LATE_REFUSAL, when=verdict in (Verdict.FORBIDDEN, Verdict.WRONG_ADDRESS))
        self.note(Situation.PROBE_OPENED_WITHOUT_LANE, when=probe and verdict is Verdict.TAKEN)

    def _note_answer(self, request: Request, lane: Lane, span: Span, verdict: Verdict) -> None:
        probe, many = request.probe, len(request.batch.items) > 1
        match verdict:
            case Verdict.TAKEN:
                before = [other for other in lane.spans if other.first_offset < span.first_offset]
                self.note(
                    Situation.SETTLED_OUT_OF_ORDER, when=any(other.state is not SpanState.SETTLED for other in before)
                )
                self.note(Situation.PROBE_OPENED, when=probe)
                self.note(Situation.TAKEN_WHILE_HELD, when=self.pipeline.gate.shut and not probe)
            case Verdict.BAD | Verdict.TOO_BIG if many:
                self.note(Situation.HALVED)
                self.note(Situation.HALVED_AS_PROBE, when=probe)
                sent = sum(other.state is SpanState.SENT for other in lane.spans)
                self.note(Situation.HALVED_AMONG_OTHERS, when=sent > 1)
            case Verdict.NOT_NOW:
                self.note(Situation.PROBE_UNANSWERED, when=probe)
            case Verdict.FORBIDDEN | Verdict.WRONG_ADDRESS:
                self.note(Situation.PROBE_REFUSED, when=probe)

    def revoke(self, chosen: Iterable[TopicPartition], *, lost: bool = False, landing: str = "ok") -> None:
        chosen = list(chosen)
        lanes = [self.pipeline.lanes[each] for each in chosen if each in self.pipeline.lanes]
        wire = [request for request in self.wire if request.batch.tp in chosen]
        refused = [lane for lane in lanes if lane.trouble.refusal]
        self.note(Situation.REVOKED_WHILE_HELD, when=self.pipeline.gate.shut)
        self.note(Situation.REVOKED_ON_THE_WIRE, when=bool(wire))
        self.note(Situation.PROBE_ON_THE_WIRE_AT_REVOKE, when=any(request.probe for request in wire))
        self.note(Situation.REVOKED_UNRESTORED, when=any(not lane.restored for lane in lanes))
        self.note(Situation.REVOKED_BESIDE_REFUSED, when=0 < len(refused) < len(lanes))
        self.note(Situation.LOST_WITH_TRANSACTION, when=lost and self.commit is not None)
        queued = [request for request in self.queued if request.probe and request.batch.tp in chosen]
        self.note(Situation.PROBE_TAKEN_BACK, when=bool(queued))
        self.revoking = True
        super().revoke(chosen, lost=lost, landing=landing)
        self.revoking = False
        self.note(Situation.LAST_COMMIT_TOO_LATE, when=not lost and self.commit is not None)

    def die(self, *, taken: bool, landed: bool) -> None:
        self.note(Situation.DIED_ON_THE_WIRE, when=bool(self.wire))
        self.note(Situation.DIED_IN_TRANSACTION, when=self.commit is not None)
        super().die(taken=taken, landed=landed)

    def land(self, *, ok: bool = True, refusal: HoldReason | None = None) -> None:
        commit = self.commit
        if commit is not None:
            gone = any(share.tp not in self.pipeline.lanes for share in commit.lanes)
            if ok and not self.fenced:
                self.note(Situation.LANDED_AFTER_REVOKE, when=gone)
            else:
                self.note(Situation.TRANSACTION_REFUSED if refusal else Situation.TRANSACTION_FAILED)
                self.note(Situation.TRANSACTION_OF_MANY_FAILED, when=len(commit.lanes) > 1)
                self.note(Situation.LAST_COMMIT_FAILED, when=self.revoking)
        super().land(ok=ok, refusal=refusal)

    def _begin(self, commit: Commit | None) -> None:
        for share in commit.lanes if commit else ():
            self.note(Situation.POSITION_COMMITTED, when=not share.spans)
            self.note(Situation.IDENTITY_COMMITTED, when=any(change.state is not None for change in share.changes))
            self.note(Situation.IDENTITY_FORGOTTEN, when=any(change.state is None for change in share.changes))
            self.note(Situation.GAVE_UP, when=share.outcomes[Outcome.DEAD_LETTERED, Reason.GAVE_UP] > 0)
        super()._begin(commit)

    def _take_back(self, unwanted: Callable[[Request], bool]) -> None:
        self.note(Situation.HOLD_TOOK_BACK, when=self.shut and any(map(unwanted, self.queued)))
        super()._take_back(unwanted)

    def tick(self) -> list[Command]:
        commands = super().tick()
        for command in commands:
            self.note(Situation.RELEASED, when=isinstance(command, Release))
            self.note(Situation.PAUSED, when=isinstance(command, Pause))
            self.note(Situation.RESUMED, when=isinstance(command, Resume))
        self.note(Situation.HELD_FOR_KEY, when=HoldReason.UNAUTHORIZED in self.held)
        self.note(Situation.HELD_FOR_ADDRESS, when=HoldReason.WRONG_ADDRESS in self.held)
        self.note(Situation.HELD_FOR_REJECTIONS, when=HoldReason.REJECTIONS in self.held)
        self.note(Situation.HELD_FOR_TWO_REASONS, when=len(self.held) > 1)
        for lane in self.pipeline.lanes.values():
            self.note(Situation.SCHEMA_AWAITED, when=lane.missing_schema is not None)
            self.note(Situation.UNDECODABLE_IN_A_ROW, when=bool(lane.suspects))
        return commands
