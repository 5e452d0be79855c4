"""The parts of a worker, made as its settings want them. No part's work is done here, and no setting is read twice.

What makes an edge starts its threads: whoever calls `edges_of` ends them with `close`.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.api import Api
from worker.client_properties import client_properties, consumer_properties
from worker.cluster import Cluster
from worker.committer import Committer
from worker.core.consent import Consent
from worker.core.decisions import Decider, Policy
from worker.core.intake import Reopen
from worker.core.lanes import Limits
from worker.core.mapping import EventMapping, Selection
from worker.core.pace import Pace
from worker.core.pipeline import Pipeline
from worker.errors import SettingsError
from worker.facts import Answered, Inbox
from worker.identity_log import IdentityLog, LogFinding
from worker.kafka import Consumer
from worker.loop import Edges, Loop
from worker.outgoing import DeadLetterWriter, IdentityWriter, Writer
from worker.planners import LivePlanner, Planner
from worker.schemas import Schemas
from worker.scout import Scout
from worker.sender import Backoff, Sender
from worker.settings import Settings
from worker.settings.checks import MAX_POLL_INTERVAL_MS
from worker.settings.values import UnmappedEvents
from worker.starting import VisitorSource
from worker.topics import TopicNames

if TYPE_CHECKING:
    from worker.registry import Registry

MAX_REVOKE_SECONDS = 10.0

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Job:
    """What tells `run` from a run that ends by itself: whose offsets, which topics, from where to where, what is
    written beside the offsets, and where visitors are known from.

    `names` has the topics to read; the names it gives to others are those of the live group. `visitors` makes what
    reads them, given whom to report to. `rate` None: as many records a second as there are; `selection` None: all
    events. With `reopen` the records are dead letters.
    """

    group: str
    names: TopicNames
    cluster: Cluster
    planner: Planner
    writers: Sequence[Writer]
    visitors: Callable[[Callable[[LogFinding], None], Clock], VisitorSource]
    rate: int | None = None
    selection: Selection | None = None
    reopen: Reopen | None = None


def live_job(settings: Settings) -> Job:
    """That of `run`."""
    properties, group, names = client_properties(settings), settings.kafka_consumer_group, settings.topic_names()
    cluster, ttl_ms = Cluster(properties), settings.identity_ttl_ms
    return Job(
        group,
        names,
        cluster,
        LivePlanner(settings.kafka_auto_offset_reset),
        (DeadLetterWriter(names, group, cluster, wall_ms), IdentityWriter(names, cluster, ttl_ms)),
        lambda report, clock: IdentityLog(properties, names, group, cluster, ttl_ms, report, clock),
    )


def mapping_of(settings: Settings) -> EventMapping:
    return EventMapping(
        settings.variant.value,
        settings.event_mapping,
        forward_unmapped=settings.unmapped_events is UnmappedEvents.FORWARD,
    )


def selection_of(settings: Settings, events: Sequence[str]) -> Selection | None:
    """What an option `--event` means; None where all events are wanted.

    Raises SettingsError for a name by which nothing is ever sent.
    """
    if not events:
        return None
    mapping = mapping_of(settings)
    selection = Selection(events, mapping, forward_identify=settings.forward_identify)
    if selection.strange:
        known = ", ".join(entry.name for entry in mapping.entries if entry.target)
        raise SettingsError(
            [f"--event: nothing is sent by the name {name!r}; known are page, {known}" for name in selection.strange]
        )
    return selection


def pipeline_of(settings: Settings, selection: Selection | None = None, rate: int | None = None) -> Pipeline:
    """The core, as these settings want it, for these events (None: all) at this rate (None: as fast as it goes)."""
    policy = Policy(
        consent=Consent(settings.consent_categories),
        mapping=mapping_of(settings),
        traits=settings.traits,
        placement=settings.traits_placement,
        forward_identify=settings.forward_identify,
        event_max_bytes=settings.event_max_bytes,
        batch_max_bytes=settings.batch_max_bytes,
        selection=selection,
    )
    limits = Limits(
        batch_max_bytes=settings.batch_max_bytes,
        batch_max_events=settings.batch_max_events,
        linger_seconds=settings.batch_linger_ms / 1000,
        in_flight=settings.max_in_flight_per_partition,
        rejection_limit=settings.rejection_limit,
        give_up_after_seconds=settings.give_up_after_seconds,
    )
    made = Pipeline(Decider(policy), limits, identity_ttl_ms=settings.identity_ttl_ms)
    made.intake.pace = None if rate is None else Pace(rate)
    return made


def edges_of(settings: Settings, job: Job, loop: Loop, inbox: Inbox, clock: Clock) -> Edges:
    """All edges of a job, each reporting into `inbox`."""
    return Edges(
        consumer=Consumer(consumer_properties(settings, job.group), loop),
        sender=Sender(
            Api(settings.dreamdata_url, settings.api_key, settings.request_timeout_seconds, clock=clock),
            lambda batch, answer: inbox.put(Answered(batch, answer)),
            clock,
            concurrency=settings.delivery_concurrency,
            rate_per_second=settings.rate_limit_per_second,
            backoff=Backoff(settings.retry_initial_seconds, settings.retry_max_seconds),
        ),
        committer=Committer(client_properties(settings), job.group, job.writers, inbox.put),
        schemas=Schemas(settings.schema_dir, registry_of(settings), inbox.put, clock),
        visitors=job.visitors(inbox.put, clock),
        scout=Scout(job.cluster, job.names, job.group, job.planner, inbox.put, clock),
    )


def close(edges: Edges) -> None:
    """Ends their threads, each within seconds; the consumer is the loop's to close."""
    edges.sender.close()
    edges.committer.close()
    edges.schemas.close()
    edges.scout.close()
    edges.visitors.close()


def registry_of(settings: Settings) -> "Registry | None":
    """None where the settings have none. Raises SettingsError where its client refuses what they say."""
    if settings.schema_registry_url is None:
        return None
    # what its client imports weighs 18 MB, and costs a fifth of the start
    from worker.registry import Registry, RegistryConfig

    return Registry(
        RegistryConfig(
            settings.schema_registry_url,
            settings.schema_registry_username,
            settings.secret("schema_registry_password"),
            ca_file=os.environ.get("REQUESTS_CA_BUNDLE"),
        )
    )


def revoke_seconds(consumer_settings: Mapping[str, object]) -> float:
    """Half of what the broker grants between two polls, if that is less than ten seconds."""
    max_poll_interval_ms = str(consumer_settings.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS))
    # what is no number is refused by the client, a moment later and with better words
    milliseconds = int(max_poll_interval_ms) if max_poll_interval_ms.isdecimal() else MAX_POLL_INTERVAL_MS
    return min(MAX_REVOKE_SECONDS, milliseconds / 2000)


def patience_seconds(settings: Settings) -> float:
    """WATCHDOG_SECONDS, but never less than a single request or a lingering batch may take."""
    lingering = 2 * settings.batch_linger_ms / 1000
    return max(settings.watchdog_seconds, settings.request_timeout_seconds + 5, lingering)


def wall_ms(moment: float) -> int:
    """The time of day of a moment on the monotonic clock, in epoch milliseconds."""
    return round((time.time() - (time.monotonic() - moment)) * 1000)
