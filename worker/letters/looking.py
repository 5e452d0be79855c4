"""Puts the parts together that look at dead letters as a redrive would, and send nothing. Blocks; prints nothing."""

import queue
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from worker.assembly import pipeline_of, registry_of
from worker.client_properties import consumer_properties
from worker.cluster import Cluster
from worker.core.decoding import Plan, SchemaAnswer, SchemaRef
from worker.core.identity import Remembered, visitor_of
from worker.core.mapping import Selection as EventSelection
from worker.core.records import Record, TopicPartition
from worker.dead_letters import Letter
from worker.letters.known import known_of
from worker.letters.reopening import Reopener, Visitors
from worker.letters.selection import Ownership, Selection
from worker.render.asking import ENOUGH_TRIES, answers
from worker.render.rehearsal import Judged, Rehearsal, rehearse
from worker.schemas import Schemas
from worker.settings import Settings

# Whoever looks at a letter wants to know, however often it was tried.
_ANY_NUMBER = 2**63


class Rehearser:
    """Asks for each schema once. Its threads end with the block it is used in. `events` None: all of them."""

    def __init__(self, settings: Settings, events: EventSelection | None = None) -> None:
        self._events = events
        # time stands still in a rehearsal: without linger every turn would end a body
        self._settings = settings.model_copy(
            update={"batch_linger_ms": max(1, settings.batch_linger_ms), "rejection_limit": 0}
        )
        self._registry = registry_of(settings)
        self._inbox: queue.SimpleQueue[SchemaAnswer] = queue.SimpleQueue()
        self._schemas = Schemas(settings.schema_dir, self._registry, self._inbox.put, time.monotonic)
        self._plans: dict[SchemaRef, Plan] = {}
        self._unknown: dict[SchemaRef, tuple[float, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._schemas.close()

    def rehearse(self, tp: TopicPartition, records: Sequence[Record], reopener: Reopener) -> Rehearsal:
        """What would become of these records of a dead-letter topic."""
        pipeline = pipeline_of(self._settings, self._events)
        pipeline.intake.plans, pipeline.intake.unknown = self._plans, self._unknown
        pipeline.intake.reopen = reopener
        return rehearse(pipeline, tp, records, self._find)

    def _find(self, refs: Sequence[SchemaRef]) -> list[SchemaAnswer]:
        tries = ENOUGH_TRIES if self._registry else 1  # without a registry the first answer is the last
        return answers(refs, self._schemas.fetch, self._inbox, time.monotonic, tries=tries)


def judged(settings: Settings, cluster: Cluster, tp: TopicPartition, record: Record, letter: Letter) -> Judged:
    """The event of a letter that lies at `tp`, and what would become of it now. Raises KafkaUnavailableError."""
    owner = Ownership(letter.group, _ANY_NUMBER)
    with Rehearser(settings) as rehearser:

        def judge(visitors: Visitors) -> Judged:
            return rehearser.rehearse(tp, [record], Reopener(owner, Selection(), visitors)).judged[0]

        found = judge({})
        visitor = found.event and visitor_of(found.event.anonymous_id, found.event.user_id)
        if not visitor:
            return found
        known = known_of(cluster, consumer_properties(settings), settings.topic_names(), {letter.source: {visitor}})
        return judge({source: Remembered(settings.identity_ttl_ms, each) for source, each in known.items()})
