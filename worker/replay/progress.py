"""How far a replay is, for eyes: a bar a partition on a terminal, a log line now and then elsewhere. Decides nothing.

What is shown is what the group has committed, all processes together. Called from the finish line's thread.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from worker.core.records import TopicPartition
from worker.finish import Standing, Standings

LINE_SECONDS = 10.0
# A screen has so many lines; what is left over has none of its own.
MAX_BARS = 16
ALL = "all"

log = structlog.get_logger()


class View(Protocol):
    """Entered for as long as there is something to see."""

    def shown(self) -> AbstractContextManager[object]: ...

    def looked(self, standings: Standings) -> None: ...

    def stopping(self) -> None: ...


def view_of(stream: TextIO, name: str, clock: Callable[[], float], waits_for: Callable[[], tuple[str, ...]]) -> View:
    """`waits_for` says why nothing moves, where something keeps it."""
    return Bars(stream, waits_for) if stream.isatty() else Lines(name, clock, waits_for)


class Lines:
    """A log line every ten seconds."""

    def __init__(self, name: str, clock: Callable[[], float], waits_for: Callable[[], tuple[str, ...]]) -> None:
        self._name = name
        self._clock = clock
        self._waits_for = waits_for
        self._said_at = clock()
        self._records = 0

    def shown(self) -> AbstractContextManager[object]:
        return nullcontext()

    def looked(self, standings: Standings) -> None:
        now, records = self._clock(), _records(standings)
        if now - self._said_at < LINE_SECONDS:
            return
        per_second = (records - self._records) / (now - self._said_at)
        log.info(
            "replay.progress",
            name=self._name,
            records=records,
            records_per_second=round(per_second),
            offsets_left=sum(standing.left for standing in standings.values()),
            partitions_left=sum(standing.left > 0 for standing in standings.values()),
            waits_for=list(self._waits_for()),
        )
        self._said_at, self._records = now, records

    def stopping(self) -> None:
        log.info("replay.stopping", name=self._name)


class Bars:
    """Offsets done of each partition, and of all of them with the rate and the time that is left."""

    def __init__(self, stream: TextIO, waits_for: Callable[[], tuple[str, ...]]) -> None:
        self._waits_for = waits_for
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._tasks: dict[TopicPartition | str, TaskID] = {}

    def shown(self) -> AbstractContextManager[object]:
        return self._progress

    def looked(self, standings: Standings) -> None:
        for tp, standing in sorted(standings.items())[:MAX_BARS] if len(standings) > 1 else ():
            self._move(tp, escape(str(tp)), _done(standing), standing.stretch.offsets, "")
        done = sum(map(_done, standings.values()))
        offsets = sum(standing.stretch.offsets for standing in standings.values())
        self._move(ALL, ALL, done, offsets, self._rate())
        why = "; ".join(self._waits_for())
        self._progress.update(self._tasks[ALL], description=escape(f"{ALL} (waits: {why})" if why else ALL))

    def stopping(self) -> None:
        self._progress.print("Stopping: what is on its way is finished.")

    def _move(self, key: TopicPartition | str, name: str, done: int, offsets: int, rate: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(name, total=offsets, completed=done, rate=rate)
        self._progress.update(self._tasks[key], completed=done, total=offsets, rate=rate)

    def _rate(self) -> str:
        task = self._tasks.get(ALL)
        speed = None if task is None else next(each for each in self._progress.tasks if each.id == task).speed
        return "" if speed is None else f"{speed:,.0f}/s"


def _done(standing: Standing) -> int:
    return standing.stretch.offsets - standing.left


def _records(standings: Standings) -> int:
    return sum(sum(standing.stretch.counted.values()) for standing in standings.values())
