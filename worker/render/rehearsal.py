"""The core's pipeline played through without edges: each request is taken at once, each commit succeeds at once.

No clock, no Kafka, no output. Time stands still, so nothing lingers: bodies fill up as they do under a backlog.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from worker.core.batching import Batch
from worker.core.commands import Commit, Deliver, FetchSchema
from worker.core.decoding import Event, SchemaAnswer, SchemaKnown, SchemaRef, SchemaUnavailable, SchemaUnknown
from worker.core.lanes import Decision
from worker.core.outcomes import Answer, DeadLetter, Reason
from worker.core.pipeline import Pipeline
from worker.core.records import Record, TopicPartition

NOW = 0.0

# All at once would do, but a lane is made for a few spans, not for thousands.
CHUNK_RECORDS = 1_000

TAKEN = Answer(200, NOW, NOW)

WAITS_FOR_SCHEMA = "schema"

# Asks for schemas and returns one answer each. It may take its time.
Find = Callable[[Sequence[SchemaRef]], Iterable[SchemaAnswer]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """`run` would come no further than here: it waits for a schema (`reason` is "schema"), or holds the partition for
    what cannot be decoded.
    """

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One record, its event where it could be read, and what becomes of it."""

    record: Record
    event: Event | None
    decision: Decision | Waiting


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Of one partition: all its records in order of their offsets, and the batches in the order they would be sent."""

    tp: TopicPartition
    judged: tuple[Judged, ...]
    batches: tuple[Batch, ...]


def rehearse(pipeline: Pipeline, tp: TopicPartition, records: Sequence[Record], find: Find) -> Rehearsal:
    """Plays one partition's records through a pipeline that is used for nothing else.

    BATCH_LINGER_MS must not be 0: then every turn would end a body.
    """
    if not records:
        return Rehearsal(tp, (), ())
    seen: dict[int, tuple[Event | None, Decision]] = {}

    def witness(_tp: TopicPartition, record: Record, event: Event | None, decision: Decision) -> None:
        seen[record.offset] = (event, decision)

    pipeline.intake.witness = witness
    pipeline.assigned([tp])
    pipeline.restored(tp, records[0].offset, committed=None)
    batches: list[Batch] = []
    for start in range(0, len(records), CHUNK_RECORDS):
        pipeline.received({tp: records[start : start + CHUNK_RECORDS]}, {}, NOW)
        batches += play(pipeline, find)
    pipeline.stopping()
    batches += play(pipeline, find)

    waiting = _waiting(pipeline, tp)
    judged: list[Judged] = []
    for record in records:
        event, decision = seen.get(record.offset, (None, None))
        outcome = waiting.get(record.offset, decision)
        assert outcome is not None, f"{tp}, offset {record.offset}: neither decided nor waiting"
        judged.append(Judged(record, event, outcome))
    return Rehearsal(tp, tuple(judged), tuple(batches))


def play(pipeline: Pipeline, find: Find) -> list[Batch]:
    """Turns until there is nothing more to be done, everything taken; returns the batches that went out."""
    batches: list[Batch] = []
    while commands := pipeline.ticked(NOW) or _commits(pipeline):
        wanted: list[SchemaRef] = []
        for command in commands:
            match command:
                case Deliver(batch):
                    batches.append(batch)
                    pipeline.answered(batch, TAKEN, NOW)
                case Commit():
                    pipeline.committed(command, NOW)
                case FetchSchema(ref):
                    wanted.append(ref)
        for answer in find(wanted) if wanted else ():
            _take_in(pipeline, answer)
    return batches


def _commits(pipeline: Pipeline) -> list[Commit]:
    """What is settled. It would not get its turn by itself: commits are rationed by time, and time stands still."""
    commit = pipeline.last_commit(pipeline.lanes)
    return [] if commit is None else [commit]


def _take_in(pipeline: Pipeline, answer: SchemaAnswer) -> None:
    match answer:
        case SchemaKnown(ref, plan):
            pipeline.schema_known(ref, plan, NOW)
        case SchemaUnknown(ref, detail):
            pipeline.schema_unknown(ref, detail, NOW)
        case SchemaUnavailable(ref, detail):
            pipeline.schema_unavailable(ref, detail)


def _waiting(pipeline: Pipeline, tp: TopicPartition) -> dict[int, Waiting]:
    """What is left undone in the lane, by offset."""
    lane = pipeline.lanes[tp]
    hold = f"more than REJECTION_LIMIT={lane.limits.rejection_limit} in a row: `run` holds the partition here"
    left: dict[int, Waiting] = {}
    for record, decision in lane.suspects:
        if isinstance(decision, DeadLetter):
            left[record.offset] = Waiting(decision.reason.value, f"{decision.detail}; {hold}")
        elif isinstance(decision, Reason):
            left[record.offset] = Waiting(decision.value, f"behind {hold}")
    ref = lane.missing_schema
    if ref is not None:
        detail = f"`run` waits for schema {ref}: {pipeline.intake.unavailable.get(ref, 'no answer')}"
        left |= {record.offset: Waiting(WAITS_FOR_SCHEMA, detail) for record in lane.backlog}
    return left
