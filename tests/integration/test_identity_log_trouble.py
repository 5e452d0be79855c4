"""What the identity log says when Kafka does not answer. Reading it is tested on a real broker."""

import queue
from collections.abc import Collection

import pytest

from tests.builders import TP
from worker.core.records import TopicPartition
from worker.core.start_offsets import Start
from worker.errors import KafkaUnavailableError, TopicRefusedError
from worker.identity_log import QUIET_TRIES, IdentityLog, LogFinding, Restoring
from worker.scout import KafkaUnreachable, Place
from worker.topics import TopicNames


class Keeper:
    """Answers nothing, or refuses the log."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses
        self.tries = 0

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]:
        self.tries += 1
        if self.refuses:
            raise TopicRefusedError(f"topic {name} has cleanup.policy=delete")
        return []

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        raise KafkaUnavailableError("no leader")

    def partitions(self) -> dict[str, int]:
        raise AssertionError("the log is its own to make")

    def high_watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        raise AssertionError("not asked before")


@pytest.mark.parametrize("refuses", [False, True], ids=["silent", "refused"])
def test_what_is_silent_for_a_moment_is_not_worth_a_word_and_what_is_refused_is(*, refuses: bool) -> None:
    found: queue.SimpleQueue[LogFinding] = queue.SimpleQueue()
    names = TopicNames((TP.topic,), "group", dead_letter="{topic}.d", identity="{group}.{topic}.identity")
    keeper = Keeper(refuses=refuses)
    log = IdentityLog({}, names, "group", keeper, 1, found.put, lambda: 0.0)
    log.restore([Place(TP, 1, Start(0, 0), None)])
    first = found.get(timeout=20)
    tries = keeper.tries
    log.close()

    if refuses:
        assert first == Restoring((TP,), f"topic group.{TP.topic}.identity has cleanup.policy=delete", refused=True)
    else:
        assert first == KafkaUnreachable("no leader")
        assert tries > QUIET_TRIES
