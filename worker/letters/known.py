"""What the identity logs know now of some visitors, and of no others: memory is bounded by who is asked for. Blocks;
writes nothing.

A visitor lives in the partition its events came from, so a dead letter's is looked for in that of its source.
"""

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from worker.client_properties import consumer_properties
from worker.cluster import Cluster
from worker.core.identity import Known, Remembered
from worker.core.records import TopicPartition
from worker.core.restoring import Restoration
from worker.identity_entries import EntryError, entry_of
from worker.ranges import Bounds, records_of
from worker.settings import Settings

# Everything that was learned counts, however late.
_NOW = 2**63


def known_of(
    settings: Settings, cluster: Cluster, visitors: Mapping[TopicPartition, Collection[str]]
) -> dict[TopicPartition, Remembered]:
    """By source partition; nothing of a partition whose topic, or its log, is not there. Joins no group.

    Raises KafkaUnavailableError.
    """
    properties, names = consumer_properties(settings), settings.topic_names()
    existing = cluster.partitions()
    sources = {tp.topic for tp in visitors if tp.topic in existing}
    ids = cluster.topic_ids(sources) if sources else {}
    found: dict[TopicPartition, Remembered] = {}
    for tp, wanted in visitors.items():
        log = TopicPartition(names.identity(tp.topic), tp.partition)
        if tp.topic in ids and log.partition < existing.get(log.topic, 0) and wanted:
            known = _read(cluster, properties, log, ids[tp.topic], {visitor.encode() for visitor in wanted})
            found[tp] = Remembered(settings.identity_ttl_ms, known)
    return found


def _read(
    cluster: Cluster, properties: Mapping[str, Any], log: TopicPartition, topic_id: str, keys: Collection[bytes]
) -> Known:
    restoration = Restoration(_NOW, topic_id)
    log_start, end = cluster.bounds(log)
    with closing(records_of(properties, log, Bounds(log_start, end, log_start))) as records:
        for record in records:
            if record.key not in keys:
                continue
            try:
                restoration.take(entry_of(record.key, record.value, record.headers))
            except EntryError:
                continue
    return restoration.known
