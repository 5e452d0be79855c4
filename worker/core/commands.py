"""What the core asks for. Values only: who carries a command out, and how, is the loop's and the edges' business."""

from collections import Counter
from dataclasses import dataclass, field

from worker.core.batching import Batch
from worker.core.decoding import SchemaRef
from worker.core.identity import IdentityChange
from worker.core.outcomes import DeadLetter, HoldReason, Outcome, Reason
from worker.core.records import TopicPartition
from worker.core.stretches import Stretch


@dataclass(frozen=True, slots=True)
class Deliver:
    """One attempt at one batch. `retry` counts its not-now answers in a row: the sender waits accordingly, not at all
    at 0.

    A `probe` is the one request that may start while the key's gate is shut.
    """

    batch: Batch
    retry: int = 0
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Start nothing but probes, and give back every batch that is not on the wire."""

    reasons: tuple[HoldReason, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """The gate is open again."""


@dataclass(frozen=True, slots=True)
class LaneCommit:
    """One lane's share of a Commit: everything below `next_offset` is settled.

    `spans` is how many spans from the front of the lane it covers, 0 where only the position has moved, past
    transaction markers. `extra_bytes` is what its dead letters and identity changes weigh. `topic_id` is the source
    topic's, as it was when the lane was restored. `stretch`, where the lane has an end: as it is once
    this is committed.
    """

    tp: TopicPartition
    epoch: int
    next_offset: int
    topic_id: str = ""
    spans: int = 0
    dead_letters: tuple[DeadLetter, ...] = ()
    changes: tuple[IdentityChange, ...] = ()
    extra_bytes: int = 0
    traits_refused: int = 0
    outcomes: Counter[tuple[Outcome, Reason]] = field(default_factory=Counter)
    delivered: Counter[tuple[str, bool]] = field(default_factory=Counter)
    stretch: Stretch | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Dead letters, identity changes and offsets in one Kafka transaction, all or nothing."""

    lanes: tuple[LaneCommit, ...]


@dataclass(frozen=True, slots=True)
class FetchSchema:
    ref: SchemaRef


@dataclass(frozen=True, slots=True)
class Pause:
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    partitions: tuple[TopicPartition, ...]


Command = Deliver | Hold | Release | Commit | FetchSchema | Pause | Resume
