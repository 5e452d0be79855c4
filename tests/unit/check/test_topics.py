from collections.abc import Iterable, Mapping

import pytest

from worker.check.results import Result, Verdict
from worker.check.topics import TopicsSeen, described, duration, judge_patience, judge_sources
from worker.inspector import TopicSeen
from worker.topics import TopicNames

SOURCE, OWN = "delivery-a", "delivery-a.dead-letters"
WEEK_MS = 7 * 24 * 3600 * 1000
CONFIG = {"cleanup.policy": "delete", "retention.ms": str(WEEK_MS), "max.message.bytes": "1048588"}


def names(wanted: str = SOURCE) -> TopicNames:
    return TopicNames([wanted], "g", dead_letter="{topic}.dead-letters", identity="{group}.{topic}.identity")


def cluster(
    *topics: str,
    configs: Mapping[str, Mapping[str, str]] | None = None,
    rights: Mapping[str, Iterable[str]] | None = None,
    leaderless: int = 0,
) -> TopicsSeen:
    """Topics of four partitions; without `configs` none may be read, without `rights` the broker does not say."""
    return TopicsSeen(
        {topic: TopicSeen(4, 3, leaderless) for topic in topics},
        configs or {},
        {topic: frozenset(operations) for topic, operations in (rights or {}).items()},
    )


def verdicts(results: Iterable[Result]) -> list[Verdict]:
    return [result.verdict for result in results]


def test_a_topic_that_is_well_is_described() -> None:
    [result] = judge_sources(names(), cluster(SOURCE, configs={SOURCE: CONFIG}), None)
    assert result.verdict is Verdict.OK
    assert result.what == "delivery-a: 4 partitions, replication 3, keeps 7 days, records up to 1,048,588 bytes"


def test_a_missing_topic_is_a_finding_that_names_the_nearest() -> None:
    [result] = judge_sources(names("delivery-aa"), cluster(SOURCE, "orders"), None)
    assert result.verdict is Verdict.FINDING
    assert "delivery-aa does not exist" in result.what
    assert "did you mean delivery-a?" in result.remedy


def test_a_pattern_that_matches_nothing_is_a_finding() -> None:
    [result] = judge_sources(names("^delivery-x"), cluster(SOURCE, OWN), None)
    assert result.verdict is Verdict.FINDING
    assert "^delivery-x matches none of the 2 topics" in result.what


def test_a_pattern_does_not_match_own_topics() -> None:
    results = judge_sources(names("^delivery-"), cluster(SOURCE, OWN), None)
    assert [result.what.partition(":")[0] for result in results] == [SOURCE]


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        pytest.param(None, Verdict.OK, id="the broker does not say"),
        pytest.param({SOURCE: ["READ", "DESCRIBE"]}, Verdict.OK, id="granted"),
        pytest.param({SOURCE: ["DESCRIBE"]}, Verdict.FINDING, id="only DESCRIBE"),
    ],
)
def test_a_topic_that_may_not_be_read_is_a_finding(
    rights: Mapping[str, Iterable[str]] | None, expected: Verdict
) -> None:
    assert verdicts(judge_sources(names(), cluster(SOURCE, rights=rights), None)) == [expected]


def test_partitions_without_a_leader_are_a_finding() -> None:
    [result] = judge_sources(names(), cluster(SOURCE, leaderless=2), None)
    assert result.verdict is Verdict.FINDING
    assert "2 of 4 partitions have no leader" in result.what


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_source_is_a_finding_because_events_vanish(policy: str) -> None:
    config = {SOURCE: {**CONFIG, "cleanup.policy": policy}}
    [result] = judge_sources(names(), cluster(SOURCE, configs=config), None)
    assert result.verdict is Verdict.FINDING
    assert policy in result.what


@pytest.mark.parametrize(
    ("retention_ms", "give_up_after_seconds", "expected"),
    [
        pytest.param(3_599_999, 3_600, Verdict.FINDING, id="a moment too short"),
        pytest.param(3_600_000, 3_600, Verdict.OK, id="just as long"),
        pytest.param(-1, 3_600, Verdict.OK, id="for ever"),
        pytest.param(1_000, None, Verdict.OK, id="never given up"),
    ],
)
def test_retention_shorter_than_giving_up_takes_is_a_finding(
    retention_ms: int, give_up_after_seconds: float | None, expected: Verdict
) -> None:
    config = {SOURCE: {**CONFIG, "retention.ms": str(retention_ms)}}
    results = judge_sources(names(), cluster(SOURCE, configs=config), give_up_after_seconds)
    assert verdicts(results) == [expected]


DAY_MS = 24 * 3_600_000


@pytest.mark.parametrize(
    ("retention_ms", "expected"),
    [
        pytest.param(DAY_MS - 1, Verdict.WARNING, id="not even a day"),
        pytest.param(DAY_MS, Verdict.OK, id="a day"),
        pytest.param(-1, Verdict.OK, id="for ever"),
    ],
)
def test_where_batches_are_retried_for_ever_a_retention_of_less_than_a_day_is_a_warning(
    retention_ms: int, expected: Verdict
) -> None:
    config = {SOURCE: {**CONFIG, "retention.ms": str(retention_ms)}}
    [result] = judge_patience(names(), cluster(SOURCE, configs=config), None)
    assert result.verdict is expected
    assert "GIVE_UP_AFTER_SECONDS is not set" in result.what


def test_how_long_an_outage_may_last_is_said_of_the_topic_that_keeps_least() -> None:
    configs = {SOURCE: CONFIG, "delivery-b": {**CONFIG, "retention.ms": str(2 * DAY_MS)}}
    [result] = judge_patience(names("^delivery-"), cluster(*configs, configs=configs), None)
    assert "After an outage of the API of 2 days, events of delivery-b" in result.what


def test_a_bound_in_bytes_may_be_reached_sooner() -> None:
    config = {SOURCE: {**CONFIG, "retention.bytes": "1000000"}}
    [result] = judge_patience(names(), cluster(SOURCE, configs=config), None)
    assert "retention.bytes" in result.what


def test_nothing_is_said_of_an_outage_where_batches_are_given_up_or_nothing_is_known() -> None:
    assert judge_patience(names(), cluster(SOURCE, configs={SOURCE: CONFIG}), 60) == []
    assert judge_patience(names(), cluster(SOURCE), None) == []


def test_all_that_is_wrong_with_a_topic_is_said() -> None:
    seen = cluster(
        SOURCE, configs={SOURCE: {"cleanup.policy": "compact", "retention.ms": "1"}}, rights={SOURCE: []}, leaderless=1
    )
    assert len(judge_sources(names(), seen, 60)) == 4


def test_settings_that_may_not_be_read_are_not_made_up() -> None:
    assert (
        described(TopicSeen(1, 1), {}) == "1 partition, replication 1, its settings may not be read (DESCRIBE_CONFIGS)"
    )


def test_a_bound_in_bytes_is_named() -> None:
    words = described(TopicSeen(1, 1), {**CONFIG, "retention.ms": "-1", "retention.bytes": "1073741824"})
    assert "keeps records for ever, at most 1,073,741,824 bytes a partition" in words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(WEEK_MS, "7 days"), (36 * 3_600_000, "36 hours"), (90 * 60_000, "90 minutes"), (1_500, "1.5 seconds")],
)
def test_durations_are_said_in_the_largest_unit_that_reads_well(milliseconds: int, words: str) -> None:
    assert duration(milliseconds) == words
