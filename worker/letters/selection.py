"""Which dead letters are meant, and how far a redrive is with them. Values and tables; reads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.core.records import TopicPartition
from worker.dead_letters import Letter, written_group

MAX_REDRIVES = 3


class State(StrEnum):
    """What a redrive would do with a letter, or has done: sent it, or written it again further on in its topic.

    PASSED is one behind a redrive that was exhausted by default: nothing tells whether that one had a higher limit.
    """

    WAITING = "waiting"
    REDRIVEN = "redriven"
    EXHAUSTED = "exhausted"
    PASSED = "passed"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets `first` to `last` of one partition of a dead-letter topic, both included."""

    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for; an empty part leaves nothing out. `since_ms` is included, `until_ms` is not: of the first
    failure, in epoch milliseconds.
    """

    reasons: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    places: Sequence[Place] = ()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def all(self) -> bool:
        return self == Selection()

    def takes(self, tp: TopicPartition, offset: int, letter: Letter) -> bool:
        """`tp` and `offset` are where the letter lies."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.statuses or letter.http_status in self.statuses)
            and (not self.places or any(_holds(place, tp, offset) for place in self.places))
            and (self.since_ms is None or letter.first_failed_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.first_failed_at_ms < self.until_ms)
        )


def _holds(place: Place, tp: TopicPartition, offset: int) -> bool:
    return place.partition == tp.partition and place.first <= offset <= place.last


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose letters a redrive takes, and how often each."""

    group: str
    max_redrives: int = MAX_REDRIVES

    def owns(self, letter: Letter) -> bool:
        return letter.group == written_group(self.group)

    def state(self, letter: Letter | None, offset: int, redriven_to: int) -> State:
        """`redriven_to` is the offset a redrive would begin at; None is what no worker wrote."""
        ours = letter is not None and self.owns(letter)
        if ours and letter is not None and letter.redrives >= self.max_redrives:
            return State.EXHAUSTED
        if offset < redriven_to:
            spent = ours and letter is not None and letter.redrives >= MAX_REDRIVES
            return State.PASSED if spent else State.REDRIVEN
        return State.WAITING if ours else State.FOREIGN


def redrive_group(group: str) -> str:
    return f"{group}.redrive"
