"""What `check` asks of the cluster. Changes nothing: no topic, no offset, no record. Nor is a topic asked for by a name
that was not seen before, because that could make it.

Translates confluent_kafka's errors: KafkaUnavailableError (again later) or RightMissingError (somebody has to grant
it). Every call blocks, for no longer than its time-out.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package does not mark what it exports again
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from worker.errors import KafkaUnavailableError, RightMissingError, SettingsError

# Shares of the time-out. Only between two requests is it heard why brokers do not answer, and a refused login or
# certificate is known in a moment; the last one leaves time for a cluster that is far away.
_SLICES = (0.1, 0.2, 0.7)
_IN_STATE = re.compile(r" \(after \d+ms in state .*")
_NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_NOT_YET = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)
_AGAIN_SECONDS = 0.2

Answered = TypeVar("Answered")


class Trouble(StrEnum):
    """Why no broker answers, as far as the client can tell."""

    SILENCE = "silence"
    LOGIN = "login"
    TLS = "tls"


_TROUBLES = {KafkaError._AUTHENTICATION: Trouble.LOGIN, KafkaError._SSL: Trouble.TLS}


@dataclass(frozen=True, slots=True)
class NoAnswer:
    trouble: Trouble
    detail: str


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """`replication` is the least of its partitions'; `leaderless` counts those that cannot be read or written now."""

    partitions: int
    replication: int
    leaderless: int = 0


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    brokers: int
    topics: Mapping[str, TopicSeen]


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """`assignor` is what its members have agreed on, empty without members. `rights` None: the broker does not say."""

    exists: bool
    members: int = 0
    assignor: str = ""
    rights: frozenset[str] | None = None


class Inspector:
    """One AdminClient that listens to why it is not answered. For one thread."""

    def __init__(self, properties: Mapping[str, Any], timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._heard: dict[Trouble, str] = {}
        try:
            # No method of ours: the client would keep us and we it, until the interpreter ends, where ending a client
            # may wait for ever for a thread that waits for the interpreter (seen with 2.16).
            conf: dict[str, Any] = {**properties, "error_cb": partial(_hear, self._heard)}
            self._admin = AdminClient(conf)
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error

    def look(self) -> ClusterSeen | NoAnswer:
        """All brokers and topics that may be seen."""
        said = ""
        for share in _SLICES:
            started = time.monotonic()
            try:
                return _seen(self._admin.list_topics(timeout=share * self._timeout_seconds))
            except KafkaException as error:
                said = error.args[0].str()
            # an answer that came too late, or none: whatever was heard meanwhile is handed out by poll
            self._admin.poll(max(0.0, share * self._timeout_seconds - (time.monotonic() - started)))
            for trouble in (Trouble.LOGIN, Trouble.TLS):
                if trouble in self._heard:
                    return NoAnswer(trouble, self._heard[trouble])
        return NoAnswer(Trouble.SILENCE, self._heard.get(Trouble.SILENCE, said))

    def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """The settings of topics, without those that may not be read. Raises KafkaUnavailableError."""
        if not topics:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        futures = _translated(lambda: self._admin.describe_configs(resources, request_timeout=self._timeout_seconds))
        found: dict[str, dict[str, str]] = {}
        for resource, future in futures.items():
            try:
                entries = self._result(future)
            except RightMissingError:
                continue
            found[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return found

    def rights(self, topics: Collection[str]) -> dict[str, frozenset[str]]:
        """What this user may do with existing topics (`READ`, `WRITE`), without those the broker does not say it of."""
        if not topics:
            return {}
        futures = _translated(
            lambda: self._admin.describe_topics(
                TopicCollection(list(topics)),
                include_authorized_operations=True,
                request_timeout=self._timeout_seconds,
            )
        )
        found: dict[str, frozenset[str]] = {}
        for topic, future in futures.items():
            try:
                operations = self._result(future).authorized_operations
            except RightMissingError:
                continue
            if operations is not None:
                found[topic] = frozenset(operation.name for operation in operations)
        return found

    def group(self, group: str) -> GroupSeen:
        """Raises RightMissingError or KafkaUnavailableError.

        The first question about a group since a broker started is answered with "not yet": it is asked again.
        """
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                return self._group(group)
            except _NotYetError:
                if time.monotonic() >= deadline:
                    raise
                self._admin.poll(_AGAIN_SECONDS)

    def _group(self, group: str) -> GroupSeen:
        futures = _translated(
            lambda: self._admin.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=self._timeout_seconds
            )
        )
        try:
            seen = self._result(futures[group])
        except _NoSuchGroupError:
            return GroupSeen(exists=False)
        operations = seen.authorized_operations
        return GroupSeen(
            exists=seen.state is not ConsumerGroupState.DEAD,
            members=len(seen.members),
            assignor=seen.partition_assignor,
            rights=None if operations is None else frozenset(operation.name for operation in operations),
        )

    def try_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> None:
        """Whether the broker would make a topic; it only looks (`validate_only`).

        Raises RightMissingError, KafkaUnavailableError where it refuses for another reason.
        """
        topic = NewTopic(name, num_partitions=partitions, config=dict(config))
        futures = _translated(
            lambda: self._admin.create_topics([topic], validate_only=True, operation_timeout=self._timeout_seconds)
        )
        self._result(futures[name])

    def _result(self, future: "Future[Answered]") -> Answered:
        try:
            return _translated(lambda: future.result(self._timeout_seconds))
        except _NotYetError:
            raise
        except KafkaUnavailableError as error:
            # a broker may answer, and then name addresses of others that cannot be reached
            self._admin.poll(0)
            if not self._heard:
                raise
            raise KafkaUnavailableError(f"{error} ({next(iter(self._heard.values()))})") from error


def _hear(heard: dict[Trouble, str], error: KafkaError) -> None:
    if error.code() != KafkaError._ALL_BROKERS_DOWN:  # what follows from the others
        heard[_TROUBLES.get(error.code(), Trouble.SILENCE)] = _IN_STATE.sub("", error.str())


def try_consumer(properties: Mapping[str, Any]) -> None:
    """Whether the client takes the consumer's properties; it joins no group. Raises SettingsError."""
    try:
        Consumer(dict(properties)).close()
    except KafkaException as error:
        raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error


class _NotYetError(KafkaUnavailableError):
    """Retry, at once: the group's coordinator is being found, or reads what it has to know."""


class _NoSuchGroupError(Exception):
    """What brokers since 4.0 say where older ones describe a group that is dead."""


def _seen(metadata: ClusterMetadata) -> ClusterSeen:
    topics: dict[str, TopicSeen] = {}
    for name, topic in metadata.topics.items():
        partitions = topic.partitions.values()
        if topic.error is None and partitions:
            replication = min(len(partition.replicas) for partition in partitions)
            leaderless = sum(partition.leader < 0 for partition in partitions)
            topics[name] = TopicSeen(len(partitions), replication, leaderless)
    return ClusterSeen(len(metadata.brokers), topics)


def _translated(call: Callable[[], Answered]) -> Answered:
    try:
        return call()
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.GROUP_ID_NOT_FOUND:
            raise _NoSuchGroupError from error
        if code in _NOT_YET:
            raise _NotYetError(error.args[0].str()) from error
        raise (RightMissingError if code in _NOT_ALLOWED else KafkaUnavailableError)(error.args[0].str()) from error
    except TimeoutError as error:
        raise KafkaUnavailableError("no answer in time") from error
