"""What is wrong with the topics the worker makes itself: dead letters and identity logs. Values in, results out; no
client.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.check.results import Result, finding, ok, warning
from worker.check.topics import TopicsSeen, described, duration
from worker.topics import (
    IDENTITY_COMPACTION_MS,
    IDENTITY_TOMBSTONES_MS,
    Config,
    Doubt,
    TopicNames,
    dead_letter_config,
    dead_letter_doubts,
    identity_config,
    identity_doubts,
    identity_fault,
)

OWN_TOPICS = "own topics"

# Kafka's own week: dead letters are for somebody to look at, and few look every day.
SHORT_LETTERS_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """One that is there, or has to be made with `partitions` and `config`. `doubts` are about one that is there, and so
    are `wishes`, which it can do without.
    """

    name: str
    partitions: int
    config: Config
    rights: tuple[str, ...]
    doubts: Sequence[Doubt] = ()
    wishes: Sequence[Doubt] = ()


def own_topics(names: TopicNames, seen: TopicsSeen, identity_ttl_ms: int) -> list[OwnTopic]:
    """Two of each source that exists."""
    found: list[OwnTopic] = []
    for source in names.selected(seen.topics):
        if source in seen.topics:
            found += [_dead_letters(names, source, seen), _identities(names, source, seen, identity_ttl_ms)]
    return found


def _dead_letters(names: TopicNames, source: str, seen: TopicsSeen) -> OwnTopic:
    name, of_source = names.dead_letter(source), seen.configs.get(source, {})
    config = seen.configs.get(name, {})
    doubts = dead_letter_doubts(config, of_source)
    wanted = dead_letter_config(of_source)
    return OwnTopic(name, seen.topics[source].partitions, wanted, ("WRITE",), doubts, _wishes_for_letters(config))


def _identities(names: TopicNames, source: str, seen: TopicsSeen, ttl_ms: int) -> OwnTopic:
    name, partitions = names.identity(source), seen.topics[source].partitions
    config = seen.configs.get(name, {})
    doubts = identity_doubts(config, ttl_ms)
    if fault := identity_fault(config):
        doubts = [fault]
    if name in seen.topics and seen.topics[name].partitions < partitions:
        what = f"has {seen.topics[name].partitions} partitions, its source {partitions}"
        doubts.append(Doubt(what, "start the worker, which gives it those it lacks (ALTER on it), or do so yourself"))
    wishes = [] if fault else _wishes_for_identities(config)
    return OwnTopic(name, partitions, identity_config(ttl_ms), ("READ", "WRITE"), doubts, wishes)


def _wishes_for_letters(config: Config) -> list[Doubt]:
    retention_ms, retention_bytes = int(config.get("retention.ms", -1)), int(config.get("retention.bytes", -1))
    wishes: list[Doubt] = []
    if 0 <= retention_ms < SHORT_LETTERS_MS:
        what = f"keeps dead letters for {duration(retention_ms)}: what nobody has looked at by then is gone for good"
        wishes.append(Doubt(what, "raise retention.ms; the worker makes such topics with 30 days"))
    if retention_bytes >= 0:
        what = (
            f"keeps at most {retention_bytes:,} bytes a partition: many dead letters at once drive out the older ones"
        )
        wishes.append(Doubt(what, "set retention.bytes to -1"))
    return wishes


def _wishes_for_identities(config: Config) -> list[Doubt]:
    """About those an operator has had forgotten: the same bounds that the worker's own logs are made with."""
    wishes: list[Doubt] = []
    if int(config.get("max.compaction.lag.ms", 0)) > IDENTITY_COMPACTION_MS:
        what = "sets no bound to when it is compacted: who is forgotten may stay on the brokers' disks for months"
        wishes.append(Doubt(what, f"set max.compaction.lag.ms to {IDENTITY_COMPACTION_MS}"))
    tombstones_ms = int(config.get("delete.retention.ms", IDENTITY_TOMBSTONES_MS))
    if tombstones_ms < IDENTITY_TOMBSTONES_MS:
        what = (
            f"keeps for {duration(tombstones_ms)} that somebody was forgotten: a worker that lags further behind may "
            "learn that visitor again"
        )
        wishes.append(Doubt(what, f"set delete.retention.ms to {IDENTITY_TOMBSTONES_MS}"))
    return wishes


def judge_own(own: Sequence[OwnTopic], seen: TopicsSeen, refusals: Mapping[str, str]) -> list[Result]:
    """A result for each at least. `refusals`: why the broker would not make those that are missing."""
    results: list[Result] = []
    for topic in own:
        if topic.name in seen.topics:
            wrong = list(_wrong(topic, seen))
            words = described(seen.topics[topic.name], seen.configs.get(topic.name, {}))
            results += wrong or [ok(OWN_TOPICS, f"{topic.name}: {words}")]
        else:
            results.append(_missing(topic, refusals.get(topic.name, "")))
    return results


def _wrong(topic: OwnTopic, seen: TopicsSeen) -> Iterator[Result]:
    for doubt in topic.doubts:
        yield finding(OWN_TOPICS, f"{topic.name} {doubt.what}", doubt.remedy)
    copies = seen.topics[topic.name].replication
    in_sync = int(seen.configs.get(topic.name, {}).get("min.insync.replicas", 1))
    if in_sync > copies:
        what = f"{topic.name} has min.insync.replicas={in_sync} and replication {copies}: no write to it succeeds"
        yield finding(OWN_TOPICS, what, f"set min.insync.replicas to {copies} at most, or give it more replicas")
    for wish in topic.wishes:
        yield warning(OWN_TOPICS, f"{topic.name} {wish.what}", wish.remedy)
    rights = seen.rights.get(topic.name)
    lacking = [right for right in topic.rights if rights is not None and right not in rights]
    if lacking:
        verbs = " and ".join({"READ": "read", "WRITE": "written to"}[right] for right in lacking)
        wanted = ", ".join([*lacking, "DESCRIBE"])
        yield finding(OWN_TOPICS, f"{topic.name} may not be {verbs}", f"grant {wanted} on it")


def _missing(topic: OwnTopic, refusal: str) -> Result:
    if not refusal:
        return ok(OWN_TOPICS, f"{topic.name} does not exist yet; the worker may make it, and does so at its start")
    wanted = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    return finding(
        OWN_TOPICS,
        f"{topic.name} does not exist or may not be seen, and the worker may not make it: {refusal}",
        f"grant CREATE on it, or make it with {topic.partitions} partitions, {wanted}; and grant "
        f"{', '.join([*topic.rights, 'DESCRIBE'])}",
    )
