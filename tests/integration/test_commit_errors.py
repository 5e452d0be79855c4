"""Offsets that Kafka refuses because the group has moved on: nothing is committed, and the committer lives on."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from tests.integration.cluster import Cluster
from tests.integration.harness import wait_until
from worker.committer import CommitFailed, CommitResult, Committed, Committer
from worker.core.commands import Commit, LaneCommit
from worker.core.records import TopicPartition

CLASSIC = {"group.protocol": "classic"}
KIP_848 = {"group.protocol": "consumer"}


class Members:
    """Members of one group, of which only the last to join is polled from outside."""

    def __init__(self, cluster: Cluster, group: str, topic: str, protocol: dict[str, str]) -> None:
        self._properties = {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": group,
            "enable.auto.commit": False,
            "log_level": 0,
            **protocol,
        }
        self._topic = topic
        self._members: list[Consumer] = []

    def join(self) -> Consumer:
        """Returns when it holds a partition, or some other member does and it has been taken in."""
        member = Consumer(self._properties)
        self._members.append(member)
        member.subscribe([self._topic])
        wait_until(lambda: self._poll() and member.assignment(), 40, "an assignment")
        return member

    def unjoined(self) -> Consumer:
        """One that is nobody's to poll, nor to close."""
        return Consumer(self._properties)

    def _poll(self) -> bool:
        for member in self._members:
            member.poll(0.05)
        return True

    def leave(self, member: Consumer) -> None:
        self._members.remove(member)
        member.close()

    def close(self) -> None:
        for member in self._members:
            member.close()


@pytest.fixture
def reports() -> "queue.SimpleQueue[CommitResult]":
    return queue.SimpleQueue()


@pytest.fixture
def committer(cluster: Cluster, group: str, reports: "queue.SimpleQueue[CommitResult]") -> Iterator[Committer]:
    committer = Committer({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}, group, (), reports.put)
    yield committer
    committer.close()


class OnceStrange:
    """A producer whose first offsets meet with something strange."""

    def __init__(self, producer: Producer, strange: Callable[[], None]) -> None:
        self._producer = producer
        self._strange: Callable[[], None] | None = strange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        strange, self._strange = self._strange, None
        if strange is not None:
            strange()
        self._producer.send_offsets_to_transaction(*arguments)


class OnceStrangeCommitter(Committer):
    """Its first producer is strange, the ones after it are as usual."""

    def __init__(self, strange: Callable[[], None], *parts: Any) -> None:
        self._strange: Callable[[], None] | None = strange
        super().__init__(*parts)

    def _new_producer(self) -> Producer:
        strange, self._strange = self._strange, None
        made = super()._new_producer()
        return made if strange is None else cast(Producer, OnceStrange(made, strange))


def refused_with(code: int) -> Callable[[], None]:
    def refuse() -> None:
        raise KafkaException(KafkaError(code))

    return refuse


LET_GO = threading.Event()


@pytest.mark.parametrize(
    "strange",
    [
        # as librdkafka does when the coordinator moves at the wrong moment: its own time-out never strikes
        pytest.param(LET_GO.wait, id="never answered"),
        pytest.param(refused_with(KafkaError.REBALANCE_IN_PROGRESS), id="REBALANCE_IN_PROGRESS"),
        pytest.param(refused_with(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), id="COORDINATOR_LOAD_IN_PROGRESS"),
        pytest.param(refused_with(KafkaError.NOT_COORDINATOR), id="NOT_COORDINATOR"),
        pytest.param(refused_with(KafkaError.UNSTABLE_OFFSET_COMMIT), id="UNSTABLE_OFFSET_COMMIT"),
    ],
)
def test_offsets_that_were_not_taken_for_a_passing_reason_are_taken_the_next_time(
    cluster: Cluster,
    group: str,
    topic: str,
    reports: "queue.SimpleQueue[CommitResult]",
    strange: Callable[[], None],
) -> None:
    properties = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
    committer = OnceStrangeCommitter(strange, properties, group, (), reports.put)
    members = Members(cluster, group, topic, CLASSIC)
    try:
        member = members.join()
        commit = Commit((LaneCommit(TopicPartition(topic, 0), 1, 7, spans=0),))
        committer.commit(commit, member.consumer_group_metadata())
        failed = reports.get(timeout=30)
        assert isinstance(failed, CommitFailed)
        assert failed.refusal is None
        committer.commit(commit, member.consumer_group_metadata())
        assert reports.get(timeout=30) == Committed(commit)
        wait_until(lambda: cluster.committed(group, topic) == {0: 7}, 20, "the offset")
    finally:
        members.close()
        committer.close()


def test_a_commit_in_the_midst_of_a_rebalance_goes_through(
    cluster: Cluster, group: str, topic: str, committer: Committer, reports: "queue.SimpleQueue[CommitResult]"
) -> None:
    """The group waits for its member to join again, and takes until then what that member has done."""
    members = Members(cluster, group, topic, CLASSIC)
    second = members.unjoined()
    try:
        first = members.join()
        metadata = first.consumer_group_metadata()
        second.subscribe([topic])
        wait_until(lambda: second.poll(0.05) or cluster.group_state(group) == "PREPARING_REBALANCING", 30, "rebalance")
        commit = Commit((LaneCommit(TopicPartition(topic, 0), 1, 7, spans=0),))
        committer.commit(commit, metadata)
        assert reports.get(timeout=30) == Committed(commit)
        assert cluster.group_state(group) == "PREPARING_REBALANCING", "all the while"
        assert cluster.committed(group, topic) == {0: 7}
    finally:
        second.close()
        members.close()


def after_leaving(members: Members, first: Consumer) -> Consumer:
    members.leave(first)
    return members.join()


def after_a_rebalance(members: Members, first: Consumer) -> Consumer:
    return members.join()


@pytest.mark.parametrize(
    ("protocol", "outdated", "error"),
    [
        pytest.param(CLASSIC, after_leaving, "UNKNOWN_MEMBER_ID", id="classic, left"),
        pytest.param(CLASSIC, after_a_rebalance, "ILLEGAL_GENERATION", id="classic, rebalanced"),
        pytest.param(KIP_848, after_leaving, "UNKNOWN_MEMBER_ID", id="kip-848, left"),
        pytest.param(KIP_848, after_a_rebalance, "ILLEGAL_GENERATION", id="kip-848, rebalanced"),
    ],
)
def test_what_a_former_owner_commits_is_refused_and_the_new_owners_commit_goes_through(
    cluster: Cluster,
    group: str,
    committer: Committer,
    reports: "queue.SimpleQueue[CommitResult]",
    protocol: dict[str, str],
    outdated: Callable[[Members, Consumer], Consumer],
    error: str,
) -> None:
    topic = cluster.make_topic(partitions=2)
    members = Members(cluster, group, topic, protocol)
    try:
        first = members.join()
        outdated_metadata = first.consumer_group_metadata()
        member = outdated(members, first)
        partition = member.assignment()[0].partition
        commit = Commit((LaneCommit(TopicPartition(topic, partition), 1, 7, spans=0),))

        committer.commit(commit, outdated_metadata)
        failed = reports.get(timeout=30)
        assert isinstance(failed, CommitFailed)
        assert failed.refusal is None, "nothing that somebody would have to mend"
        assert failed.detail.startswith(error)
        assert cluster.committed(group, topic) == {}

        committer.commit(commit, member.consumer_group_metadata())
        assert reports.get(timeout=30) == Committed(commit)
        wait_until(lambda: cluster.committed(group, topic) == {partition: 7}, 20, "the new owner's offset")
    finally:
        members.close()
