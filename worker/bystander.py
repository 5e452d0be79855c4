"""What a group has committed, read and written by a client that never joins it. Knows nothing of what offsets mean.

A consumer and not the AdminClient: that one's question ends the whole process (an assertion of librdkafka's, seen with
2.16) when the coordinator dies and comes back after it has timed out. Every call blocks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from worker.complaints import in_short
from worker.core.records import TopicPartition
from worker.errors import GroupBusyError, KafkaUnavailableError

# what a bystander hears that commits while the group has members
_JOINED_BY_OTHERS = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
# A question to a group that may not be used is never answered, and the reason comes another way: so often it is
# looked for.
_STEP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """`offset` None: nothing is committed. `metadata` is what the group has said with it."""

    offset: int | None
    metadata: str = ""


class Bystander:
    """Of one group. Threads may share it."""

    def __init__(self, properties: Mapping[str, Any], group: str) -> None:
        self._group = group
        self._refusal = ""
        # read_committed, its default, is what makes it wait for transactions in the air
        self._client = Consumer({**properties, "group.id": group, "enable.auto.commit": False})

    def committed(
        self, partitions: Collection[TopicPartition], timeout_seconds: float
    ) -> dict[TopicPartition, CommittedOffset]:
        """What is committed in each that has an answer. Raises KafkaUnavailableError."""
        wanted = [KafkaPartition(*tp) for tp in partitions]
        answer = self._answer(wanted, timeout_seconds)
        self._refusal = ""
        return {
            TopicPartition(part.topic, part.partition): CommittedOffset(
                part.offset if part.offset >= 0 else None, part.metadata or ""
            )
            for part in answer
            if part.error is None
        }

    def _answer(self, wanted: list[KafkaPartition], left_seconds: float) -> list[KafkaPartition]:
        try:
            return self._client.committed(wanted, min(_STEP_SECONDS, left_seconds))
        except KafkaException as error:
            late = error.args[0].code() == KafkaError._TIMED_OUT
            if late and not self._refused() and left_seconds > _STEP_SECONDS:
                return self._answer(wanted, left_seconds - _STEP_SECONDS)
            detail = self._refusal if late and self._refusal else in_short(error.args[0].str())
            raise KafkaUnavailableError(f"{detail} (group {self._group})") from error

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Raises GroupBusyError where somebody has joined, or KafkaUnavailableError."""
        wanted = [KafkaPartition(*tp, offset, metadata) for tp, (offset, metadata) in offsets.items()]
        try:
            answer = self._client.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            kind = GroupBusyError if error.args[0].code() in _JOINED_BY_OTHERS else KafkaUnavailableError
            raise kind(error.args[0].str()) from error
        for part_error in (part.error for part in answer or () if part.error is not None):
            raise KafkaUnavailableError(part_error.str())

    def _refused(self) -> bool:
        """Whether the group may not be used. The client says so once, and not to whoever has asked."""
        for message in self._client.consume(1, 0):
            error = message.error()
            if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                self._refusal = f"{in_short(error.str())}: it takes DESCRIBE, and READ to work as this group"
        return bool(self._refusal)
