"""The areas that Kafka answers for: brokers, topics, the worker's own topics, the group and its lag, transactions.

Asks, and hands the answers to those who judge them. Where no broker answers, the rest is skipped.
"""

from collections.abc import Iterator, Mapping, Sequence

from worker.check.group import GROUP, LAG, judge_group, judge_lag
from worker.check.own_topics import OWN_TOPICS, OwnTopic, judge_own, own_topics
from worker.check.results import Result, finding, ok, skipped
from worker.check.topics import TOPICS, TopicsSeen, judge_patience, judge_sources
from worker.client_properties import client_properties, consumer_properties
from worker.cluster import Cluster
from worker.core.records import TopicPartition
from worker.errors import KafkaUnavailableError, RightMissingError
from worker.inspector import ClusterSeen, Inspector, NoAnswer, Trouble
from worker.settings import Settings
from worker.transactions import try_transactional_id

BROKERS, TRANSACTIONS = "brokers", "transactions"
CLUSTER_AREAS = (BROKERS, TOPICS, OWN_TOPICS, GROUP, LAG, TRANSACTIONS)
TRANSACTION_SECONDS = 10.0

_REMEDIES: Mapping[Trouble, str] = {
    Trouble.SILENCE: "check KAFKA_BROKERS and whatever stands between; a port that wants TLS or a login is silent too "
    "(KAFKA_TLS_ENABLED, KAFKA_SASL_MECHANISM)",
    Trouble.LOGIN: "check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    Trouble.TLS: "KAFKA_TLS_CA_FILE has to name the authority that signed the brokers' certificates; where they ask "
    "for one of ours, set KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE",
}
_MEANINGS: Mapping[Trouble, str] = {
    Trouble.SILENCE: "no broker answers",
    Trouble.LOGIN: "the brokers refuse the login",
    Trouble.TLS: "no TLS connection comes about",
}
_ADVERTISED = (
    "the brokers answered at first: the addresses they advertise (advertised.listeners) have to be reachable too"
)


def read_topics(settings: Settings, seen: ClusterSeen | NoAnswer) -> tuple[str, ...]:
    """What would be read of what exists."""
    if isinstance(seen, NoAnswer):
        return ()
    return tuple(name for name in settings.topic_names().selected(seen.topics) if name in seen.topics)


def examine_cluster(settings: Settings, inspector: Inspector, seen: ClusterSeen | NoAnswer) -> Iterator[Result]:
    addresses = ",".join(settings.kafka_brokers)
    if isinstance(seen, NoAnswer):
        what = f"{_MEANINGS[seen.trouble]} at {addresses}: {seen.detail}"
        yield finding(BROKERS, what, _REMEDIES[seen.trouble])
        yield from (skipped(area, "no broker answers") for area in CLUSTER_AREAS if area != BROKERS)
        return
    yield ok(BROKERS, f"{seen.brokers} broker{' answers' if seen.brokers == 1 else 's answer'} at {addresses}")
    yield from _topics(settings, inspector, seen)
    yield from _group(settings, inspector)
    yield from _lag(settings, seen)
    yield _transactions(settings)


def _topics(settings: Settings, inspector: Inspector, cluster: ClusterSeen) -> Iterator[Result]:
    names = settings.topic_names()
    sources = read_topics(settings, cluster)
    own = (name(source) for source in sources for name in (names.dead_letter, names.identity))
    existing = [*sources, *(name for name in own if name in cluster.topics)]
    try:
        seen = TopicsSeen(cluster.topics, inspector.configs(existing), inspector.rights(existing))
    except KafkaUnavailableError as error:
        yield finding(TOPICS, f"they cannot be looked at: {error}", _ADVERTISED)
        yield skipped(OWN_TOPICS, "topics cannot be looked at")
        return
    yield from judge_sources(names, seen, settings.give_up_after_seconds)
    yield from judge_patience(names, seen, settings.give_up_after_seconds)
    wanted = own_topics(names, seen, settings.identity_ttl_ms)
    yield from judge_own(
        wanted, seen, _refusals(inspector, [topic for topic in wanted if topic.name not in seen.topics])
    )
    if not sources:
        yield skipped(OWN_TOPICS, "there is no topic to read")


def _refusals(inspector: Inspector, missing: Sequence[OwnTopic]) -> dict[str, str]:
    refusals: dict[str, str] = {}
    for topic in missing:
        try:
            inspector.try_topic(topic.name, topic.partitions, topic.config)
        except (RightMissingError, KafkaUnavailableError) as error:
            refusals[topic.name] = str(error)
    return refusals


def _group(settings: Settings, inspector: Inspector) -> Iterator[Result]:
    name = settings.kafka_consumer_group
    # Not there under KIP-848, where the broker assigns.
    assignors = consumer_properties(settings).get("partition.assignment.strategy")
    try:
        seen = inspector.group(name)
    except RightMissingError as error:
        yield finding(GROUP, f"{name} may not be seen: {error}", "grant READ on the group to this user")
    except KafkaUnavailableError as error:
        yield finding(GROUP, f"{name} cannot be looked at: {error}", _ADVERTISED)
    else:
        yield from judge_group(name, seen, assignors)


def _lag(settings: Settings, seen: ClusterSeen) -> Iterator[Result]:
    partitions = [
        TopicPartition(topic, partition)
        for topic in read_topics(settings, seen)
        for partition in range(seen.topics[topic].partitions)
    ]
    if not partitions:
        yield skipped(LAG, "there is no topic to read")
        return
    try:
        offsets = Cluster(client_properties(settings)).offsets(settings.kafka_consumer_group, partitions)
    except KafkaUnavailableError as error:
        yield skipped(LAG, f"offsets cannot be had: {error}")
    else:
        yield from judge_lag(offsets, settings.kafka_auto_offset_reset)


def _transactions(settings: Settings) -> Result:
    group = settings.kafka_consumer_group
    ids = f"transactional ids beginning with {group}-"
    try:
        try_transactional_id(client_properties(settings), group, TRANSACTION_SECONDS)
    except RightMissingError as error:
        return finding(TRANSACTIONS, f"{ids} are not allowed: {error}", f"grant WRITE and DESCRIBE on {ids}")
    except KafkaUnavailableError as error:
        return finding(
            TRANSACTIONS,
            f"{ids} could not be tried: {error}",
            "all brokers have to be reachable under the addresses they advertise, and "
            "transaction.state.log.replication.factor has to be at most their number",
        )
    return ok(TRANSACTIONS, f"{ids} are allowed (one was registered, nothing written)")
