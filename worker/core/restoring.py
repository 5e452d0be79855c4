"""Which entries of the identity log count, for a partition that is read from a given offset on. No client, no bytes of
Kafka's (`identity_entries.py`).

The log is the order in which states were committed, not the order of source offsets: a group that was moved back makes
its entries again, behind those that it made before.
"""

from collections.abc import Mapping
from typing import NamedTuple

from worker.core.identity import Known


class Entry(NamedTuple):
    """One record of the identity log.

    `source_offset` is that of the event which led to it, in the topic `topic_id`. `forgotten_until` is the source
    offset below which an operator had the visitor forgotten, 0 where nobody has; `by_hand` marks the operator's own
    record. `state` None: the visitor is forgotten.
    """

    visitor: str
    state: bytes | None
    source_offset: int
    topic_id: str
    forgotten_until: int = 0
    by_hand: bool = False


class Restoration:
    """Takes the entries of one partition in log order; `known` is then what was known before the offset `start`."""

    def __init__(self, start: int, topic_id: str) -> None:
        self._start = start
        self._topic_id = topic_id
        self._later: set[str] = set()
        self._forgotten: set[str] = set()
        self.known = Known({}, {})
        self.entries = 0

    def take(self, entry: Entry) -> None:
        """Skips what was learned in another topic of this name, at or past the start (it will be learned again), or
        before an operator's word. The operator's own record is never skipped.
        """
        self.entries += 1
        visitor, states = entry.visitor, self.known.states
        if entry.topic_id == self._topic_id and entry.forgotten_until:
            until = self.known.forgotten_until
            until[visitor] = max(until.get(visitor, 0), entry.forgotten_until)
        if entry.by_hand:
            states.pop(visitor, None)
        elif entry.topic_id == self._topic_id:
            if entry.source_offset >= self._start:
                self._later.add(visitor)
            elif entry.state is None:
                states.pop(visitor, None)
                self._forgotten.add(visitor)
            elif entry.source_offset >= self.known.forgotten_until.get(visitor, 0):
                states[visitor] = entry.state
                self._forgotten.discard(visitor)

    def tells_of(self, visitor: str) -> bool:
        """Whether the log has said what was known of this visitor before the start, be it that nothing was."""
        return visitor in self.known.states or visitor in self._forgotten

    def complete(self, found: Mapping[str, bytes]) -> None:
        """Adds what was found out elsewhere of visitors of whom the log does not tell."""
        self.known.states.update((visitor, state) for visitor, state in found.items() if not self.tells_of(visitor))

    @property
    def unknown(self) -> int:
        """Visitors of whom the log has only what was learned from the start on: what was known before is compacted
        away, or nothing was.
        """
        return len(self._later - self.known.states.keys() - self._forgotten)
