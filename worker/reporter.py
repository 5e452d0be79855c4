"""What the worker says of itself: log lines, metrics, readiness. Never a payload, a trait or a secret; decides nothing.

What it is told of single events it hands on to the tap, which shows them to whoever looks.
Runs on the loop's thread; `reasons` and `alive` may be asked from any thread.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import structlog

from worker.complaints import Complaints, in_short
from worker.core.batching import Batch
from worker.core.commands import Commit, LaneCommit
from worker.core.decoding import Event, SchemaRef
from worker.core.lanes import Decision
from worker.core.outcomes import Answer, DeadLetter, HoldReason, Outcome, Reason, Verdict
from worker.core.pipeline import Pipeline
from worker.core.records import Record, TopicPartition
from worker.core.reports import WHAT_TO_DO, report
from worker.core.restoring import Restoration
from worker.core.start_offsets import Start
from worker.logs import Throttle
from worker.metrics import Metrics
from worker.tap.recorder import Tap

GAUGES_INTERVAL_SECONDS = 0.25
# A turn takes milliseconds, a revocation up to ten seconds.
ALIVE_SECONDS = 60.0

# What somebody who waits for events has to see: filtered records are committed, and come back only by reading again.
_WORTH_A_LINE = frozenset({Reason.NO_CONSENT, Reason.CONSENT_DENIED, Reason.UNMAPPED})

log = structlog.get_logger()


class Reporter:
    def __init__(self, metrics: Metrics, tap: Tap, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._tap = tap
        self._clock = clock
        self._minutely = Throttle(60.0, clock)
        self._secondly = Throttle(1.0, clock)
        self._ends: dict[TopicPartition, int] = {}
        self._joined = False
        self._complaints = Complaints()
        self._last_refusal: Answer | None = None
        self._filtered: Counter[Reason] = Counter()
        self._refused_topics: tuple[str, ...] = ()
        self._missing_topics: tuple[str, ...] = ()
        self._reasons: tuple[str, ...] = ("waiting for the first assignment of the group",)
        self._reported_at = float("-inf")
        self._turned_at = clock()

    @property
    def ends(self) -> Mapping[TopicPartition, int]:
        return self._ends

    def kafka_in_trouble(self, now: float) -> bool:
        return self._complaints.lasting(now)

    def reasons(self) -> tuple[str, ...]:
        """Why it is not ready; empty when it is."""
        return self._reasons

    def alive(self) -> bool:
        """Whether the loop is turning."""
        return self._clock() - self._turned_at < ALIVE_SECONDS

    def turned(self, pipeline: Pipeline, now: float, *, joined: bool) -> None:
        self._turned_at = now
        self._tap.turned(pipeline)
        if now - self._reported_at < GAUGES_INTERVAL_SECONDS:
            return
        self._reported_at = now
        self._joined = joined
        for detail in self._complaints.still_refused(pipeline.lanes, self._ends):
            self.kafka_trouble(detail, now, cause=True)
        current = report(pipeline, now)
        metrics = self._metrics
        for reason in HoldReason:
            metrics.held.labels(reason).set(reason in current.held)
        metrics.paused_partitions.set(current.paused_partitions)
        metrics.identities.set(current.identities)
        metrics.oldest_unsettled_seconds.set(current.oldest_unsettled_seconds)
        for tp, lane in pipeline.lanes.items():
            if lane.committed is not None or lane.position is not None:
                end = lane.within(max(self._ends.get(tp, 0), lane.position or 0))
                metrics.consumer_lag.labels(tp.topic, tp.partition).set(end - (lane.committed or 0))
        self._reasons = self._unready(current.reasons, now)

    def _unready(self, found: tuple[str, ...], now: float) -> tuple[str, ...]:
        reasons = [*found, *self._refused_topics]
        reasons += [
            f"KAFKA_TOPICS: there is no topic {topic}, or no right to see it; it is looked for"
            for topic in self._missing_topics
        ]
        if not self._joined:
            reasons.append("waiting for the first assignment of the group")
        if self.kafka_in_trouble(now):
            reasons.append(f"Kafka: {self._complaints.detail}")
        return tuple(reasons)

    def answered(self, batch: Batch, answer: Answer) -> None:
        self._tap.answered(batch, answer)
        metrics = self._metrics
        metrics.requests.labels(answer.label).inc()
        metrics.request_seconds.observe(answer.ended_at - answer.started_at)
        metrics.request_body_bytes.observe(batch.size)
        metrics.batch_events.observe(len(batch.items))
        bound = _bound(batch) | {"events": len(batch.items), "status": answer.label}
        match answer.verdict:
            case Verdict.TAKEN:
                log.info("batch.delivered", **bound)
                for item in batch.items if log.is_enabled_for(10) else ():
                    log.debug("event.delivered", message_id=item.message_id, outcome="delivered", status=answer.label)
            case Verdict.NOT_NOW:
                metrics.retries.labels(answer.label).inc()
                silenced = self._minutely.admit(("retried", answer.label))
                if silenced is not None:
                    # where no answer came, its text is the network's; else it is the server's, and may quote payloads
                    why = answer.body if answer.status is None else None
                    log.warning(
                        "batch.retried", **bound, retry_after=answer.retry_after, detail=why, not_logged=silenced
                    )
            case Verdict.BAD | Verdict.TOO_BIG:
                self._last_refusal = answer
                log.info("batch.rejected", **bound)
            case Verdict.FORBIDDEN | Verdict.WRONG_ADDRESS:
                self._last_refusal = answer
                silenced = self._minutely.admit(("refused", answer.label))
                if silenced is not None:
                    log.warning("batch.refused", **bound, not_logged=silenced)

    def held(self, reasons: Collection[HoldReason]) -> None:
        status = self._last_refusal.label if self._last_refusal else None
        for reason in reasons:
            log.error("delivery.held", reason=reason.value, status=status, detail=WHAT_TO_DO.get(reason))

    def resumed(self) -> None:
        log.info("delivery.resumed")

    def committed(self, commit: Commit) -> None:
        self._tap.committed(commit)
        self._metrics.commits.labels("ok").inc()
        for share in commit.lanes:
            for (outcome, reason), count in share.outcomes.items():
                self._metrics.records.labels(outcome, reason).inc(count)
                if reason in _WORTH_A_LINE:
                    self._filtered[reason] += count
            for (event, identified), count in share.delivered.items():
                self._metrics.events_delivered.labels(event, str(identified).lower()).inc(count)
            self._metrics.traits_refused.inc(share.traits_refused)
            self._dead_lettered(share)
        for reason, count in self._filtered.items():
            if count and self._minutely.admit(("filtered", reason)) is not None:
                log.info("records.filtered", reason=reason.value, records=count)
                self._filtered[reason] = 0

    def decided(self, tp: TopicPartition, record: Record, event: Event | None, decision: Decision) -> None:
        """For `LOG_LEVEL=debug`: one line an event that is not sent. Of those that are, `answered` tells the end."""
        if event is None:
            return
        if isinstance(decision, Reason):
            outcome, reason = Outcome.FILTERED, decision
        elif isinstance(decision, DeadLetter):
            outcome, reason = Outcome.DEAD_LETTERED, decision.reason
        else:
            return
        line = "event.filtered" if outcome is Outcome.FILTERED else "event.dead_lettered"
        log.debug(
            line,
            message_id=event.message_id,
            outcome=outcome.value,
            reason=reason.value,
            topic=tp.topic,
            partition=tp.partition,
            offset=record.offset,
        )

    def restoring(self, progress: str, *, refused: bool) -> None:
        if refused and self._minutely.admit(("restoring", progress)) is not None:
            log.error("identities.refused", detail=progress)

    def restored(self, tp: TopicPartition, restoration: Restoration, unreadable: int) -> None:
        self._metrics.identities_skipped.labels("unreadable").inc(unreadable)
        self._metrics.identities_skipped.labels("compacted").inc(restoration.unknown)
        log.info(
            "identities.restored",
            topic=tp.topic,
            partition=tp.partition,
            visitors=len(restoration.known.states),
            entries=restoration.entries,
            unreadable=unreadable,
            compacted=restoration.unknown,
        )

    def visitor_forgotten(self, tp: TopicPartition) -> None:
        log.info("visitor.forgotten", topic=tp.topic, partition=tp.partition)

    def _dead_lettered(self, share: LaneCommit) -> None:
        for letter in share.dead_letters:
            if letter.outcome is Outcome.FILTERED:
                continue
            silenced = self._secondly.admit((share.tp, letter.reason))
            if silenced is not None:
                log.warning(
                    "record.dead_lettered",
                    topic=share.tp.topic,
                    partition=share.tp.partition,
                    offset=letter.record.offset,
                    reason=letter.reason.value,
                    stage=letter.stage.value,
                    detail=letter.detail,
                    outcome=Outcome.DEAD_LETTERED.value,
                    not_logged=silenced,
                )

    def commit_failed(self, commit: Commit, detail: str) -> None:
        self._metrics.commits.labels("error").inc()
        silenced = self._minutely.admit(("refused", in_short(detail)))
        if silenced is not None:
            log.warning("commit.failed", lanes=[str(share.tp) for share in commit.lanes], detail=detail)

    def schema_unavailable(self, ref: SchemaRef, detail: str) -> None:
        if self._minutely.admit(("schema", ref)) is not None:
            log.warning("schema.unavailable", schema=str(ref), detail=detail)

    def refused(self, tp: TopicPartition | None, detail: str) -> None:
        self._complaints.refused(tp, detail)

    def kafka_trouble(self, detail: str, now: float, *, cause: bool) -> None:
        """`cause`: what others may follow from."""
        shown = self._complaints.heard(detail, now, cause=cause)
        if shown and self._minutely.admit(("kafka", cause)) is not None:
            log.error("kafka.unavailable", detail=detail)

    def topics_missing(self, missing: Collection[str]) -> None:
        self._missing_topics = tuple(missing)
        for topic in missing:
            if self._minutely.admit(("missing", topic)) is not None:
                log.warning("topic.missing", topic=topic)

    def made_anew(self, topics: Collection[str]) -> None:
        for topic in topics:
            detail = "somebody has deleted it and made it again: it is read from its beginning"
            log.warning("topic.made_anew", topic=topic, detail=detail)

    def own_topics_seen(self, refused: Collection[str], doubts: Collection[str]) -> None:
        self._refused_topics = tuple(refused)
        self.own_topics_doubted(doubts)
        for detail in refused:
            if self._minutely.admit(("refused", in_short(detail))) is not None:
                log.error("topic.refused", detail=detail)

    def own_topics_doubted(self, doubts: Collection[str]) -> None:
        for doubt in doubts:
            log.warning("topic.doubted", detail=doubt)

    def ends_seen(self, ends: Mapping[TopicPartition, int]) -> None:
        self._ends.update(ends)

    def subscribed(self, topics: Collection[str]) -> None:
        log.info("topics.subscribed", topics=list(topics))

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self._metrics.rebalances.inc()
        self._complaints.ended()
        for tp in partitions:
            log.info("partition.assigned", topic=tp.topic, partition=tp.partition)

    def started(self, tp: TopicPartition, start: Start) -> None:
        bound = {"topic": tp.topic, "partition": tp.partition, "offset": start.offset, "committed": start.committed}
        if start.beyond:
            log.error(
                "partition.started_at_end",
                **bound,
                detail="the committed offset is beyond the end: the topic was made anew, or the group was moved",
            )
        elif start.lost:
            log.error("partition.offsets_lost", **bound, lost=start.lost, detail="deleted before they were delivered")
        else:
            log.info("partition.started", **bound)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._metrics.rebalances.inc()
        for tp in partitions:
            self._ends.pop(tp, None)
            self._metrics.consumer_lag.remove(tp.topic, str(tp.partition))
            log.info("partition.revoked", topic=tp.topic, partition=tp.partition)


def _bound(batch: Batch) -> dict[str, object]:
    return {
        "topic": batch.tp.topic,
        "partition": batch.tp.partition,
        "first_offset": batch.first_offset,
        "next_offset": batch.next_offset,
    }
