"""A partition's queue of spans: what goes into which, which is sent next, which may be committed. Knows no answers and
no schemas.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.core.batching import MAX_SPAN_RECORDS, Batch, Item, Span, SpanState
from worker.core.commands import LaneCommit
from worker.core.decoding import SchemaRef
from worker.core.identity import Identities
from worker.core.outcomes import DeadLetter, HoldReason, Outcome, Reason
from worker.core.records import Record, TopicPartition
from worker.core.stretches import Stretch

# Spans that are settled but not committed, while a transaction takes its time. They weigh little, but what weighs
# little adds up.
MAX_SPANS = 256

# What one lane puts into a transaction, in bytes of dead letters and identity changes, and what all of them together
# do: a second's work at most, of the five that a transaction has.
MAX_SHARE_BYTES = 1_000_000
MAX_COMMIT_BYTES = 4_000_000

Decision = Item | Reason | DeadLetter


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of the batching and delivery settings. `give_up_after_seconds` None: never."""

    batch_max_bytes: int = 500_000
    batch_max_events: int = 2_500
    linger_seconds: float = 1.0
    in_flight: int = 1
    rejection_limit: int = 10
    give_up_after_seconds: float | None = None


@dataclass(slots=True)
class CommitTrouble:
    """A lane whose transaction was refused commits alone until one of its own has gone through."""

    attempts: int = 0
    not_before: float = 0.0
    refusal: HoldReason | None = None
    detail: str = ""

    @property
    def alone(self) -> bool:
        return self.attempts > 0


