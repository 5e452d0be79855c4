"""How far a run over ranges has come, all its processes together, and whether it is done. Asks what the group has
committed, and changes nothing.

A process of the run works until all of it is done, not only what it has itself: it may have to take over from one that
dies.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from worker.core.records import TopicPartition
from worker.core.stretches import Stretch, stretch_of
from worker.errors import KafkaUnavailableError

INTERVAL_SECONDS = 0.5


class CommittedLike(Protocol):
    @property
    def offset(self) -> int | None: ...
    @property
    def metadata(self) -> str: ...


class Ledger(Protocol):
    """The cluster, as far as offsets go. Blocking; raises KafkaUnavailableError."""

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, CommittedLike]: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition of a run: everything below `next_offset` is committed."""

    stretch: Stretch
    next_offset: int

    @property
    def left(self) -> int:
        """How many offsets are still to come; some of them may be gaps."""
        return max(0, self.stretch.end_offset - self.next_offset)


Standings = Mapping[TopicPartition, Standing]


def standings_of(ledger: Ledger, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Standing]:
    """Those partitions that the run has a part of. Raises KafkaUnavailableError, also where some cannot be told of."""
    answers = ledger.committed(group, partitions)
    if len(answers) < len(partitions):
        raise KafkaUnavailableError(f"not all offsets of group {group} could be had")
    found: dict[TopicPartition, Standing] = {}
    for tp, answer in answers.items():
        stretch = stretch_of(answer.metadata)
        if stretch is not None and answer.offset is not None:
            found[tp] = Standing(stretch, answer.offset)
    return found


class FinishLine:
    """Watches a run whose first offsets are committed, on a thread of its own, until it is done or closed. `looked` is
    called from there with what it has seen.
    """

    def __init__(
        self,
        ledger: Ledger,
        group: str,
        partitions: Collection[TopicPartition],
        looked: Callable[[Standings], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._group = group
        self._partitions = list(partitions)
        self._looked = looked
        self._closing = threading.Event()
        self._reached = threading.Event()
        self.standings: Standings = {}
        self._thread = threading.Thread(target=self._watch, name="finish-line", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(1.0)

    def reached(self) -> bool:
        """Whether the group has committed the end of every partition. For any thread, as is `standings`."""
        return self._reached.is_set()

    def _watch(self) -> None:
        while not self._closing.wait(INTERVAL_SECONDS):
            with suppress(KafkaUnavailableError):
                self.standings = standings_of(self._ledger, self._group, self._partitions)
                self._looked(self.standings)
                if self.standings and not any(standing.left for standing in self.standings.values()):
                    self._reached.set()
                    return
