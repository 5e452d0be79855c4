"""What is wrong with the topics: those that are read, and the worker's own. Values in, results out; no client.

A topic's settings are missing from `configs` where the right to read them is: nothing is said then of what they hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from worker.check.results import Result, finding, ok
from worker.inspector import TopicSeen
from worker.topics import Config, TopicNames, dead_letter_config, dead_letter_doubts

TOPICS, OWN_TOPICS = "topics", "own topics"

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


def missing_own(names: TopicNames, seen: TopicsSeen) -> dict[str, str]:
    """The dead-letter topics that are not there yet, each with its source, which is."""
    sources = [name for name in names.selected(seen.topics) if name in seen.topics]
    return {names.dead_letter(name): name for name in sources if names.dead_letter(name) not in seen.topics}


def judge_own(names: TopicNames, seen: TopicsSeen, refusals: Mapping[str, str]) -> list[Result]:
    """A result for the dead-letter topic of each source. `refusals`: why the broker would not make those missing."""
    results: list[Result] = []
    for source in names.selected(seen.topics):
        if source not in seen.topics:
            continue
        name = names.dead_letter(source)
        if name in seen.topics:
            results += _existing_own(name, source, seen)
        else:
            results.append(_missing_own(name, source, seen, refusals.get(name, "")))
    return results


def _missing_own(name: str, source: str, seen: TopicsSeen, refusal: str) -> Result:
    config = dead_letter_config(seen.configs.get(source, {}))
    if not refusal:
        return ok(OWN_TOPICS, f"{name} does not exist yet; the worker may make it, and does so at its start")
    wanted = ", ".join(f"{key}={value}" for key, value in config.items())
    return finding(
        OWN_TOPICS,
        f"{name} does not exist or may not be seen, and the worker may not make it: {refusal}",
        f"grant CREATE on it, or make it with {seen.topics[source].partitions} partitions, {wanted}; and grant WRITE "
        "and DESCRIBE",
    )


def _existing_own(name: str, source: str, seen: TopicsSeen) -> list[Result]:
    config = seen.configs.get(name, {})
    found = [
        finding(OWN_TOPICS, f"{name} {doubt.what}", doubt.remedy)
        for doubt in dead_letter_doubts(config, seen.configs.get(source, {}))
    ]
    if "WRITE" not in seen.rights.get(name, {"WRITE"}):
        found.append(finding(OWN_TOPICS, f"{name} may not be written to", "grant WRITE and DESCRIBE on it"))
    return found or [ok(OWN_TOPICS, f"{name}: {described(seen.topics[name], config)}")]


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
