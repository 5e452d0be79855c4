"""Where a partition starts, and whether it ends: for the worker that runs for ever, and for a run over a range. No
look-ups: the scout asks, and hands over what it was told.
"""

from dataclasses import replace
from typing import Protocol

from worker.core.start_offsets import OffsetReset, Start, start_of
from worker.core.stretches import Stretch, stretch_of


class OffsetsLike(Protocol):
    @property
    def committed(self) -> int | None: ...
    @property
    def metadata(self) -> str: ...
    @property
    def earliest(self) -> int: ...
    @property
    def latest(self) -> int: ...


class Planner(Protocol):
    """`position` is where reading was when the log was cut under it, None where the partition is new to us.

    `anew`: the topic was deleted and made again while it was read. `was_there`: it was seen when the worker started.
    """

    def start(self, found: OffsetsLike, position: int | None, *, anew: bool, was_there: bool) -> Start: ...


class LivePlanner:
    """From what the group has committed, or as the setting says; without an end."""

    def __init__(self, reset: OffsetReset) -> None:
        self._reset = reset

    def start(self, found: OffsetsLike, position: int | None, *, anew: bool, was_there: bool) -> Start:
        committed = found.committed if position is None else position
        start = start_of(
            None if anew else committed,
            found.earliest,
            found.latest,
            self._reset,
            first_seen_running=anew or not was_there,
        )
        return replace(start, refused=f"KAFKA_AUTO_OFFSET_RESET=error: {start.refused}") if start.refused else start


class StretchPlanner:
    """From what the group has committed, to the end that came with it: whatever the arguments of this process were.

    A partition without either was added after the run began: nothing of it belongs to the run.
    """

    def start(self, found: OffsetsLike, position: int | None, *, anew: bool, was_there: bool) -> Start:
        stretch = stretch_of(found.metadata) or Stretch(found.earliest, found.earliest)
        committed = stretch.end_offset if found.committed is None else found.committed
        if anew:
            return Start(committed, committed, refused="the topic was deleted and made again while it was read")
        before = committed if position is None else position
        if before > found.latest:
            beyond = f"offset {before} comes next, beyond the end {found.latest}"
            return Start(before, found.committed, refused=f"{beyond}: the topic was made anew, or has lost records")
        offset = max(before, min(found.earliest, stretch.end_offset))
        return Start(offset, found.committed, lost=offset - before, stretch=stretch)
