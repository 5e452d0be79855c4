"""A replay as a job of the loop: its own group, the range's ends, dead letters as in the live run, and visitors as they
were. Puts parts together and does none of their work.
"""

from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from worker.assembly import Clock, Job, pipeline_of, registry_of, wall_ms
from worker.client_properties import client_properties, consumer_properties
from worker.cluster import Cluster
from worker.core.decoding import Plan, SchemaRef
from worker.core.mapping import Selection
from worker.core.records import Record, TopicPartition
from worker.errors import NoSuchSchemaError, SchemaUnavailableError
from worker.identity_log import IdentityLog
from worker.outgoing import DeadLetterWriter
from worker.planners import StretchPlanner
from worker.ranges import Bounds, records_of
from worker.replay.options import WarmUp
from worker.replay.runs import Replay
from worker.replay.warm_up import Learner, PastVisitors, Report
from worker.schema_directory import load_directory
from worker.settings import Settings
from worker.topics import TopicNames

if TYPE_CHECKING:
    from worker.registry import Registry


def job_of(
    settings: Settings,
    replay: Replay,
    cluster: Cluster,
    selection: Selection | None,
    warm_up: WarmUp,
    rate: int | None,
    resources: ExitStack,
) -> Job:
    """`resources` is closed by the caller once the job is over."""
    live = settings.kafka_consumer_group
    names = TopicNames(replay.topics, live, dead_letter=settings.dead_letter_topic, identity=settings.identity_topic)
    learner = Learner(pipeline_of(settings).intake.decider, _finder(settings, resources))
    ttl_ms = settings.identity_ttl_ms

    def read(tp: TopicPartition, first_offset: int, end_offset: int) -> Generator[Record]:
        return records_of(consumer_properties(settings, replay.group), tp, Bounds(0, end_offset, first_offset))

    def visitors(report: Report, clock: Clock) -> PastVisitors:
        properties = client_properties(settings)
        return PastVisitors(
            lambda hear: IdentityLog(properties, names, replay.group, cluster, ttl_ms, hear, clock, foreign=True),
            cluster,
            read,
            learner,
            warm_up,
            ttl_ms,
            report,
        )

    return Job(
        replay.group,
        names,
        cluster,
        StretchPlanner(),
        (DeadLetterWriter(names, live, cluster, wall_ms),),
        visitors,
        rate,
        selection,
    )


def _finder(settings: Settings, resources: ExitStack) -> "Finder":
    registry = registry_of(settings)
    if registry is not None:
        resources.callback(registry.close)
    return Finder(settings, registry)


class Finder:
    """Schemas for whoever can wait. Raises NoSuchSchemaError or SchemaUnavailableError."""

    def __init__(self, settings: Settings, registry: "Registry | None") -> None:
        self._directory = settings.schema_dir
        self._local = load_directory(settings.schema_dir)
        self._registry = registry

    def __call__(self, ref: SchemaRef) -> Plan:
        if ref in self._local:
            return self._local[ref]
        if ref.kind == "fingerprint":
            raise NoSuchSchemaError(f"no schema in {self._directory} has the {ref.kind} {ref.raw.hex()}")
        if self._registry is None:
            raise SchemaUnavailableError("no schema registry is configured: set SCHEMA_REGISTRY_URL")
        return self._registry.find(ref)
