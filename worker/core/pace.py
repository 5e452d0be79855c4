"""How many records a second may be decided, where somebody has set a limit. No clock: time is an argument."""


class Pace:
    """A token bucket that holds a fifth of a second's records, one at least: in any time, so many more than the rate
    says may pass. The loop turns ten times a second where nothing is under way, and must find enough.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._depth = max(1.0, per_second / 5)
        self._tokens = self._depth
        self._filled_at: float | None = None
        self._ended = False

    def end(self) -> None:
        """From now on nothing more may be decided."""
        self._ended = True

    def allows(self, now: float) -> bool:
        """Whether one more record may be decided now."""
        if self._filled_at is not None:
            self._tokens = min(self._depth, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return not self._ended and self._tokens >= 1

    def spend(self) -> None:
        """One was decided."""
        self._tokens -= 1
