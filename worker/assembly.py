"""The parts of a worker, made as its settings want them. No part's work is done here, and no setting is read twice.

What makes an edge starts its threads: whoever calls `edges_of` ends them with `close`.
"""

import os
import time
from collections.abc import Callable, Mapping

from worker.api import Api
from worker.cluster import Cluster
from worker.committer import Committer
from worker.core.consent import Consent
from worker.core.decisions import Decider, Policy
from worker.core.lanes import Limits
from worker.core.mapping import EventMapping
from worker.core.pipeline import Pipeline
from worker.facts import Answered, Inbox
from worker.identity_log import IdentityLog
from worker.kafka import Consumer, client_properties, consumer_properties
from worker.loop import Edges, Loop
from worker.registry import RegistryConfig
from worker.schemas import Schemas
from worker.scout import Scout
from worker.sender import Backoff, Sender
from worker.settings import Settings
from worker.settings.checks import MAX_POLL_INTERVAL_MS
from worker.settings.values import UnmappedEvents

MAX_REVOKE_SECONDS = 10.0

Clock = Callable[[], float]


def mapping_of(settings: Settings) -> EventMapping:
    return EventMapping(
        settings.variant.value,
        settings.event_mapping,
        forward_unmapped=settings.unmapped_events is UnmappedEvents.FORWARD,
    )


def pipeline_of(settings: Settings) -> Pipeline:
    """The core, as these settings want it."""
    policy = Policy(
        consent=Consent(settings.consent_categories),
        mapping=mapping_of(settings),
        traits=settings.traits,
        placement=settings.traits_placement,
        forward_identify=settings.forward_identify,
        event_max_bytes=settings.event_max_bytes,
        batch_max_bytes=settings.batch_max_bytes,
    )
    limits = Limits(
        batch_max_bytes=settings.batch_max_bytes,
        batch_max_events=settings.batch_max_events,
        linger_seconds=settings.batch_linger_ms / 1000,
        in_flight=settings.max_in_flight_per_partition,
        rejection_limit=settings.rejection_limit,
        give_up_after_seconds=settings.give_up_after_seconds,
    )
    return Pipeline(Decider(policy), limits, identity_ttl_ms=settings.identity_ttl_ms)


def edges_of(settings: Settings, loop: Loop, inbox: Inbox, clock: Clock) -> Edges:
    """All edges of `run`, each reporting into `inbox`."""
    names, group = settings.topic_names(), settings.kafka_consumer_group
    cluster = Cluster(client_properties(settings))
    ttl_ms = settings.identity_ttl_ms
    return Edges(
        consumer=Consumer(consumer_properties(settings), loop),
        sender=Sender(
            Api(settings.dreamdata_url, settings.api_key, settings.request_timeout_seconds, clock=clock),
            lambda batch, answer: inbox.put(Answered(batch, answer)),
            clock,
            concurrency=settings.delivery_concurrency,
            rate_per_second=settings.rate_limit_per_second,
            backoff=Backoff(settings.retry_initial_seconds, settings.retry_max_seconds),
        ),
        committer=Committer(
            client_properties(settings), names, group, cluster, inbox.put, wall_ms, identity_ttl_ms=ttl_ms
        ),
        schemas=Schemas(settings.schema_dir, registry_of(settings), inbox.put, clock),
        identity_log=IdentityLog(client_properties(settings), names, group, cluster, ttl_ms, inbox.put, clock),
        scout=Scout(cluster, names, group, settings.kafka_auto_offset_reset, inbox.put, clock),
    )


def close(edges: Edges) -> None:
    """Ends their threads, each within seconds; the consumer is the loop's to close."""
    edges.sender.close()
    edges.committer.close()
    edges.schemas.close()
    edges.scout.close()
    edges.identity_log.close()


def registry_of(settings: Settings) -> RegistryConfig | None:
    if settings.schema_registry_url is None:
        return None
    return RegistryConfig(
        settings.schema_registry_url,
        settings.schema_registry_username,
        settings.secret("schema_registry_password"),
        ca_file=os.environ.get("REQUESTS_CA_BUNDLE"),
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
