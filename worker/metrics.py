"""The worker's numbers, each with its name and labels. No PII and no unbounded label; nothing is served from here."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from worker.core.outcomes import HoldReason

PREFIX = "dreamdata_worker"

# around the API's usual answer, up to the request time-out's default and beyond
REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
# the last one is the limit: nothing may be above it
BODY_BYTES = (1_000, 5_000, 10_000, 50_000, 100_000, 200_000, 300_000, 400_000, 450_000, 490_000, 500_000)
BATCH_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 1_500, 2_000, 2_500, 5_000, 10_000)


class Metrics:
    """One worker's numbers in a registry of their own. Safe on any thread."""

    def __init__(self) -> None:
        # or each counter would bring a second series, `…_created`, which nobody asked for
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library says nothing of its types
        registry = self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=PREFIX, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=PREFIX, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, namespace=PREFIX, registry=registry, buckets=buckets)

        # a counter's name gets its `_total` from the library
        self.records = counter("records", "Committed records, each under one outcome.", "outcome", "reason")
        self.events_delivered = counter(
            "events_delivered", "Delivered events; identified: sent with traits.", "event", "identified"
        )
        self.requests = counter("requests", "Requests to Dreamdata, by what came back.", "status")
        self.request_seconds = histogram("request_seconds", "From request to answer.", REQUEST_SECONDS)
        self.request_body_bytes = histogram("request_body_bytes", "Size of a body as sent.", BODY_BYTES)
        self.batch_events = histogram("batch_events", "Events in one request.", BATCH_EVENTS)
        self.retries = counter("retries", "Batches to be sent again, by what came back.", "cause")
        self.consumer_lag = gauge("consumer_lag", "End offset less committed offset.", "topic", "partition")
        self.oldest_unsettled_seconds = gauge(
            "oldest_unsettled_seconds", "Since the oldest unsettled record was received."
        )
        self.held = gauge("held", "1 while nothing is delivered or committed for this reason.", "reason")
        self.paused_partitions = gauge("paused_partitions", "Partitions that are not read just now.")
        self.identities = gauge("identities", "Visitors whose traits are remembered.")
        self.identities_skipped = counter(
            "identities_skipped",
            "Entries of the identity log that are unreadable, and visitors known too late only (compacted).",
            "reason",
        )
        self.traits_refused = counter(
            "traits_refused", "Traits not learned: a visitor's state would be larger than 32 KB."
        )
        self.rebalances = counter("rebalances", "Times partitions were given or taken.")
        self.commits = counter("commits", "Transactions that commit offsets.", "result")

        # what is not there cannot be alerted on
        for reason in HoldReason:
            self.held.labels(reason).set(0)
        for result in ("ok", "error"):
            self.commits.labels(result)
        for skipped in ("unreadable", "compacted"):
            self.identities_skipped.labels(skipped)

    def outcomes(self) -> dict[str, int]:
        """How many records were committed, by outcome and reason: `filtered/no-consent`."""
        samples = [sample for metric in self.records.collect() for sample in metric.samples]
        return {
            "/".join(part for part in (sample.labels["outcome"], sample.labels["reason"]) if part): int(sample.value)
            for sample in samples
            if sample.name.endswith("_total")
        }
