"""Where reading a partition starts. librdkafka is never asked: it only knows a policy, and the policy loses events
without a word.
"""

from dataclasses import dataclass
from enum import StrEnum

from worker.core.stretches import Stretch


class OffsetReset(StrEnum):
    """`KAFKA_AUTO_OFFSET_RESET`: what to do where the group has no offset that still exists."""

    EARLIEST = "earliest"
    LATEST = "latest"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Start:
    """Reading begins at `offset`. `committed` is the group's own offset, None where it has none.

    `lost` counts offsets that were committed to come next and have been deleted; `beyond` says that the commit was past
    the end (the topic was deleted and made again, or somebody moved the group). `refused`: the setting is `error`, and
    this is why the worker has to stop. A `stretch` has an end: nothing is read from there on.
    """

    offset: int
    committed: int | None
    lost: int = 0
    beyond: bool = False
    refused: str = ""
    stretch: Stretch | None = None


def start_of(
    committed: int | None, earliest: int, latest: int, reset: OffsetReset, *, first_seen_running: bool = False
) -> Start:
    """`earliest` is the log's start, `latest` its end (the offset the next record will get).

    A partition that appeared while the group was at work is read from its beginning whatever the setting: its first
    events came before anybody could have committed anything.
    """
    if committed is None:
        if first_seen_running:
            return Start(earliest, None)
        refused = f"the group has no offset; log start {earliest}, end {latest}" if reset is OffsetReset.ERROR else ""
        return Start(latest if reset is OffsetReset.LATEST else earliest, None, refused=refused)
    if committed > latest:
        refused = f"committed {committed} is beyond the end {latest}" if reset is OffsetReset.ERROR else ""
        return Start(latest, committed, beyond=True, refused=refused)
    if committed < earliest:
        refused = f"committed {committed} is before the log start {earliest}" if reset is OffsetReset.ERROR else ""
        offset = latest if reset is OffsetReset.LATEST else earliest
        return Start(offset, committed, lost=offset - committed, refused=refused)
    return Start(committed, committed)
