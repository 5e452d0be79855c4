"""What is wrong with the topics that are read. Values in, results out; no client.

A topic's settings are missing from `configs` where the right to read them is: nothing is said then of what they hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from worker.check.results import Result, finding, ok, warning
from worker.inspector import TopicSeen
from worker.topics import Config, TopicNames

TOPICS = "topics"

# Who retries for ever counts on Kafka to keep what waits: an outage over a night is nothing unusual.
SHORT_RETENTION_MS = 24 * 60 * 60 * 1000

_SECONDS_PER_UNIT = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


@dataclass(frozen=True, slots=True)
class TopicsSeen:
    """Everything the cluster says of topics. `rights` lacks the topics of which the broker does not say them."""

    topics: Mapping[str, TopicSeen]
    configs: Mapping[str, Config]
    rights: Mapping[str, frozenset[str]]


def judge_sources(names: TopicNames, seen: TopicsSeen, give_up_after_seconds: float | None) -> list[Result]:
    """A result for each topic that is to be read, and where a pattern matches none."""
    selected = names.selected(seen.topics)
    if not selected:
        return [
            finding(
                TOPICS,
                f"the pattern {names.wanted[0]} matches none of the {len(seen.topics)} topics that can be seen",
                "correct KAFKA_TOPICS or make the topic. Topics without the right to DESCRIBE cannot be seen; the "
                "worker's own (DEAD_LETTER_TOPIC, IDENTITY_TOPIC) are never matched",
            )
        ]
    results: list[Result] = []
    for name in selected:
        topic = seen.topics.get(name)
        results += [_missing(name, seen)] if topic is None else _source(name, topic, seen, give_up_after_seconds)
    return results


def _missing(name: str, seen: TopicsSeen) -> Result:
    near = get_close_matches(name, seen.topics, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return finding(
        TOPICS,
        f"{name} does not exist, or may not be seen",
        f"correct KAFKA_TOPICS{guess}, make the topic, or grant READ and DESCRIBE on it",
    )


def _source(name: str, topic: TopicSeen, seen: TopicsSeen, give_up_after_seconds: float | None) -> list[Result]:
    config = seen.configs.get(name, {})
    problems = [*_unreadable(name, topic, seen), *_losses(name, config, give_up_after_seconds)]
    return problems or [ok(TOPICS, f"{name}: {described(topic, config)}")]


def _unreadable(name: str, topic: TopicSeen, seen: TopicsSeen) -> list[Result]:
    found: list[Result] = []
    if "READ" not in seen.rights.get(name, {"READ"}):
        found.append(finding(TOPICS, f"{name} may not be read", "grant READ on it to this user"))
    if topic.leaderless:
        found.append(
            finding(
                TOPICS,
                f"{name}: {topic.leaderless} of {topic.partitions} partitions have no leader, so that nothing is read "
                "from them",
                "look at the brokers: one that holds the partition has to come back",
            )
        )
    return found


def _losses(name: str, config: Config, give_up_after_seconds: float | None) -> list[Result]:
    found: list[Result] = []
    if "compact" in config.get("cleanup.policy", ""):
        found.append(
            finding(
                TOPICS,
                f"{name} has cleanup.policy={config['cleanup.policy']}: compaction removes all but a visitor's last "
                "event, delivered or not",
                "set it to delete",
            )
        )
    retention_ms = int(config.get("retention.ms", -1))
    if give_up_after_seconds is not None and 0 <= retention_ms < give_up_after_seconds * 1000:
        found.append(
            finding(
                TOPICS,
                f"{name} keeps records for {duration(retention_ms)}, GIVE_UP_AFTER_SECONDS is "
                f"{give_up_after_seconds:g}: during an outage of the API, events are deleted before they are given up",
                "raise retention.ms, or lower GIVE_UP_AFTER_SECONDS",
            )
        )
    return found


def judge_patience(names: TopicNames, seen: TopicsSeen, give_up_after_seconds: float | None) -> list[Result]:
    """How long the API may be away, where batches are retried for ever: one result for all topics, none where they are
    given up some time (`judge_sources` has that), or where nothing is known of any.
    """
    configs = {name: seen.configs[name] for name in names.selected(seen.topics) if name in seen.configs}
    if give_up_after_seconds is not None or not configs:
        return []
    kept_ms = {name: int(config.get("retention.ms", -1)) for name, config in configs.items()}
    bounded = {name: each for name, each in kept_ms.items() if each >= 0}
    forever = "GIVE_UP_AFTER_SECONDS is not set: batches are retried for ever"
    if any(int(config.get("retention.bytes", -1)) >= 0 for config in configs.values()):
        forever += ", and a partition that reaches its retention.bytes loses its oldest events sooner than said here"
    if not bounded:
        return [ok(TOPICS, f"{forever}, and what waits is kept for ever")]
    name = min(bounded, key=lambda name: bounded[name])
    lasts = (
        f"{forever}. After an outage of the API of {duration(bounded[name])}, events of {name} that wait are deleted"
    )
    if bounded[name] >= SHORT_RETENTION_MS:
        return [ok(TOPICS, lasts)]
    remedy = (
        "raise retention.ms above the longest outage that is to be survived, or set GIVE_UP_AFTER_SECONDS below it, so "
        "that they become dead letters"
    )
    return [warning(TOPICS, lasts, remedy)]


def described(topic: TopicSeen, config: Config) -> str:
    """`4 partitions, replication 3, keeps 7 days, records up to 1,048,588 bytes`."""
    words = [f"{topic.partitions} partition{'' if topic.partitions == 1 else 's'}", f"replication {topic.replication}"]
    if not config:
        return ", ".join([*words, "its settings may not be read (DESCRIBE_CONFIGS)"])
    retention_ms = int(config.get("retention.ms", -1))
    words.append("keeps records for ever" if retention_ms < 0 else f"keeps {duration(retention_ms)}")
    retention_bytes = int(config.get("retention.bytes", -1))
    if retention_bytes >= 0:
        words.append(f"at most {retention_bytes:,} bytes a partition")
    words.append(f"records up to {int(config.get('max.message.bytes', 0)):,} bytes")
    return ", ".join(words)


def duration(milliseconds: int) -> str:
    """In the largest unit of which there are two or more: `7 days`, `36 hours`."""
    for unit, seconds in _SECONDS_PER_UNIT:
        if milliseconds >= 2 * seconds * 1000:
            return f"{milliseconds / (seconds * 1000):.4g} {unit}"
    return f"{milliseconds / 1000:g} seconds"
