"""The one loop: read, decide, carry out. Also the choreography of rebalances and of the shutdown. No decision about
events or answers.

Only this thread touches the pipeline and the consumer. Edges report from their threads into `inbox`; nothing here waits
for an edge, except in a revocation and at the end, where the wait is bounded. An offset is committed in one place:
`_begin`, with what the pipeline says is settled.
"""

import queue
from collections.abc import Callable, Collection
from dataclasses import dataclass

from worker.committer import CommitFailed, Committed, Committer
from worker.core.commands import Command, Commit, Deliver, FetchSchema, Hold, Pause, Release, Resume
from worker.core.decoding import SchemaKnown, SchemaUnavailable, SchemaUnknown
from worker.core.pipeline import Pipeline
from worker.core.records import TopicPartition
from worker.core.reports import owes_progress
from worker.errors import KafkaStoppedError
from worker.facts import Answered, Fact, Inbox, KafkaTrouble
from worker.identity_log import LogDoubted, Restored, Restoring, VisitorForgotten
from worker.kafka import Consumer
from worker.reporter import Reporter
from worker.schemas import Schemas
from worker.scout import EndsSeen, Finding, KafkaUnreachable, Located, OwnTopicsSeen, Scout, TopicsMadeAnew, TopicsSeen
from worker.sender import Sender
from worker.starting import Starting, VisitorSource
from worker.watchdog import Watchdog

# Small enough for the other partitions' next batches to leave meanwhile: an event takes some 20 µs to get ready.
CHUNK_RECORDS = 250
# An answer cannot wake a waiting poll: while something is on its way the loop looks up more often.
IDLE_POLL_SECONDS = 0.1
BUSY_POLL_SECONDS = 0.005
# For the last commit, when the shutdown has had its time already.
CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Edges:
    consumer: Consumer
    sender: Sender
    committer: Committer
    schemas: Schemas
    visitors: VisitorSource
    scout: Scout


