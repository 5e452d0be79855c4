"""What is wrong with the topics the worker makes itself: dead letters and identity logs. Values in, results out; no
client.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.check.results import Result, finding, ok
from worker.check.topics import TopicsSeen, described
from worker.topics import (
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


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """One that is there, or has to be made with `partitions` and `config`. `doubts` are about one that is there."""

    name: str
    partitions: int
    config: Config
    rights: tuple[str, ...]
    doubts: Sequence[Doubt] = ()


def own_topics(names: TopicNames, seen: TopicsSeen, identity_ttl_ms: int) -> list[OwnTopic]:
    """Two of each source that exists."""
    found: list[OwnTopic] = []
    for source in names.selected(seen.topics):
        if source in seen.topics:
            found += [_dead_letters(names, source, seen), _identities(names, source, seen, identity_ttl_ms)]
    return found


def _dead_letters(names: TopicNames, source: str, seen: TopicsSeen) -> OwnTopic:
    name, of_source = names.dead_letter(source), seen.configs.get(source, {})
    doubts = dead_letter_doubts(seen.configs.get(name, {}), of_source)
    return OwnTopic(name, seen.topics[source].partitions, dead_letter_config(of_source), ("WRITE",), doubts)


def _identities(names: TopicNames, source: str, seen: TopicsSeen, ttl_ms: int) -> OwnTopic:
    name, partitions = names.identity(source), seen.topics[source].partitions
    config = seen.configs.get(name, {})
    doubts = identity_doubts(config, ttl_ms)
    if fault := identity_fault(config):
        doubts = [fault]
    if name in seen.topics and seen.topics[name].partitions < partitions:
        what = f"has {seen.topics[name].partitions} partitions, its source {partitions}"
        doubts.append(Doubt(what, "start the worker, which gives it those it lacks (ALTER on it), or do so yourself"))
    return OwnTopic(name, partitions, identity_config(ttl_ms), ("READ", "WRITE"), doubts)


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
