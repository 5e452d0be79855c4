"""Offsets that Kafka refuses because the group has moved on: nothing is committed, and the committer lives on."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer

from tests.integration.cluster import Cluster
from tests.integration.harness import wait_until
from worker.committer import CommitFailed, CommitResult, Committed, Committer
from worker.core.commands import Commit, LaneCommit
from worker.core.records import TopicPartition
from worker.topics import TopicNames

CLASSIC = {"group.protocol": "classic"}
KIP_848 = {"group.protocol": "consumer"}


class NoTopics:
    """There are no dead letters in here, and no visitors."""

    def make_dead_letter_topic(self, source: str, name: str) -> None:
        raise AssertionError(f"{name} was asked for")

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]:
        raise AssertionError(f"{name} was asked for")


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
    names = TopicNames([], group, dead_letter="{topic}.dead-letters", identity="{group}.{topic}.identity")
    properties = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
    committer = Committer(properties, names, group, NoTopics(), reports.put, lambda _: 0, identity_ttl_ms=1)
    yield committer
    committer.close()


class OnceSilent:
    """A producer whose offsets are never answered, until it is let go."""

    def __init__(self, producer: Producer, let_go: threading.Event) -> None:
        self._producer = producer
        self._let_go = let_go

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._let_go.wait()


class OnceSilentCommitter(Committer):
    """Its first producer is silent, the ones after it are real."""

    def __init__(self, let_go: threading.Event, *parts: Any) -> None:
        self._silent: threading.Event | None = let_go
        super().__init__(*parts, identity_ttl_ms=1)

    def _new_producer(self) -> Producer:
        let_go, self._silent = self._silent, None
        made = super()._new_producer()
        return made if let_go is None else cast(Producer, OnceSilent(made, let_go))


def test_offsets_that_are_never_answered_are_given_up_and_the_next_commit_goes_through(
    cluster: Cluster, group: str, topic: str, reports: "queue.SimpleQueue[CommitResult]"
) -> None:
    """As librdkafka does when the coordinator moves at the wrong moment: its own time-out never strikes."""
    names = TopicNames([], group, dead_letter="{topic}.dead-letters", identity="{group}.{topic}.identity")
    properties = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
    let_go = threading.Event()
    committer = OnceSilentCommitter(let_go, properties, names, group, NoTopics(), reports.put, lambda _: 0)
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
        let_go.set()
        members.close()
        committer.close()


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
