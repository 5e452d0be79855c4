"""Has a visitor forgotten in one topic: a tombstone into every partition of its identity log. Blocks; prints nothing.

The running owners follow their logs and carry it out; the tombstone is theirs to answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.cluster import Cluster
from worker.core.records import TopicPartition
from worker.errors import KafkaUnavailableError
from worker.identity_entries import headers_by_hand
from worker.visitors.sources import Log
from worker.visitors.tombstones import Tombstone, Written, write


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was written in one partition's log, and the offset of `source` below which all is forgotten."""

    source: TopicPartition
    until: int
    written: Written


def forget(cluster: Cluster, properties: Mapping[str, Any], log: Log, visitor: str) -> list[Forgotten]:
    """Of each partition of the log. `properties` are what all clients of the worker have in common.

    Raises KafkaUnavailableError before anything is written; what is refused then is said of each partition.
    """
    topic_id = cluster.topic_ids([log.source])[log.source]
    ends = cluster.high_watermarks(log.sources)
    if missing := [tp for tp in log.sources if tp not in ends]:
        raise KafkaUnavailableError(f"no end of {', '.join(map(str, missing))} could be had")
    tombstones = [
        Tombstone(TopicPartition(log.name, tp.partition), visitor.encode(), headers_by_hand(ends[tp], topic_id))
        for tp in log.sources
    ]
    written = write(properties, tombstones)
    return [Forgotten(tp, ends[tp], each) for tp, each in zip(log.sources, written, strict=True)]
