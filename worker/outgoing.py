"""What a transaction writes beside offsets: dead letters, and what was learned of visitors. No client: the committer
carries it out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from worker import dead_letters, identity_entries
from worker.core.commands import LaneCommit
from worker.core.outcomes import HoldReason
from worker.core.records import Headers
from worker.topics import TopicNames

# the client's word for "by the key"
ANY_PARTITION = -1


@dataclass(frozen=True, slots=True)
class Destination:
    """A topic of the worker's own. `make` makes it where it is missing; it raises TopicRefusedError or
    KafkaUnavailableError.

    `what` is written there, in words, and `refusal` what a lane is held for when it is not taken.
    """

    topic: str
    what: str
    refusal: HoldReason
    make: Callable[[], object]


class Outgoing(NamedTuple):
    """One record to write. `partition` may be ANY_PARTITION."""

    to: Destination
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Writer(Protocol):
    """On the committer's thread. Called again for a share whose transaction was refused, with the same result."""

    def records_of(self, share: LaneCommit) -> Iterator[Outgoing]: ...


class TopicMaker(Protocol):
    """Makes the worker's own topics where they are missing. Raises TopicRefusedError or KafkaUnavailableError."""

    def make_dead_letter_topic(self, source: str, name: str) -> None: ...

    def make_identity_topic(self, source: str, name: str, ttl_ms: int) -> list[str]: ...


class DeadLetterWriter:
    """`group` is the live one, whoever has found the dead letter: a redrive looks for its own group's."""

    def __init__(self, names: TopicNames, group: str, topics: TopicMaker, wall_ms: Callable[[float], int]) -> None:
        self._names = names
        self._group = group
        self._topics = topics
        self._wall_ms = wall_ms

    def records_of(self, share: LaneCommit) -> Iterator[Outgoing]:
        source = share.tp.topic
        name = self._names.dead_letter(source)
        make = partial(self._topics.make_dead_letter_topic, source, name)
        destination = Destination(name, "a dead letter", HoldReason.DEAD_LETTER_REFUSED, make)
        for letter in share.dead_letters:
            headers = dead_letters.headers_of(letter, share.tp, self._group, self._wall_ms)
            yield Outgoing(destination, ANY_PARTITION, letter.record.key, letter.record.value, headers)


class IdentityWriter:
    def __init__(self, names: TopicNames, topics: TopicMaker, ttl_ms: int) -> None:
        self._names = names
        self._topics = topics
        self._ttl_ms = ttl_ms

    def records_of(self, share: LaneCommit) -> Iterator[Outgoing]:
        source = share.tp.topic
        name = self._names.identity(source)
        make = partial(self._topics.make_identity_topic, source, name, self._ttl_ms)
        destination = Destination(name, "what was learned of a visitor", HoldReason.IDENTITY_REFUSED, make)
        for change in share.changes:
            headers = identity_entries.headers_of(change, share.topic_id)
            yield Outgoing(destination, share.tp.partition, change.visitor.encode(), change.state, headers)
