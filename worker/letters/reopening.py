"""What a redrive does with each record of a dead-letter topic before anything is decided about its event: whose it is,
whether it is asked for, whether it was tried often enough. No client.
"""

from collections.abc import Mapping

from worker.core.identity import Identities, Remembered
from worker.core.intake import Origin
from worker.core.outcomes import DeadLetter, Reason, left_out
from worker.core.records import Record, TopicPartition
from worker.dead_letters import opened
from worker.letters.selection import Ownership, Selection

Visitors = Mapping[TopicPartition, Identities]


class Reopener:
    """`visitors` are those known of each source partition."""

    def __init__(self, owner: Ownership, selection: Selection, visitors: Visitors) -> None:
        self._owner = owner
        self._selection = selection
        self._visitors = visitors
        self._nobody = Remembered(0)

    def __call__(self, tp: TopicPartition, record: Record, now: float) -> Origin | Reason | DeadLetter:
        """An exhausted one is passed by whatever is asked for, and nothing written: it stays where it is."""
        letter = opened(record)
        if letter is None or not self._owner.owns(letter):
            return left_out(record, Reason.FOREIGN, now)
        if letter.redrives >= self._owner.max_redrives:
            return Reason.EXHAUSTED
        if not self._selection.takes(tp, record.offset, letter):
            return left_out(record, Reason.NOT_SELECTED, now)
        return Origin(letter.source, letter.record, self._visitors.get(letter.source, self._nobody))