@dataclass(slots=True)
class Lane:
    """One assigned partition.

    `epoch` numbers the assignment; `topic_id` is what Kafka calls the topic, as long as nobody makes it anew. Until
    it is restored, `restoring` says how far that is, or what is to be mended where it was `restore_refused`. `backlog`
    are records not decided yet (their schema is on its way); `suspects` are decided ones that wait for a record that
    decodes, once too many in a row did not. Both keep offset order: nothing behind them enters a span before they do.
    A lane with a `stretch` has an end: its position never passes it, and so the last commit is the end itself, be there
    a record, a gap or a transaction marker.
    """

    tp: TopicPartition
    epoch: int
    limits: Limits
    identities: Identities
    restored: bool = False
    topic_id: str = ""
    restoring: str = ""
    restore_refused: bool = False
    position: int | None = None
    committed: int | None = None
    spans: deque[Span] = field(default_factory=deque)
    backlog: deque[Record] = field(default_factory=deque)
    backlog_bytes: int = 0
    suspects: list[tuple[Record, Decision]] = field(default_factory=list)
    suspects_bytes: int = 0
    undecodable_in_a_row: int = 0
    undecided_since: float | None = None
    worked_at: float = float("-inf")
    missing_schema: SchemaRef | None = None
    committed_at: float = float("-inf")
    paused: bool = False
    trouble: CommitTrouble = field(default_factory=CommitTrouble)
    stretch: Stretch | None = None

    def within(self, offset: int) -> int:
        """The offset, or the lane's end where that comes first."""
        return offset if self.stretch is None else min(offset, self.stretch.end_offset)

    @property
    def read_out(self) -> bool:
        """Whether it has an end and everything before it was read."""
        return self.stretch is not None and (self.position or 0) >= self.stretch.end_offset

    def lose(self, offsets: int) -> None:
        """So many were deleted before they could be read."""
        if self.stretch is not None and offsets:
            self.stretch = self.stretch.without(offsets)

    def take_in(self, chunk: Sequence[Record]) -> None:
        """Records that were read, to be decided; without what lies behind the lane's end."""
        self.position = self.within(chunk[-1].next_offset)
        self.backlog.extend([record for record in chunk if record.offset < self.position] if self.read_out else chunk)

    def place(self, record: Record, decision: Decision, now: float) -> None:
        """Adds one decided record to the open span, after sealing it where the item would not fit."""
        span = self._open_span(record, now)
        if isinstance(decision, Item):
            if not span.fits(
                len(decision.payload),
                max_bytes=self.limits.batch_max_bytes,
                max_events=self.limits.batch_max_events,
            ):
                self._seal(span)
                span = self._open_span(record, now)
            span.add(decision)
        elif isinstance(decision, DeadLetter):
            span.bury(decision)
        else:
            span.filter(record, decision)
        if self.identities.changed:
            span.learn(self.identities.take_changes(record.offset))
        if self.identities.traits_refused:
            span.traits_refused += self.identities.traits_refused
            self.identities.traits_refused = 0
        if span.full:
            self._seal(span)

    def acquit(self, now: float) -> None:
        """Something decoded: the suspects were poison after all, and become the dead letters they were to be."""
        suspects, self.suspects, self.suspects_bytes = self.suspects, [], 0
        for record, decision in suspects:
            self.place(record, decision, now)

    def _open_span(self, record: Record, now: float) -> Span:
        if not self.spans or self.spans[-1].state is not SpanState.OPEN:
            self.spans.append(Span(record.offset, now))
        return self.spans[-1]

    @staticmethod
    def _seal(span: Span) -> None:
        if span.items:
            span.state = SpanState.SEALED
        else:
            span.settle()

    def next_to_send(self, now: float, *, hurry: bool = False) -> Span | None:
        """The span whose turn it is, sealed; None while the lane has as many in flight as it may, or nothing due.

        `hurry` (a probe, a shutdown) does not wait for linger. A parked suspect comes last, the one refused longest ago
        first: only when nothing untried is left.
        """
        if sum(span.state is SpanState.SENT for span in self.spans) >= self.limits.in_flight:
            return None
        for span in self.spans:
            if span.state is SpanState.SEALED:
                return span
        self.close_if_due(now, hurry=hurry)
        if self.spans and self.spans[-1].state is SpanState.SEALED:
            return self.spans[-1]
        suspects = [span for span in self.spans if self._on_trial(span)]
        return min(suspects, key=lambda span: span.trouble.refused_at or 0.0, default=None)

    @staticmethod
    def _on_trial(span: Span) -> bool:
        # Condemned for a 403 or 5xx, it waits for one more success, and where nothing else is left that can only be its
        # own. Condemned for a 400, it has had its answer.
        return span.state is SpanState.PARKED and (span.trouble.suspect or not span.trouble.sentence)

    def close_if_due(self, now: float, *, hurry: bool = False) -> None:
        """Seals the open span once it has lingered: with a batch it is ready to go, without one it is settled."""
        if self.spans and self.spans[-1].state is SpanState.OPEN:
            span = self.spans[-1]
            if hurry or now - span.opened_at >= self.limits.linger_seconds:
                self._seal(span)

    def batch_of(self, span: Span, number: Callable[[], int]) -> Batch:
        """The span's batch, made at its first attempt and the same ever after."""
        if span.batch is None:
            span.batch = Batch(
                number(), self.tp, self.epoch, span.first_offset, span.next_offset, tuple(span.items), span.size
            )
        return span.batch

    def span_of(self, batch: Batch) -> Span | None:
        """The span a batch answers for; None when the lane was given away since (the epoch says so)."""
        if batch.epoch != self.epoch:
            return None
        return next((span for span in self.spans if span.batch is batch), None)

    def replace(self, span: Span, pieces: Sequence[Span]) -> None:
        place = self.spans.index(span)
        del self.spans[place]
        for piece in reversed(pieces):
            self.spans.insert(place, piece)

    def share(self) -> LaneCommit | None:
        """The longest settled prefix, or the bare position where the lane has nothing left; None where nothing has
        moved.

        A prefix heavy with dead letters and identity changes is committed in portions, each of which a transaction can
        carry before its time-out.
        """
        settled: list[Span] = []
        portion_bytes = 0
        for span in self.spans:
            portion_bytes += span.extra_bytes
            if span.state is not SpanState.SETTLED or (settled and portion_bytes > MAX_SHARE_BYTES):
                break
            settled.append(span)
        next_offset = settled[-1].next_offset if settled else None
        if len(settled) == len(self.spans) and not self.backlog and not self.suspects and self.position is not None:
            next_offset = max(self.position, next_offset or 0)
        if next_offset is None or (not settled and next_offset == self.committed):
            return None
        outcomes: Counter[tuple[Outcome, Reason]] = Counter()
        delivered: Counter[tuple[str, bool]] = Counter()
        for span in settled:
            outcomes.update(span.outcomes)
            delivered.update(span.delivered)
        return LaneCommit(
            tp=self.tp,
            epoch=self.epoch,
            topic_id=self.topic_id,
            next_offset=next_offset,
            spans=len(settled),
            dead_letters=tuple(letter for span in settled for letter in span.dead_letters),
            changes=tuple(change for span in settled for change in span.changes),
            extra_bytes=sum(span.extra_bytes for span in settled),
            traits_refused=sum(span.traits_refused for span in settled),
            outcomes=outcomes,
            delivered=delivered,
            stretch=None if self.stretch is None else self.stretch.after(outcomes),
        )

    def seal_open(self) -> None:
        """Ends the open span, so that offsets which do not follow on begin one of their own."""
        if self.spans and self.spans[-1].state is SpanState.OPEN:
            self._seal(self.spans[-1])

    def committed_share(self, share: LaneCommit, now: float) -> None:
        for _ in range(share.spans):
            self.spans.popleft()
        self.committed, self.committed_at = share.next_offset, now
        if self.stretch is not None:
            self.stretch = self.stretch.after(share.outcomes)
        self.trouble = CommitTrouble()

    def should_pause(self) -> bool:
        """Whether it has enough to do: asked after every turn. Resumed one batch below, so that the next is read while
        the last but one is sent.
        """
        enough = max(2, self.limits.in_flight)
        waiting = sum(span.state is SpanState.SEALED for span in self.spans)
        # Parked spans wait for a success that only what is read behind them may bring: they count by weight alone.
        parked_bytes = sum(span.size for span in self.spans if span.state is SpanState.PARKED)
        # Settled ones wait for their commit, and those with dead letters in them with all their bytes.
        settled_bytes = sum(span.extra_bytes for span in self.spans if span.state is SpanState.SETTLED)
        undecided_bytes = self.backlog_bytes + self.suspects_bytes
        return (
            self.read_out
            or self.trouble.refusal is not None
            or waiting >= enough
            or len(self.spans) >= MAX_SPANS
            or len(self.backlog) + len(self.suspects) >= MAX_SPAN_RECORDS
            or undecided_bytes + parked_bytes + settled_bytes >= 2 * self.limits.batch_max_bytes
        )

    @property
    def unsettled_since(self) -> float | None:
        """When the oldest record that is not settled was received; None where all is settled."""
        unsettled = (span.opened_at for span in self.spans if span.state is not SpanState.SETTLED)
        return next(unsettled, self.undecided_since)
