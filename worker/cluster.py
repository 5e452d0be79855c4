"""What is asked of the cluster beside reading and writing: metadata, offsets, topics; and the first offsets of a run
that is about to begin are committed. Every call blocks, so none is made on the loop's thread.

Translates confluent_kafka's errors: KafkaUnavailableError (again later) or TopicRefusedError (somebody has to mend
something).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package does not mark what it exports again
    AdminClient,
    ConfigResource,
    ListOffsetsResultInfo,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from worker.bystander import Bystander, CommittedOffset
from worker.complaints import in_short
from worker.core.records import TopicPartition
from worker.errors import KafkaUnavailableError, SettingsError, TopicRefusedError
from worker.topics import dead_letter_config, dead_letter_doubts, identity_config, identity_doubts, identity_fault

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # untyped there
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # untyped there

# nothing about the topic: the broker that was asked has gone
_LOST_ON_THE_WAY = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)

Answered = TypeVar("Answered")


class _NoSuchTopicError(KafkaUnavailableError):
    """Retry: it may be made again."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """`committed` None: the group has committed nothing there. `earliest` is the log's start, `latest` its end.

    `metadata` is what the group has said with its commit.
    """

    committed: int | None
    earliest: int
    latest: int
    metadata: str = ""


class Cluster:
    """One AdminClient, and a bystander for each group that is asked about. Threads may share it."""

    def __init__(self, properties: Mapping[str, Any], timeout_seconds: float = 10.0) -> None:
        self._properties = dict(properties)
        self._bystanders: dict[str, Bystander] = {}
        # without a logger of ours: lines for it are queued until somebody polls, and nobody does
        try:
            self._admin = AdminClient(dict(properties))
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error
        self._timeout_seconds = timeout_seconds

    def partitions(self) -> dict[str, int]:
        """How many partitions each topic has. Raises KafkaUnavailableError."""
        metadata = _translated(lambda: self._admin.list_topics(timeout=self._timeout_seconds))
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The last stable offset of each partition that can be asked: how far a reader of committed records gets."""
        return self._offsets(partitions, _LATEST)

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is kept of each partition that can be asked."""
        return self._offsets(partitions, _EARLIEST)

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]:
        """Offset and time of the first record that is not older, without partitions that have none."""
        spec = OffsetSpec.for_timestamp(epoch_ms)
        found = self._listed(partitions, spec, IsolationLevel.READ_COMMITTED)
        return {tp: (info.offset, info.timestamp) for tp, info in found.items() if info.offset >= 0}

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """The log's start and its last stable offset. Raises KafkaUnavailableError."""
        return self._offsets([tp], _EARLIEST)[tp], self._offsets([tp], _LATEST)[tp]

    def offsets(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Offsets]:
        """Committed, first and next offset of each that has an answer. Raises KafkaUnavailableError where none has.

        Committed offsets that a transaction still has in the air are waited for (`require_stable`): the former owner's
        last commit counts.
        """
        wanted = list(partitions)
        committed = self.committed(group, wanted)
        earliest = self._offsets(wanted, _EARLIEST)
        latest = self._offsets(wanted, _LATEST)
        found = [tp for tp in wanted if tp in committed and tp in earliest and tp in latest]
        if not found:
            raise KafkaUnavailableError(f"no offsets of group {group} could be had")
        return {tp: Offsets(committed[tp].offset, earliest[tp], latest[tp], committed[tp].metadata) for tp in found}

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, CommittedOffset]:
        """What the group has committed in each that has an answer. Raises KafkaUnavailableError."""
        return self._bystander(group).committed(partitions, self._timeout_seconds)

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """For a group that nobody has joined. Raises GroupBusyError where somebody has, or KafkaUnavailableError."""
        self._bystander(group).commit(offsets)

    def _bystander(self, group: str) -> Bystander:
        if group not in self._bystanders:
            self._bystanders[group] = Bystander(self._properties, group)
        return self._bystanders[group]

    def _offsets(
        self,
        partitions: Iterable[TopicPartition],
        spec: OffsetSpec,
        isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[TopicPartition, int]:
        return {tp: info.offset for tp, info in self._listed(partitions, spec, isolation_level).items()}

    def _listed(
        self, partitions: Iterable[TopicPartition], spec: OffsetSpec, isolation_level: IsolationLevel
    ) -> dict[TopicPartition, ListOffsetsResultInfo]:
        """Leaves out partitions without an answer; raises KafkaUnavailableError if that leaves none."""
        request = {KafkaPartition(*tp): spec for tp in partitions}
        if not request:
            return {}
        futures = _translated(
            lambda: self._admin.list_offsets(
                request, isolation_level=isolation_level, request_timeout=self._timeout_seconds
            )
        )
        offsets: dict[TopicPartition, ListOffsetsResultInfo] = {}
        problem: KafkaUnavailableError | None = None
        for part, future in futures.items():
            try:
                offsets[TopicPartition(part.topic, part.partition)] = self._result(future)
            except KafkaUnavailableError as error:
                problem = error
        if problem is not None:
            # Who leads is remembered for minutes, and the answer of a former leader does not renew it (2.16); a look at
            # all topics does.
            self.partitions()
            if not offsets:
                raise problem
        return offsets

    def make_dead_letter_topic(self, source: str, name: str) -> None:
        """Makes the topic where it is missing; returns when it is there.

        Raises TopicRefusedError, or KafkaUnavailableError.
        """
        existing = self.partitions()
        if name in existing:
            return
        if source not in existing:
            raise TopicRefusedError(f"topic {name} cannot be made: its source {source} is gone")
        config = dead_letter_config(self.config(source))
        self._create(NewTopic(name, num_partitions=existing[source], config=config))

    def doubts(self, source: str, dead_letter_topic: str) -> list[str]:
        """What looks wrong about a dead-letter topic that somebody else made; nothing, without the right to look."""
        found = dead_letter_doubts(self.config(dead_letter_topic), self.config(source))
        return [f"topic {dead_letter_topic} {doubt.what}; {doubt.remedy}" for doubt in found]

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]:
        """Makes the topic where it is missing, with as many partitions as its source, or gives it those it lacks.

        Returns what is to be known about it, one sentence each. Raises TopicRefusedError, also where it cannot be an
        identity log, or KafkaUnavailableError.
        """
        existing = self.partitions()
        if source not in existing:
            raise TopicRefusedError(f"topic {name} cannot be made: its source {source} is gone")
        partitions = existing[source]
        if name not in existing:
            self._create(NewTopic(name, num_partitions=partitions, config=identity_config(ttl_ms)))
            return []
        config = self.config(name)
        if fault := identity_fault(config):
            raise TopicRefusedError(f"topic {name} {fault.what}; {fault.remedy}")
        said = [f"topic {name} {doubt.what}; {doubt.remedy}" for doubt in identity_doubts(config, ttl_ms)]
        if existing[name] < partitions:
            self._grow(name, partitions)
            said.append(
                f"topic {name} had {existing[name]} partitions and {source} has {partitions}: it has as many now. "
                "Visitors whose events go to another partition than before are unknown there until they identify again"
            )
        return said

    def _grow(self, topic: str, partitions: int) -> None:
        futures = _translated(lambda: self._admin.create_partitions([NewPartitions(topic, partitions)]))
        try:
            futures[topic].result(self._timeout_seconds)
        except KafkaException as error:
            raise TopicRefusedError(
                f"topic {topic} has too few partitions and cannot be given more: {error.args[0].str()}. Give the "
                f"worker the right to alter it (ALTER on the topic), or give it {partitions} partitions yourself"
            ) from error
        except TimeoutError as error:
            raise KafkaUnavailableError(f"topic {topic} was not given more partitions in time") from error

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """What Kafka calls each topic, as long as it is not deleted and made anew; without those that are not there."""
        futures = _translated(
            lambda: self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=self._timeout_seconds)
        )
        found: dict[str, str] = {}
        for topic, future in futures.items():
            with suppress(_NoSuchTopicError):
                found[topic] = str(self._result(future).topic_id)
        return found

    def high_watermarks(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The end of each partition, what is in open transactions included."""
        return self._offsets(partitions, _LATEST, IsolationLevel.READ_UNCOMMITTED)

    def config(self, topic: str) -> dict[str, str]:
        """The topic's settings; empty without the right to read them, so that defaults apply."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            futures = self._admin.describe_configs([resource], request_timeout=self._timeout_seconds)
            entries = self._result(futures[resource])
        except (KafkaUnavailableError, TopicRefusedError):
            return {}
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def _create(self, topic: NewTopic) -> None:
        futures = _translated(lambda: self._admin.create_topics([topic], operation_timeout=self._timeout_seconds))
        try:
            futures[topic.topic].result(self._timeout_seconds)
        except KafkaException as error:
            code = error.args[0]
            if code.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if code.retriable() or code.code() in _LOST_ON_THE_WAY:
                raise KafkaUnavailableError(in_short(code.str())) from error
            raise TopicRefusedError(
                f"topic {topic.topic} is missing and cannot be made: {in_short(code.str())}. Give the worker the "
                "right to create it (CREATE on the topic or the cluster), or make it yourself with "
                f"{topic.num_partitions} partitions"
            ) from error
        except TimeoutError as error:
            raise KafkaUnavailableError(f"topic {topic.topic} was not made in time") from error

    def _result(self, future: "Future[Answered]") -> Answered:
        return _translated(lambda: future.result(self._timeout_seconds))


def _translated(call: Callable[[], Answered]) -> Answered:
    try:
        return call()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _NoSuchTopicError(error.args[0].str()) from error
        raise KafkaUnavailableError(error.args[0].str()) from error
    except TimeoutError as error:
        raise KafkaUnavailableError("no answer in time") from error
