from collections.abc import Mapping

import pytest

from tests.unit.check.test_topics import CONFIG, OWN, SOURCE, cluster, names
from worker.check.own_topics import judge_own, own_topics
from worker.check.results import Result, Verdict
from worker.check.topics import TopicsSeen
from worker.inspector import TopicSeen
from worker.topics import dead_letter_config, identity_config

LOG = f"g.{SOURCE}.identity"
TTL_MS = 10 * 24 * 3600 * 1000
CONFIGS = {SOURCE: CONFIG, OWN: dead_letter_config(CONFIG), LOG: identity_config(TTL_MS)}


def judged(seen: TopicsSeen, refusals: Mapping[str, str] | None = None) -> dict[str, list[Result]]:
    """The results by the topic they begin with."""
    found: dict[str, list[Result]] = {OWN: [], LOG: []}
    for result in judge_own(own_topics(names(), seen, TTL_MS), seen, refusals or {}):
        found[OWN if result.what.startswith(OWN) else LOG].append(result)
    return found


@pytest.mark.parametrize("own", [OWN, LOG])
def test_one_that_is_missing_and_may_be_made_is_well(own: str) -> None:
    [result] = judged(cluster(SOURCE))[own]
    assert result.verdict is Verdict.OK
    assert "may make it" in result.what


def test_one_that_may_not_be_made_is_a_finding_that_says_how_to_make_it() -> None:
    seen = cluster(SOURCE, configs={SOURCE: {**CONFIG, "max.message.bytes": "2000000"}})
    found = judged(seen, {OWN: "Authorization failed.", LOG: "Authorization failed."})
    [letters], [log] = found[OWN], found[LOG]
    assert letters.verdict is log.verdict is Verdict.FINDING
    assert "Authorization failed." in letters.what
    assert "4 partitions, cleanup.policy=delete, retention.ms=2592000000, max.message.bytes=2065536" in letters.remedy
    assert "4 partitions, cleanup.policy=compact,delete" in log.remedy
    assert "READ, WRITE, DESCRIBE" in log.remedy


def test_those_of_a_source_that_is_not_there_are_not_looked_for() -> None:
    assert own_topics(names(), cluster("orders"), TTL_MS) == []


def test_those_the_worker_makes_are_well() -> None:
    found = judged(cluster(SOURCE, OWN, LOG, configs=CONFIGS, rights={OWN: ["WRITE"], LOG: ["READ", "WRITE"]}))
    [letters], [log] = found[OWN], found[LOG]
    assert letters.verdict is log.verdict is Verdict.OK
    assert "keeps 30 days" in letters.what
    assert "keeps 40 days" in log.what


@pytest.mark.parametrize(
    ("own", "wrong"),
    [
        pytest.param(OWN, {"cleanup.policy": "compact"}, id="letters compacted"),
        pytest.param(OWN, {"max.message.bytes": "1048588"}, id="letters as small as their source"),
        pytest.param(LOG, {"cleanup.policy": "delete"}, id="log not compacted"),
        pytest.param(LOG, {"cleanup.policy": "compact"}, id="log for ever"),
        pytest.param(LOG, {"retention.ms": "1000"}, id="log shorter than the time to live"),
        pytest.param(LOG, {"retention.bytes": "1000000"}, id="log bounded in bytes"),
        pytest.param(OWN, {"min.insync.replicas": "4"}, id="letters with more in sync than there are"),
        pytest.param(LOG, {"min.insync.replicas": "4"}, id="log with more in sync than there are"),
    ],
)
def test_one_that_is_unfit_is_a_finding(own: str, wrong: Mapping[str, str]) -> None:
    [result] = judged(cluster(SOURCE, OWN, LOG, configs={**CONFIGS, own: {**CONFIGS[own], **wrong}}))[own]
    assert result.verdict is Verdict.FINDING
    assert result.remedy


@pytest.mark.parametrize(
    ("own", "wrong", "words"),
    [
        pytest.param(OWN, {"retention.ms": "86400000"}, "keeps dead letters for 24 hours", id="letters for a day"),
        pytest.param(OWN, {"retention.bytes": "1000000"}, "1,000,000 bytes a partition", id="letters bounded in bytes"),
        pytest.param(
            LOG, {"max.compaction.lag.ms": str(2**63 - 1)}, "stay on the brokers' disks", id="never compacted"
        ),
        pytest.param(LOG, {"delete.retention.ms": "86400000"}, "learn that visitor again", id="tombstones for a day"),
    ],
)
def test_one_that_could_do_better_is_a_warning(own: str, wrong: Mapping[str, str], words: str) -> None:
    [result] = judged(cluster(SOURCE, OWN, LOG, configs={**CONFIGS, own: {**CONFIGS[own], **wrong}}))[own]
    assert result.verdict is Verdict.WARNING
    assert words in result.what
    assert result.remedy


def test_as_many_in_sync_as_there_are_replicas_is_well() -> None:
    config = {**CONFIGS[LOG], "min.insync.replicas": "3"}
    [result] = judged(cluster(SOURCE, OWN, LOG, configs={**CONFIGS, LOG: config}))[LOG]
    assert result.verdict is Verdict.OK


def test_a_log_with_fewer_partitions_than_its_source_is_a_finding() -> None:
    seen = cluster(SOURCE, OWN, LOG, configs=CONFIGS)
    fewer = TopicsSeen({**seen.topics, LOG: TopicSeen(2, 3)}, seen.configs, seen.rights)
    [result] = judged(fewer)[LOG]
    assert result.what == f"{LOG} has 2 partitions, its source 4"


@pytest.mark.parametrize(
    ("own", "rights", "words"),
    [
        (OWN, ["READ", "DESCRIBE"], "may not be written to"),
        (LOG, ["READ"], "may not be written to"),
        (LOG, ["DESCRIBE"], "may not be read and written to"),
    ],
)
def test_a_right_that_is_missing_is_a_finding(own: str, rights: list[str], words: str) -> None:
    [result] = judged(cluster(SOURCE, OWN, LOG, configs=CONFIGS, rights={own: rights}))[own]
    assert result.verdict is Verdict.FINDING
    assert words in result.what
