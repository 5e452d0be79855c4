"""What there is to say about a pipeline: holds, reasons for not being ready, gauges. Reads, changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.lanes import Lane
from worker.core.outcomes import HoldReason
from worker.core.pipeline import Pipeline
from worker.core.records import TopicPartition

WHAT_TO_DO = {
    HoldReason.UNAUTHORIZED: (
        "Dreamdata refuses the API key (401 or 403). The key is found in Dreamdata under Data Platform > Sources > "
        "Server Side Analytics APIs; put the right one into the file of DREAMDATA_API_KEY_FILE and delivery goes "
        "on by itself within half a minute, or set DREAMDATA_API_KEY and restart"
    ),
    HoldReason.WRONG_ADDRESS: (
        "the answer is not that of the Dreamdata API (404, a redirect, ...). Check DREAMDATA_URL and proxies"
    ),
    HoldReason.REJECTIONS: (
        "more single events than REJECTION_LIMIT were rejected with no success in between, so nothing more is "
        "dead-lettered. Look at the last dead letters' dl-http-body; REJECTION_LIMIT=0 dead-letters them all"
    ),
}


# A commit that fails once or twice belongs to every rebalance; then somebody should know.
WORRYING_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A moment's state, for gauges and for /readyz."""

    held: frozenset[HoldReason]
    reasons: tuple[str, ...]
    paused_partitions: int
    identities: int
    oldest_unsettled_seconds: float


def report(pipeline: Pipeline, now: float) -> Report:
    held: set[HoldReason] = set(pipeline.gate.reasons)
    reasons = [f"held ({reason}): {WHAT_TO_DO[reason]}" for reason in pipeline.gate.reasons]
    for lane in pipeline.lanes.values():
        if lane.restore_refused and not lane.restored:
            held.add(HoldReason.IDENTITY_REFUSED)
            reasons.append(f"{lane.tp}: held ({HoldReason.IDENTITY_REFUSED}): {lane.restoring}")
        elif not lane.restored:
            reasons.append(f"{lane.tp}: {lane.restoring or 'looking up where to start'}")
        if lane.suspects:
            held.add(HoldReason.UNDECODABLE)
            reasons.append(_undecodable(lane))
        if lane.trouble.refusal is not None:
            held.add(lane.trouble.refusal)
            reasons.append(f"{lane.tp}: held ({lane.trouble.refusal}): {lane.trouble.detail}")
        elif lane.trouble.attempts >= WORRYING_ATTEMPTS:
            reasons.append(f"{lane.tp}: {lane.trouble.attempts} commits in a row failed: {lane.trouble.detail}")
    missing = {lane.missing_schema for lane in pipeline.lanes.values()}
    reasons += [
        f"waiting for schema {ref}: {detail}" for ref, detail in pipeline.intake.unavailable.items() if ref in missing
    ]
    since = [lane.unsettled_since for lane in pipeline.lanes.values()]
    oldest = min((moment for moment in since if moment is not None), default=now)
    return Report(
        held=frozenset(held),
        reasons=tuple(reasons),
        paused_partitions=sum(lane.paused for lane in pipeline.lanes.values()),
        identities=sum(len(lane.identities) for lane in pipeline.lanes.values()),
        oldest_unsettled_seconds=now - oldest,
    )


def owes_progress(pipeline: Pipeline, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether records are unsettled, uncommitted or unread although nothing in the pipeline waits on purpose.

    `ends` are the last stable offsets: what lies behind them cannot be read yet, and behind a lane's own end not at
    all.
    """
    if pipeline.gate.shut:
        return False
    return any(
        lane.spans or lane.backlog or (lane.position or 0) < lane.within(ends.get(lane.tp, 0))
        for lane in pipeline.lanes.values()
        if lane.restored and not lane.suspects and lane.missing_schema is None and lane.trouble.refusal is None
    )


def describe(lane: Lane) -> str:
    """One line on a lane, for a log: offsets and states only."""
    spans = ", ".join(f"[{span.first_offset}, {span.next_offset}) {span.state.value}" for span in lane.spans)
    return (
        f"{lane.tp} epoch {lane.epoch}: position {lane.position}, committed {lane.committed}, "
        f"{'paused' if lane.paused else 'reading'}, {len(lane.backlog)} undecided, spans: {spans or 'none'}"
    )


def _undecodable(lane: Lane) -> str:
    record, _ = lane.suspects[0]
    return (
        f"{lane.tp}: held ({HoldReason.UNDECODABLE}): {len(lane.suspects)} records from offset {record.offset} on "
        f"cannot be decoded, after {lane.limits.rejection_limit} in a row that were dead-lettered. The first one that "
        "decodes lets the lane go on; if the producer is wrong for good, REJECTION_LIMIT=0 dead-letters them"
    )
