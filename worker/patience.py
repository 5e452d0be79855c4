"""Asks Kafka again for a while, for commands: a broker that has just started has no coordinator for a group yet.

Not for the loop's thread, and nothing that runs for ever waits like this.
"""

import time
from collections.abc import Callable, Collection
from typing import TypeVar

from worker.cluster import Cluster, Offsets
from worker.core.records import TopicPartition
from worker.errors import KafkaUnavailableError

COORDINATOR_SECONDS = 10.0
_AGAIN_SECONDS = 0.2

Found = TypeVar("Found")


def patiently(ask: Callable[[], Found]) -> Found:
    """The first answer. Raises KafkaUnavailableError where there is none in time."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            return ask()
        except KafkaUnavailableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN_SECONDS)


def offsets_in_time(
    cluster: Cluster, group: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Offsets]:
    """Of all these partitions. Raises KafkaUnavailableError, also where only some can be told of."""
    found = patiently(lambda: cluster.offsets(group, partitions))
    if missing := [tp for tp in partitions if tp not in found]:
        raise KafkaUnavailableError(f"no offsets of {', '.join(map(str, missing))} could be had")
    return found
