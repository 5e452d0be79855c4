"""What a transaction writes beside offsets: dead letters, and what was learned of visitors. No client: the committer
carries it out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from worker import dead_letters, identity_entries
from worker.core.commands import LaneCommit
from worker.core.outcomes import HoldReason, Outcome
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
    """One record to write. `partition` may be ANY_PARTITION; `timestamp_ms` 0 is now."""

    to: Destination
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int = 0


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


class ReturnWriter:
    """Of a redrive: what failed again goes back to where it lay, told anew; what was left out goes back as it is, its
    time included, so that nothing is kept longer for it. `sources` has the source of each dead-letter topic.
    """

    def __init__(self, sources: Mapping[str, str], topics: TopicMaker) -> None:
        self._sources = sources
        self._topics = topics

    def records_of(self, share: LaneCommit) -> Iterator[Outgoing]:
        name, partition = share.tp
        make = partial(self._topics.make_dead_letter_topic, self._sources[name], name)
        destination = Destination(name, "a dead letter", HoldReason.DEAD_LETTER_REFUSED, make)
        for letter in share.dead_letters:
            key, value, headers = letter.record.key, letter.record.value, letter.record.headers
            if letter.outcome is Outcome.FILTERED:
                yield Outgoing(destination, partition, key, value, headers, max(0, letter.record.timestamp_ms))
                continue
            first = dead_letters.opened(letter.record)
            assert first is not None, "nothing else is decided anew"
            yield Outgoing(destination, partition, key, value, dead_letters.headers_again(letter, first))
