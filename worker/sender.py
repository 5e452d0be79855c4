"""Delivers batches off the poll thread: one POST for each `deliver`, when slot, back-off, rate and gate allow it. No
judgement of answers.

A batch in back-off waits in a list and takes none of the `DELIVERY_CONCURRENCY` slots. The gate is shut by the thread
that sees the answer, under the lock that starts requests, so that not one more starts; what follows from the answer is
the core's to say.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from tenacity import RetryCallState, wait_random_exponential

from worker.core.batching import Batch
from worker.core.outcomes import Answer, Verdict
from worker.core.records import TopicPartition

_SHUTTING = (Verdict.FORBIDDEN, Verdict.WRONG_ADDRESS)


class Poster(Protocol):
    """One POST, one answer; never raises for what the network or the server does."""

    def post(self, body: bytes) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential with full jitter: at retry n between 0 and min(`initial` * 2^(n-1), `maximum`) seconds."""

    initial_seconds: float = 1.0
    max_seconds: float = 60.0

    def seconds(self, retry: int) -> float:
        if retry < 1:
            return 0.0
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # strategy only
        state.attempt_number = min(retry, 64)
        return float(wait_random_exponential(multiplier=self.initial_seconds, max=self.max_seconds)(state))


@dataclass(order=True, slots=True)
class _Job:
    due_at: float
    number: int
    batch: Batch = field(compare=False)
    probe: bool = field(compare=False)


class TokenBucket:
    """At most `per_second` starts in any second, and no burst above a tenth of a second's worth.

    It remembers the starts of the last second. A bucket that is merely refilled lets a full one through on top, in the
    second after a pause.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        whole, burst = max(1, int(per_second)), max(1, int(per_second / 10))
        self._bounds = {burst, whole}
        self._starts: deque[float] = deque(maxlen=whole)

    def wait_seconds(self, now: float) -> float:
        """How long until one more may start; 0 when it may."""
        bounds = [count for count in self._bounds if count <= len(self._starts)]
        return max([0.0, *(self._starts[-count] + count / self._per_second - now for count in bounds)])

    def take(self, now: float) -> None:
        self._starts.append(now)


class Sender:
    """A pool of threads in front of one API key.

    `report(batch, answer)` is called from the pool's threads, once for every batch that was put on the wire. All other
    methods are for the loop's thread and return at once.
    """

    def __init__(
        self,
        api: Poster,
        report: Callable[[Batch, Answer], None],
        clock: Callable[[], float],
        *,
        concurrency: int = 10,
        rate_per_second: float = 100.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._api = api
        self._report = report
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._bucket = TokenBucket(rate_per_second)
        self._jobs: list[_Job] = []
        self._on_wire: Counter[TopicPartition] = Counter()
        self._shut = False
        self._not_before = float("-inf")
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._concurrency = concurrency
        self._threads: list[threading.Thread] = []

    def deliver(self, batch: Batch, *, retry: int, probe: bool) -> None:
        """One attempt at the batch, after the back-off of its retries. Only a probe passes the shut gate."""
        due_at = self._clock() + self._backoff.seconds(retry)
        with self._changed:
            self._jobs.append(_Job(due_at, batch.number, batch, probe))
            self._changed.notify()
            self._add_a_thread()

    def _add_a_thread(self) -> None:
        """Where all are busy and one more is allowed: each keeps the memory of a body or two, so idle ones are dear."""
        idle = len(self._threads) - self._on_wire.total()
        if idle < len(self._jobs) and len(self._threads) < self._concurrency:
            thread = threading.Thread(target=self._work, name=f"sender-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def hold(self) -> list[Batch]:
        """Shuts the gate and gives back what is not on the wire; the core decides what becomes of it."""
        with self._changed:
            self._shut = True
            return self._take_back(lambda job: not job.probe)

    def release(self) -> None:
        with self._changed:
            self._shut = False
            self._changed.notify_all()

    def withdraw(self, partitions: Collection[TopicPartition]) -> list[Batch]:
        """Gives back what these partitions have waiting here, before they are given away."""
        with self._changed:
            return self._take_back(lambda job: job.batch.tp in partitions)

    def _take_back(self, wanted: Callable[[_Job], bool]) -> list[Batch]:
        taken = sorted(job for job in self._jobs if wanted(job))
        self._jobs = [job for job in self._jobs if not wanted(job)]
        return [job.batch for job in taken]

    def on_wire(self, partitions: Collection[TopicPartition] | None = None) -> int:
        """How many requests have started and not been reported yet, of these partitions or of all."""
        with self._lock:
            if partitions is None:
                return self._on_wire.total()
            return sum(self._on_wire[tp] for tp in partitions)

    @property
    def waiting_until(self) -> float | None:
        """Until when everything here waits on purpose (back-off, Retry-After); None where there is nothing, or
        something may start now.
        """
        with self._lock:
            until = self._next_start()
            return until if self._jobs and until > self._clock() else None

    def quiet_seconds(self) -> float:
        """For how long no answer can come: 0 with a request on the wire or one that may start now, infinite with
        nothing to send.
        """
        with self._lock:
            return 0.0 if self._on_wire.total() else max(0.0, self._next_start() - self._clock())

    def _next_start(self) -> float:
        return max(min(self._jobs).due_at, self._not_before) if self._jobs else float("inf")

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Starts nothing more. Threads still on the wire are left to the end of the process: they are daemons, and
        their answers unwanted.
        """
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        deadline = self._clock() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock()))

    def _work(self) -> None:
        while self._deliver_next():
            pass

    def _deliver_next(self) -> bool:
        """Whether to go on. A call of its own, so that a thread that waits has let go of the last batch and its body:
        2 MB, for as long as there is nothing to send.
        """
        job = self._next()
        if job is None:
            return False
        self._came_home(job, self._api.post(job.batch.body(_sent_at())))
        return True

    def _next(self) -> _Job | None:
        """The next job that may start, now on the wire; None when the sender is closed."""
        with self._changed:
            while not self._closed:
                job, wait_seconds = self._startable()
                if job is not None:
                    self._jobs.remove(job)
                    self._bucket.take(self._clock())
                    self._on_wire[job.batch.tp] += 1
                    return job
                self._changed.wait(wait_seconds)
            return None

    def _startable(self) -> tuple[_Job | None, float | None]:
        """The job to start now, or how long to wait before asking again (None: until something changes)."""
        job = min((job for job in self._jobs if job.probe or not self._shut), default=None)
        if job is None:
            return None, None
        now = self._clock()
        wait_seconds = max(job.due_at - now, self._not_before - now, 0.0)
        if wait_seconds == 0.0:
            wait_seconds = self._bucket.wait_seconds(now)
        return (job, None) if wait_seconds == 0.0 else (None, wait_seconds)

    def _came_home(self, job: _Job, answer: Answer) -> None:
        with self._changed:
            if answer.verdict in _SHUTTING:
                self._shut = True
            if answer.verdict is Verdict.NOT_NOW and answer.retry_after:
                self._not_before = max(self._not_before, answer.ended_at + answer.retry_after)
        # Reported before it leaves the wire: whoever sees nothing on the wire must find its answer reported.
        self._report(job.batch, answer)
        with self._changed:
            self._on_wire[job.batch.tp] -= 1
            self._changed.notify_all()


def _sent_at() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
