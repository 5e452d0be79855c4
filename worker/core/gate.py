"""Whether the key may be used (DESIGN §2: hold, probe, systemic rejection). Knows answers and times, no lanes and no
batches' contents.

Two things shut the gate: an answer about the key or the address (401, 403, 404, ...), and too many single events
rejected in a row. Only the answer to a probe opens it again; what was on the wire when it shut comes home and is
judged, but proves nothing about now.
"""

from worker.core.outcomes import Answer, HoldReason

PROBE_INTERVAL_SECONDS = 30.0


class Gate:
    """The gate of the key, for all partitions. `rejection_limit` 0 never shuts it for rejections."""

    def __init__(self, rejection_limit: int) -> None:
        self._limit = rejection_limit
        self._forbidden: HoldReason | None = None
        self._too_many_rejections = False
        self._rejected_in_a_row = 0
        self._probe: int | None = None
        self._probe_due_at = 0.0
        self._shut_at: float | None = None
        self._held_seconds = 0.0

    @property
    def reasons(self) -> tuple[HoldReason, ...]:
        """Why it is shut; empty while it is open."""
        rejections = HoldReason.REJECTIONS if self._too_many_rejections else None
        return tuple(reason for reason in (self._forbidden, rejections) if reason)

    @property
    def shut(self) -> bool:
        return self._shut_at is not None

    def held_seconds(self, now: float) -> float:
        """For how long it has been shut since the start, all holds together: time that no batch is blamed for."""
        return self._held_seconds + (now - self._shut_at if self._shut_at is not None else 0.0)

    def probe_due(self, now: float) -> bool:
        return self.shut and self._probe is None and now >= self._probe_due_at

    def probing(self, number: int) -> None:
        """The batch of this number goes out as the probe."""
        self._probe = number

    def came_home(self, number: int) -> bool:
        """Whether the answer to this batch is the probe's; asked once for every answer, whatever became of its lane."""
        if self._probe != number:
            return False
        self._probe = None
        return True

    def dropped(self, number: int, now: float) -> None:
        """A batch was taken back before it was on the wire: as a probe it proved nothing, and the next one is due."""
        if self.came_home(number):
            self._probe_due_at = now

    def taken(self, *, probe: bool, now: float) -> bool:
        """A 2xx came home. Returns whether it counts: while the gate is shut, only the probe's does."""
        if self.shut and not probe:
            return False
        self._rejected_in_a_row = 0
        self._too_many_rejections = False
        self._forbidden = None
        self._settle(now)
        return True

    def key_works(self, *, probe: bool, now: float) -> None:
        """A 400, 413 or 422 came home: somebody read the body, so key and address are right."""
        if probe:
            self._forbidden = None
            self._probe_due_at = now
            self._settle(now)

    def forbid(self, reason: HoldReason, *, probe: bool, at_once: bool, now: float) -> None:
        """An answer about the key or the address came home.

        `at_once`: the refused batch stands accused itself and the API worked in between, so one more probe need not
        wait half a minute.
        """
        if probe or self._forbidden is None:
            self._forbidden = reason
            self._probe_due_at = now + (0.0 if at_once else PROBE_INTERVAL_SECONDS)
            self._settle(now)

    def not_now(self, answer: Answer, *, probe: bool) -> None:
        """No answer, or one that says nothing about the key: a shut gate stays shut, the next probe waits its turn."""
        if probe:
            self._probe_due_at = answer.started_at + PROBE_INTERVAL_SECONDS

    def rejected(self, *, probe: bool, now: float) -> bool:
        """A single event was rejected. Returns whether it may be dead-lettered; past the limit in a row it has to wait
        for a success.

        The first probe goes out at once: eleven bad events in a row among good ones need no pause. After that, one
        every half minute.
        """
        if self._limit == 0:
            return True
        self._rejected_in_a_row += 1
        if self._rejected_in_a_row <= self._limit:
            return True
        if probe or not self._too_many_rejections:
            self._probe_due_at = now + (PROBE_INTERVAL_SECONDS if self._too_many_rejections else 0.0)
        self._too_many_rejections = True
        self._settle(now)
        return False

    def _settle(self, now: float) -> None:
        """Keeps the clock of the hold in step with its reasons."""
        if self.reasons and self._shut_at is None:
            self._shut_at = now
        elif not self.reasons and self._shut_at is not None:
            self._held_seconds += now - self._shut_at
            self._shut_at = None
