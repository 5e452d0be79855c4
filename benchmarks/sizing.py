"""How many events a second a set-up delivers under a backlog, worked out from its settings. Pure arithmetic.

docs/backfill.md has it in words; `backfill` holds it against what is measured.
"""

from dataclasses import dataclass

# From one answer to the next request of its partition: the loop hears of it, and puts together and sends a body.
TURNAROUND_SECONDS = 0.010


@dataclass(frozen=True, slots=True)
class SetUp:
    """`in_flight` is a partition's (MAX_IN_FLIGHT_PER_PARTITION); `concurrency` (DELIVERY_CONCURRENCY) and
    `requests_per_second` (RATE_LIMIT_PER_SECOND) are a worker's.
    """

    partitions: int
    workers: int
    api_seconds: float
    events_per_body: float
    in_flight: int = 1
    concurrency: int = 10
    requests_per_second: float = 100.0

    def events_per_second(self, ceiling: float) -> float:
        """`ceiling`: what one worker's CPU is good for, in delivered events a second."""
        working = min(self.workers, self.partitions)
        at_once = min(self.partitions * self.in_flight, working * self.concurrency)
        requests = min(at_once / (self.api_seconds + TURNAROUND_SECONDS), working * self.requests_per_second)
        return min(requests * self.events_per_body, working * ceiling)
