"""Ends a process that is alive without progress, so that its supervisor starts a new one: nothing is lost, offsets
follow delivery.

A thread of its own, because what it guards against includes a loop that no longer turns. Knows nothing of events; the
loop feeds it.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Mapping

CHECK_SECONDS = 1.0


class Watchdog:
    """Calls `bite(stacks)` once, on its own thread, when it was not fed for `limit_seconds` on `clock`."""

    def __init__(
        self, limit_seconds: float, clock: Callable[[], float], bite: Callable[[Mapping[str, str]], None]
    ) -> None:
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._bite = bite
        self._fed_at = clock()
        self._seen = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._fed_at = self._clock()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def turned(self, activity: int, *, owing: bool) -> None:
        """A turn of the loop. `activity` counts what has moved since the start; `owing`: something should move, and
        nothing excuses it.
        """
        if activity != self._seen or not owing:
            self._seen = activity
            self._fed_at = self._clock()

    def starving(self) -> bool:
        return self._clock() - self._fed_at >= self._limit_seconds

    def _watch(self) -> None:
        while not self._stop.wait(min(CHECK_SECONDS, self._limit_seconds / 4)):
            if self.starving():
                self._bite(stacks())
                return


def stacks() -> dict[str, str]:
    """Every thread's name and stack: files, lines and code, no values."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(ident, str(ident)): "".join(traceback.format_stack(frame))
        for ident, frame in sys._current_frames().items()
    }
