"""The state machine: facts in, commands out. The only place where settle, halve, park, hold and commit are decided.

Facts are methods named in the past tense; they change state and return nothing. `ticked` returns what is to be done
now, and is called once a turn of the loop, whatever has happened. No method blocks, and none may be called from another
thread than the loop's.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from worker.core.batching import Batch, Span, SpanState
from worker.core.commands import Command, Commit, Deliver, FetchSchema, Hold, LaneCommit, Pause, Release, Resume
from worker.core.decisions import Decider
from worker.core.decoding import Plan, SchemaRef
from worker.core.gate import Gate
from worker.core.identity import Identities, Known
from worker.core.intake import Intake
from worker.core.judging import Judge
from worker.core.lanes import MAX_COMMIT_BYTES, Lane, Limits
from worker.core.outcomes import Answer, HoldReason
from worker.core.records import Record, TopicPartition
from worker.core.stretches import Stretch

# From the beginning of one transaction to that of the next. Each costs 1.5-2 ms of CPU; ten a second keep that at some
# 2 % and bound what a crash repeats to a tenth of a second's answers and those that came during the last transaction.
COMMIT_INTERVAL_SECONDS = 0.1
COMMIT_RETRY_INITIAL_SECONDS = 1.0
COMMIT_RETRY_MAX_SECONDS = 60.0


class Pipeline:
    """All lanes of one worker, and the gate of its key."""

    def __init__(self, decider: Decider, limits: Limits, *, identity_ttl_ms: int) -> None:
        self.gate = Gate(limits.rejection_limit)
        self.intake = Intake(decider)
        self.lanes: dict[TopicPartition, Lane] = {}
        self._limits = limits
        self._identity_ttl_ms = identity_ttl_ms
        self._judge = Judge(self.gate, limits)
        self._epochs = count(1)
        self._numbers = count(1)
        self._last_probed: TopicPartition | None = None
        self._held: tuple[HoldReason, ...] = ()
        self._commit: Commit | None = None
        self._commit_began_at = float("-inf")
        self._draining = False

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions are ours. Nothing is read from them until `restored`."""
        epoch = next(self._epochs)
        for tp in partitions:
            self.lanes[tp] = Lane(tp, epoch, self._limits, Identities(self._identity_ttl_ms))

    def restoring(self, tp: TopicPartition, progress: str, *, refused: bool = False) -> None:
        """Its visitors are being read; or cannot be, until somebody mends what `progress` says."""
        lane = self.lanes.get(tp)
        if lane is not None:
            lane.restoring, lane.restore_refused = progress, refused

    def restored(
        self,
        tp: TopicPartition,
        start: int,
        committed: int | None,
        known: Known | None = None,
        topic_id: str = "",
        stretch: Stretch | None = None,
    ) -> None:
        """Reading starts at `start`; `committed` is what the group has committed, None where nothing: then the start
        itself is committed. `known` are the visitors as of `start`, the pipeline's from now on. With a `stretch` it
        has an end.

        Otherwise a group that starts at the end of a quiet topic would start at a later end after a restart, past what
        came in between.
        """
        lane = self.lanes.get(tp)
        if lane is not None:
            lane.restored = True
            lane.position = start
            lane.committed = committed
            lane.topic_id = topic_id
            lane.stretch = stretch
            lane.identities = Identities(self._identity_ttl_ms, known)

    def forgotten(self, tp: TopicPartition, visitor: str, until: int) -> None:
        """An operator has had a visitor forgotten, with all that this partition holds below the offset `until`."""
        lane = self.lanes.get(tp)
        if lane is not None and lane.restored:
            lane.identities.forget_by_hand(visitor, until=until)

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """The lanes are given away, after their last commit or without one (lost). Late answers find no lane and change
        nothing in any.
        """
        for tp in partitions:
            self.lanes.pop(tp, None)

    def received(
        self, records: Mapping[TopicPartition, Sequence[Record]], positions: Mapping[TopicPartition, int], now: float
    ) -> None:
        """A chunk was read. `positions` are the consumer's, asked after the chunk: past transaction markers, which are
        never handed out.
        """
        for tp, chunk in records.items():
            lane = self.lanes.get(tp)
            if lane is None:
                continue
            lane.take_in(chunk)
            self.intake.work(lane, now)
        for tp, position in positions.items():
            if tp in self.lanes and self.lanes[tp].restored:
                self.lanes[tp].position = max(self.lanes[tp].position or 0, self.lanes[tp].within(position))

    def schema_known(self, ref: SchemaRef, plan: Plan, now: float) -> None:
        self.intake.known(ref, plan, self.lanes.values())
        self.intake.work_all(self.lanes.values(), now)

    def schema_unknown(self, ref: SchemaRef, detail: str, now: float) -> None:
        self.intake.not_known(ref, detail, now)
        self.intake.work_all(self.lanes.values(), now)

    def schema_unavailable(self, ref: SchemaRef, detail: str) -> None:
        """Nobody could say. The lanes go on waiting; `detail` is what to tell the operator."""
        self.intake.unavailable[ref] = detail

    def answered(self, batch: Batch, answer: Answer, now: float) -> None:
        """One attempt ended. A lane of another epoch is left alone, but the gate hears of every answer."""
        lane = self.lanes.get(batch.tp)
        span = lane.span_of(batch) if lane else None
        self._judge.answered(batch.number, answer, lane if span else None, span, self.lanes.values(), now)

    def withdrawn(self, batches: Iterable[Batch], now: float) -> None:
        """The sender has given these back before they were on the wire."""
        for batch in batches:
            self.gate.dropped(batch.number, now)
            lane = self.lanes.get(batch.tp)
            span = lane.span_of(batch) if lane else None
            if span is not None:
                span.state = SpanState.SEALED

    def committed(self, commit: Commit, now: float) -> None:
        self._landed(commit)
        for share in commit.lanes:
            lane = self._owner(share)
            if lane is not None:
                lane.committed_share(share, now)

    def commit_failed(self, commit: Commit, refusal: HoldReason | None, detail: str, now: float) -> None:
        """The transaction was aborted: nothing of it is visible. Lanes still owned try again, each alone, so that one
        cannot hold the others.

        `refusal` None: a passing fault of the group or the coordinator, not worth holding the lane for.
        """
        self._landed(commit)
        for share in commit.lanes:
            lane = self._owner(share)
            if lane is None:
                continue
            trouble = lane.trouble
            if len(commit.lanes) == 1:
                backoff = COMMIT_RETRY_INITIAL_SECONDS * 2 ** min(trouble.attempts, 10)
                trouble.not_before = now + min(backoff, COMMIT_RETRY_MAX_SECONDS)
                trouble.refusal = refusal
            trouble.detail = detail
            trouble.attempts += 1

    def _landed(self, commit: Commit) -> None:
        if self._commit is commit:
            self._commit = None

    def _owner(self, share: LaneCommit) -> Lane | None:
        lane = self.lanes.get(share.tp)
        return lane if lane is not None and lane.epoch == share.epoch else None

    @property
    def committing(self) -> bool:
        """Whether a transaction is in the air; there is never more than one."""
        return self._commit is not None

    def last_commit(self, partitions: Iterable[TopicPartition]) -> Commit | None:
        """What these lanes can still commit before they are given away, whatever their back-off. Only with no
        transaction in the air.

        Without the lanes whose writes are refused: theirs would take those of the others down with them.
        """
        assert not self.committing
        lanes = [self.lanes[tp] for tp in partitions if tp in self.lanes]
        return self._begin([lane for lane in lanes if lane.trouble.refusal is None])

    def _begin(self, lanes: Iterable[Lane]) -> Commit | None:
        """One commit of what these lanes have settled, those first that have waited longest, as much as it carries."""
        shares: list[LaneCommit] = []
        commit_bytes = 0
        for lane in sorted(lanes, key=lambda lane: lane.committed_at):
            share = lane.share()
            if share is None:
                continue
            commit_bytes += share.extra_bytes
            if shares and commit_bytes > MAX_COMMIT_BYTES:
                break
            shares.append(share)
        self._commit = Commit(tuple(shares)) if shares else None
        return self._commit

    def _commit_due(self, now: float) -> Commit | None:
        if self.committing or now - self._commit_began_at < COMMIT_INTERVAL_SECONDS:
            return None
        lanes = [lane for lane in self.lanes.values() if lane.restored and now >= lane.trouble.not_before]
        alone = [lane for lane in lanes if lane.trouble.alone and lane.share() is not None]
        commit = self._begin(alone[:1] or [lane for lane in lanes if not lane.trouble.alone])
        if commit is not None:
            self._commit_began_at = now
        return commit

    def drained(self) -> bool:
        """Whether, while stopping, nothing is left to send or commit. What is not decided is read again next time."""
        unsettled = any(span.state is not SpanState.SETTLED for lane in self.lanes.values() for span in lane.spans)
        return not unsettled and not self.committing

    def stopping(self) -> None:
        """Nothing lingers from now on, lanes stay paused, and a pace ends: what was read ahead may take it minutes."""
        self._draining = True
        if self.intake.pace is not None:
            self.intake.pace.end()

    def ticked(self, now: float) -> list[Command]:
        """Everything that is to be done now. Called once a turn, after all facts of that turn."""
        if self.intake.pace is not None:
            self.intake.work_all(self.lanes.values(), now)
        for lane in self.lanes.values():
            if lane.suspects:
                self.intake.ask_again(lane, now)
            if lane.spans and not lane.spans[-1].items:
                lane.close_if_due(now, hurry=self._draining)
        commands: list[Command] = [FetchSchema(ref) for ref in self.intake.wanted]
        self.intake.wanted.clear()
        commands += self._gate_moved()
        commands += self._deliveries(now)
        commit = self._commit_due(now)
        if commit is not None:
            commands.append(commit)
        return commands + self._back_pressure()

    def _gate_moved(self) -> list[Command]:
        reasons = self.gate.reasons
        if reasons == self._held:
            return []
        self._held = reasons
        return [Hold(reasons)] if reasons else [Release()]

    def _deliveries(self, now: float) -> list[Command]:
        if self.gate.shut:
            return self._probe(now) if self.gate.probe_due(now) else []
        deliveries: list[Command] = []
        for lane in self.lanes.values():
            while (span := lane.next_to_send(now, hurry=self._draining)) is not None:
                deliveries.append(self._send(lane, span, now))
        return deliveries

    def _probe(self, now: float) -> list[Command]:
        """One request through the shut gate: lanes take turns, beginning behind the one that was probed or refused
        last.
        """
        turns = list(self.lanes)
        last = self._judge.last_refused or self._last_probed
        first = turns.index(last) + 1 if last in self.lanes else 0
        for tp in turns[first:] + turns[:first]:
            lane = self.lanes[tp]
            span = lane.next_to_send(now, hurry=True)
            if span is not None:
                self._last_probed, self._judge.last_refused = tp, None
                delivery = self._send(lane, span, now, probe=True)
                self.gate.probing(delivery.batch.number)
                return [delivery]
        return []

    def _send(self, lane: Lane, span: Span, now: float, *, probe: bool = False) -> Deliver:
        span.state = SpanState.SENT
        if span.trouble.first_attempt_at is None:
            span.trouble.first_attempt_at = now
            span.trouble.held_before = self.gate.held_seconds(now)
        retry = 0 if probe else span.trouble.retries
        return Deliver(lane.batch_of(span, lambda: next(self._numbers)), retry, probe)

    def _back_pressure(self) -> list[Command]:
        pause, resume = [], []
        for tp, lane in self.lanes.items():
            if not lane.restored:
                continue
            should = self._draining or lane.should_pause()
            if should and not lane.paused:
                pause.append(tp)
            elif lane.paused and not should:
                resume.append(tp)
            lane.paused = should
        commands: list[Command] = [Pause(tuple(pause))] if pause else []
        return commands + ([Resume(tuple(resume))] if resume else [])