class Loop:
    """`revoke_seconds` bounds waiting and committing together when partitions are taken away."""

    def __init__(
        self,
        pipeline: Pipeline,
        inbox: Inbox,
        reporter: Reporter,
        watchdog: Watchdog,
        clock: Callable[[], float],
        *,
        revoke_seconds: float,
        shutdown_seconds: float,
    ) -> None:
        self._pipeline = pipeline
        self._inbox = inbox
        self._reporter = reporter
        self._watchdog = watchdog
        self._activity = 0
        self._clock = clock
        self._revoke_seconds = revoke_seconds
        self._shutdown_seconds = shutdown_seconds
        self._subscribed: tuple[str, ...] = ()
        self._finishing = False
        self._closing = False
        self._forfeited = False

    def run(self, edges: Edges, stop_requested: Callable[[], bool]) -> None:
        """Works until asked to stop, then in bounded time sends what can be sent and commits what is settled.

        Raises KafkaStoppedError; any other exception is a defect. In both cases nothing more is committed, and the next
        owner redelivers.
        """
        self._edges = edges
        self._starting = Starting(self._pipeline, self._reporter, edges.consumer, edges.scout, edges.visitors)
        try:
            self._work(stop_requested)
        except KafkaStoppedError:
            self._forfeited = True
            edges.consumer.close()
            raise

    def _work(self, stop_requested: Callable[[], bool]) -> None:
        while not stop_requested():
            self._turn()
        self._pipeline.stopping()
        started = self._clock()
        while not self._drained() and self._clock() < started + self._shutdown_seconds:
            if self._clock() >= started + self._shutdown_seconds / 2:
                self._begin_nothing_more()
            self._turn()
        self._closing = True
        self._edges.consumer.close()

    def _turn(self) -> None:
        chunk = self._edges.consumer.poll(CHUNK_RECORDS, self._patience())
        now = self._clock()
        self._pipeline.received(chunk.records, chunk.positions, now)
        self._starting.locate_anew()
        while not self._inbox.empty():
            self._take_in(self._inbox.get())
        for command in self._pipeline.ticked(now):
            self._carry_out(command)
        self._reporter.turned(self._pipeline, now, joined=self._edges.consumer.joined)
        self._activity += sum(map(len, chunk.records.values()))
        self._watchdog.turned(self._activity, owing=self._owing(now))

    def _patience(self) -> float:
        """How long to wait for records: not past the moment when an answer may come."""
        quiet_seconds = self._edges.sender.quiet_seconds()
        # asked after the sender: an answer is in the inbox before its request leaves the wire
        if self._pipeline.committing or not self._inbox.empty():
            quiet_seconds = 0.0
        return min(max(quiet_seconds, BUSY_POLL_SECONDS), IDLE_POLL_SECONDS)

    def _owing(self, now: float) -> bool:
        """Whether something should be moving: work is left, and neither the core, the sender nor Kafka waits on
        purpose.
        """
        excused = self._edges.sender.waiting_until is not None or self._reporter.kafka_in_trouble(now)
        return not excused and owes_progress(self._pipeline, self._reporter.ends)

    def _take_in(self, fact: Fact) -> None:
        now = self._clock()
        self._activity += isinstance(fact, Answered | Committed)
        match fact:
            case Answered(batch, answer):
                self._pipeline.answered(batch, answer, now)
                self._reporter.answered(batch, answer)
            case Committed(commit):
                self._pipeline.committed(commit, now)
                self._reporter.committed(commit)
            case CommitFailed(commit, refusal, detail):
                self._pipeline.commit_failed(commit, refusal, detail, now)
                self._reporter.commit_failed(commit, detail)
            case SchemaKnown(ref, plan):
                self._pipeline.schema_known(ref, plan, now)
            case SchemaUnknown(ref, detail):
                self._pipeline.schema_unknown(ref, detail, now)
            case SchemaUnavailable(ref, detail):
                self._pipeline.schema_unavailable(ref, detail)
                self._reporter.schema_unavailable(ref, detail)
            case Restored() | Restoring() | LogDoubted() | VisitorForgotten():
                self._starting.of_visitors(fact)
            case _:
                self._take_in_of_kafka(fact)

    def _take_in_of_kafka(self, fact: Finding | KafkaTrouble) -> None:
        match fact:
            case Located(places):
                self._starting.located(places)
            case TopicsSeen(topics, missing):
                self._subscribe(topics)
                self._reporter.topics_missing(missing)
            case EndsSeen(ends):
                self._reporter.ends_seen({tp: end for tp, end in ends.items() if tp in self._pipeline.lanes})
            case TopicsMadeAnew(topics):
                self._begin_anew(topics)
            case OwnTopicsSeen(refused, doubts):
                self._reporter.own_topics_seen(refused, doubts)
            case KafkaUnreachable(detail) | KafkaTrouble(detail):
                self._reporter.kafka_trouble(detail, self._clock(), cause=isinstance(fact, KafkaTrouble))

    def _carry_out(self, command: Command) -> None:
        edges = self._edges
        match command:
            case Deliver(batch, retry, probe):
                edges.sender.deliver(batch, retry=retry, probe=probe)
            case Hold(reasons):
                self._pipeline.withdrawn(edges.sender.hold(), self._clock())
                self._reporter.held(reasons)
            case Release():
                if not self._finishing:
                    edges.sender.release()
                self._reporter.resumed()
            case Commit():
                self._begin(command)
            case FetchSchema(ref):
                edges.schemas.fetch(ref)
            case Pause(partitions):
                edges.consumer.pause(partitions)
            case Resume(partitions):
                edges.consumer.resume(partitions)

    def _begin_anew(self, topics: Collection[str]) -> None:
        """What was read of the old topics answers for offsets that mean something else by now."""
        partitions = [tp for tp in self._pipeline.lanes if tp.topic in topics]
        self._reporter.made_anew(topics)
        self.lost(partitions)
        self._starting.begin_anew(partitions)

    def _begin(self, commit: Commit) -> None:
        self._edges.committer.commit(commit, self._edges.consumer.group_metadata())

    def _subscribe(self, topics: tuple[str, ...]) -> None:
        if topics and topics != self._subscribed:
            self._subscribed = topics
            self._edges.consumer.subscribe(topics)
            self._reporter.subscribed(topics)

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self._starting.assigned(partitions)

    def out_of_range(self, tp: TopicPartition) -> None:
        self._starting.out_of_range(tp)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Waits for what is on the wire, not for what is in back-off; commits what is settled; forgets the lanes."""
        if self._forfeited:
            self._starting.forget(partitions)
            return
        seconds = CLOSING_SECONDS if self._closing else self._revoke_seconds
        deadline = self._clock() + seconds
        sender = self._edges.sender
        self._pipeline.withdrawn(sender.withdraw(partitions), self._clock())
        if not self._closing:
            # a request that hangs must not take the time that the commit of all others needs
            self._await(lambda: not sender.on_wire(partitions), deadline - seconds / 3)
        self._await(lambda: not self._pipeline.committing, deadline)
        if not self._pipeline.committing:
            commit = self._pipeline.last_commit(partitions)
            if commit is not None:
                self._begin(commit)
                self._await(lambda: not self._pipeline.committing, deadline)
        self._starting.forget(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Somebody else may own them by now: nothing is committed."""
        self._pipeline.withdrawn(self._edges.sender.withdraw(partitions), self._clock())
        self._starting.forget(partitions)

    def _await(self, done: Callable[[], bool], deadline: float) -> None:
        """Takes in facts until it is done or too late. Sends nothing new meanwhile.

        What the scout has found waits: to assign or subscribe inside a callback of the consumer is to change what it is
        just changing.
        """
        later: list[Fact] = []
        while not self._inbox.empty() or (not done() and self._clock() < deadline):
            try:
                fact = self._inbox.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(fact, Answered | Committed | CommitFailed):
                self._take_in(fact)
            else:
                later.append(fact)
        for fact in later:
            self._inbox.put(fact)

    def refused(self, tp: TopicPartition | None, detail: str) -> None:
        self._reporter.refused(tp, detail)

    def shut_out(self, detail: str) -> None:
        self.lost(list(self._pipeline.lanes))
        self._reporter.refused(None, detail)

    def kafka_trouble(self, detail: str, *, cause: bool) -> None:
        self._inbox.put(KafkaTrouble(detail) if cause else KafkaUnreachable(detail))

    def _begin_nothing_more(self) -> None:
        """The second half of a shutdown is for answers: what is on the wire at its end will be sent again."""
        if not self._finishing:
            self._finishing = True
            self._pipeline.withdrawn(self._edges.sender.hold(), self._clock())

    def _drained(self) -> bool:
        """Whether waiting longer would serve nothing: all settled and committed, or nothing more is sent just now."""
        sender = self._edges.sender
        if sender.on_wire() or self._pipeline.committing or not self._inbox.empty():
            return False
        nothing_starts = self._finishing or self._pipeline.gate.shut or sender.waiting_until is not None
        return nothing_starts or self._pipeline.drained()
