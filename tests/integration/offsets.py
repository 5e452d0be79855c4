"""What groups have committed, asked and changed by consumers that never join them.

Not the AdminClient's question: it ends the whole process now and then when it has to be put again, as it is to a
coordinator that has only just started (an assertion of librdkafka's, seen with 2.16). No assertions in here.
"""

import threading
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.integration.harness import wait_until

# the group's coordinator is just moving, or has not missed yet a member that was killed
_NOBODY_CAN_TELL = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,
)
# A test asks about a few groups, many times. Clients that come and go have ended processes, too.
_KEPT = 4


class GroupOffsets:
    """Threads may share it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._asking = threading.Lock()
        self._bystanders: dict[str, Consumer] = {}

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """By partition; those without one are missing. Raises KafkaException, or TimeoutError without an answer."""
        asked = [TopicPartition(topic, partition) for partition in partitions]
        if not asked:
            return {}
        answer = self._answer(group, lambda bystander: bystander.committed(asked, timeout=5))
        return {tp.partition: tp.offset for tp in answer if tp.offset >= 0}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Moves a group that has no members. Raises KafkaException, or TimeoutError without an answer."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        self._answer(group, lambda bystander: bystander.commit(offsets=wanted, asynchronous=False))

    def _answer(self, group: str, ask: Callable[[Consumer], list[TopicPartition]]) -> list[TopicPartition]:
        def answer() -> list[TopicPartition]:
            """Empty while nobody can tell."""
            with self._asking:
                return _unless_moving(lambda: ask(self._bystander(group)))

        return wait_until(answer, 20, f"the coordinator of {group} answers")

    def _bystander(self, group: str) -> Consumer:
        if group not in self._bystanders:
            while len(self._bystanders) >= _KEPT:
                self._bystanders.pop(next(iter(self._bystanders))).close()
            properties = {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                # what is committed by now, not what it will be when the transactions in the air have ended
                "isolation.level": "read_uncommitted",
                "log_level": 0,
            }
            self._bystanders[group] = Consumer(properties)
        return self._bystanders[group]


def _unless_moving(ask: Callable[[], list[TopicPartition]]) -> list[TopicPartition]:
    try:
        answer = ask()
        for part in answer:
            if part.error is not None:
                raise KafkaException(part.error)
    except KafkaException as error:
        if error.args[0].code() in _NOBODY_CAN_TELL:
            return []
        raise
    return answer
