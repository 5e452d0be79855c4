import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker.core.outcomes import HoldReason
from worker.metrics import Metrics

# DESIGN.md §5: name as scraped, its labels
DOCUMENTED = {
    "records_total": {"outcome", "reason"},
    "events_delivered_total": {"event", "identified"},
    "requests_total": {"status"},
    "identities_skipped_total": {"reason"},
    "traits_refused_total": set(),
    "request_seconds": set(),
    "request_body_bytes": set(),
    "batch_events": set(),
    "retries_total": {"cause"},
    "consumer_lag": {"topic", "partition"},
    "oldest_unsettled_seconds": set(),
    "held": {"reason"},
    "paused_partitions": set(),
    "identities": set(),
    "rebalances_total": set(),
    "commits_total": {"result"},
}


def used() -> Metrics:
    """With a sample of each, so that every name is on the page."""
    metrics = Metrics()
    metrics.records.labels("delivered", "").inc()
    metrics.events_delivered.labels("page", "false").inc()
    metrics.requests.labels("200").inc()
    metrics.retries.labels("timeout").inc()
    metrics.consumer_lag.labels("delivery-a", "0").set(3)
    metrics.commits.labels("ok").inc()
    return metrics


def ours(metrics: Metrics) -> dict[str, Metric]:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {family.name: family for family in families if family.name.startswith("dreamdata_worker_")}


def test_the_page_has_the_documented_names_and_no_others() -> None:
    scraped = {family.name + ("_total" if family.type == "counter" else "") for family in ours(used()).values()}
    assert scraped == {f"dreamdata_worker_{name}" for name in DOCUMENTED}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_metric_has_its_documented_labels(name: str) -> None:
    family = ours(used())[f"dreamdata_worker_{name.removesuffix('_total')}"]
    assert {frozenset(sample.labels) - {"le"} for sample in family.samples} == {frozenset(DOCUMENTED[name])}


def test_every_reason_to_hold_is_there_from_the_start_and_0() -> None:
    held = ours(Metrics())["dreamdata_worker_held"]
    assert {sample.labels["reason"]: sample.value for sample in held.samples} == dict.fromkeys(map(str, HoldReason), 0)


def test_the_largest_body_that_may_be_sent_is_in_the_last_bucket() -> None:
    metrics = Metrics()
    metrics.request_body_bytes.observe(499_999)
    buckets = {
        sample.labels.get("le"): sample.value for sample in ours(metrics)["dreamdata_worker_request_body_bytes"].samples
    }
    assert (buckets["490000.0"], buckets["500000.0"]) == (0, 1)


def test_two_workers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.rebalances.inc()
    assert [ours(each)["dreamdata_worker_rebalances"].samples[0].value for each in (one, other)] == [1, 0]


def test_the_process_is_measured_too() -> None:
    page = generate_latest(Metrics().registry).decode()
    assert "python_info" in page
    assert "python_gc_collections_total" in page
