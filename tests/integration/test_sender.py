"""The sender with its real threads. The clock is set by hand: what is not due by it does not start, however long the
machine takes.
"""

import json
import queue
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.builders import answer as answered
from tests.builders import tp
from tests.integration.harness import wait_until
from worker.core.batching import ENVELOPE_BYTES, Batch, Item
from worker.core.decoding import SchemaRef
from worker.core.outcomes import Answer
from worker.core.records import Record
from worker.sender import Backoff, Sender

PATIENCE_SECONDS = 5.0
NO_BACKOFF = Backoff(0.0, 0.0)


def batch(number: int, *, partition: int = 0) -> Batch:
    """A batch whose body says its number."""
    payload = str(number).encode()
    item = Item(Record(number, 0, None, None), payload, f"evt_{number}", "page", False, SchemaRef.of_id(7))
    return Batch(number, tp(partition), 1, number, number + 1, (item,), ENVELOPE_BYTES + len(payload))


class Items(list[Item]):
    """Ones of which it can be known whether anybody still has them."""


def numbers(batches: list[Batch]) -> list[int]:
    return [each.number for each in batches]


class Hands:
    """A clock set by hand. `looks` counts how often the sender's threads have read it, deciding what may start."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.looks += 1
        return self.now


class Request:
    """One that is on the wire until the test answers it."""

    def __init__(self, body: bytes) -> None:
        self.number: int = json.loads(body)["batch"][0]
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def answer(self, answer: Answer) -> None:
        self._answers.put(answer)

    def wait(self) -> Answer:
        return self._answers.get(timeout=PATIENCE_SECONDS)


class Wire:
    """An API that leaves every request to the test."""

    def __init__(self) -> None:
        self._started: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._all: list[Request] = []
        self._gone = threading.Event()

    def post(self, body: bytes) -> Answer:
        request = Request(body)
        self._all.append(request)
        self._started.put(request)
        if self._gone.is_set():
            request.answer(answered(None))
        return request.wait()

    def hang_up(self) -> None:
        """Lets go of every thread that waits, so that none outlives its test."""
        self._gone.set()
        for request in self._all:
            request.answer(answered(None))

    def started(self) -> Request:
        """The next request that starts."""
        return self._started.get(timeout=PATIENCE_SECONDS)


class Rig:
    """A sender, both its ends, and its clock."""

    def __init__(self, *, concurrency: int, rate_per_second: float, backoff: Backoff) -> None:
        self.clock = Hands()
        self.wire = Wire()
        self.reports: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        self.sender = Sender(
            self.wire,
            self.report,
            self.clock,
            concurrency=concurrency,
            rate_per_second=rate_per_second,
            backoff=backoff,
        )

    def report(self, batch: Batch, answer: Answer) -> None:
        self.reports.put((batch.number, answer))

    def reported(self) -> int:
        return self.reports.get(timeout=PATIENCE_SECONDS)[0]

    def deliver(self, number: int, *, partition: int = 0, retry: int = 0, probe: bool = False) -> None:
        self.sender.deliver(batch(number, partition=partition), retry=retry, probe=probe)

    def answer_next(self, answer: Answer) -> int:
        """Answers the request that starts next; returns its number once that is reported."""
        self.wire.started().answer(answer)
        return self.reported()

    def waits_at(self, now: float) -> bool:
        """Sets the clock, lets a thread decide anew, and says whether it started nothing."""
        self.clock.now = now
        before = self.clock.looks
        self.sender.release()
        wait_until(lambda: self.clock.looks > before, PATIENCE_SECONDS, "a thread has looked at the clock")
        return self.sender.on_wire() == 0


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test() -> Iterator[None]:
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith("sender-")]
    for thread in left:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in left)


@contextmanager
def running(*, concurrency: int = 1, rate_per_second: float = 1e9, backoff: Backoff = NO_BACKOFF) -> Iterator[Rig]:
    rig = Rig(concurrency=concurrency, rate_per_second=rate_per_second, backoff=backoff)
    try:
        yield rig
    finally:
        rig.sender.close(0.0)
        rig.wire.hang_up()
        rig.sender.close(PATIENCE_SECONDS)


def test_a_batch_is_posted_and_its_answer_reported() -> None:
    with running() as rig:
        rig.deliver(1)
        answer = answered(200)
        rig.wire.started().answer(answer)
        assert rig.reports.get(timeout=PATIENCE_SECONDS) == (1, answer)


def test_batches_due_at_the_same_time_start_in_the_order_of_their_numbers() -> None:
    with running() as rig:
        rig.deliver(1)
        blocker = rig.wire.started()
        for number in (4, 2, 3):
            rig.deliver(number)
        blocker.answer(answered())
        assert rig.reported() == 1
        assert [rig.answer_next(answered()) for _ in range(3)] == [2, 3, 4]


def test_what_is_due_first_starts_first_whatever_its_number() -> None:
    with running() as rig:
        rig.deliver(1)
        blocker = rig.wire.started()
        rig.clock.now = 1.0
        rig.deliver(2)
        rig.clock.now = 0.5
        rig.deliver(3)
        rig.clock.now = 1.0
        blocker.answer(answered())
        assert rig.reported() == 1
        assert [rig.answer_next(answered()) for _ in range(2)] == [3, 2]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 302])
def test_a_refusal_shuts_the_gate_before_anything_else_starts(status: int) -> None:
    with running() as rig:
        rig.deliver(1)
        refused = rig.wire.started()
        rig.deliver(2)
        refused.answer(answered(status))
        assert rig.reported() == 1
        rig.deliver(3)
        rig.deliver(4, probe=True)
        assert rig.wire.started().number == 4
        assert numbers(rig.sender.hold()) == [2, 3]


def test_the_gate_is_shut_by_the_time_the_refusal_is_reported() -> None:
    with running(concurrency=2) as rig:
        at_report: list[int] = []

        def report(refused: Batch, answer: Answer) -> None:
            if refused.number != 1:
                return
            # the other thread is free, and would take number 2 first
            sender.deliver(batch(2), retry=0, probe=False)
            sender.deliver(batch(3), retry=0, probe=True)
            at_report.append(rig.wire.started().number)

        sender = Sender(rig.wire, report, rig.clock, concurrency=2, backoff=NO_BACKOFF)
        sender.deliver(batch(1), retry=0, probe=False)
        rig.wire.started().answer(answered(403))
        wait_until(lambda: at_report, PATIENCE_SECONDS, "the refusal was reported")
        assert at_report == [3]
        assert numbers(sender.hold()) == [2]
        sender.close(0.0)
        rig.wire.hang_up()
        sender.close(PATIENCE_SECONDS)


@pytest.mark.parametrize("status", [200, 400, 413, 422, 429, 500, None])
def test_any_other_answer_leaves_the_gate_open(status: int | None) -> None:
    with running() as rig:
        rig.deliver(1)
        assert rig.answer_next(answered(status)) == 1
        rig.deliver(2)
        assert rig.wire.started().number == 2


def test_a_hold_gives_back_all_that_is_not_on_the_wire_in_order() -> None:
    with running(backoff=Backoff(1e6, 1e6)) as rig:
        rig.deliver(1)
        rig.wire.started()
        rig.deliver(5, retry=3)
        rig.deliver(3, partition=1)
        rig.deliver(2)
        assert numbers(rig.sender.hold()) == [2, 3, 5]
        assert rig.sender.on_wire() == 1


def test_what_a_hold_gave_back_does_not_start_later() -> None:
    with running() as rig:
        rig.deliver(1)
        on_the_wire = rig.wire.started()
        rig.deliver(2)
        rig.sender.hold()
        rig.sender.release()
        rig.deliver(3)
        on_the_wire.answer(answered())
        assert rig.reported() == 1
        assert rig.wire.started().number == 3


def test_a_hold_shuts_the_gate_for_all_but_a_probe() -> None:
    with running() as rig:
        rig.sender.hold()
        rig.deliver(1)
        rig.deliver(2, probe=True)
        assert rig.wire.started().number == 2


def test_a_hold_keeps_the_probe_that_waits_for_its_turn() -> None:
    with running() as rig:
        rig.deliver(1)
        blocker = rig.wire.started()
        rig.deliver(2)
        rig.deliver(3, probe=True)
        assert numbers(rig.sender.hold()) == [2]
        blocker.answer(answered())
        assert rig.reported() == 1
        assert rig.wire.started().number == 3


def test_a_probes_success_opens_nothing_by_itself() -> None:
    with running() as rig:
        rig.sender.hold()
        rig.deliver(1, probe=True)
        assert rig.answer_next(answered(200)) == 1
        rig.deliver(2)
        rig.deliver(3, probe=True)
        assert rig.wire.started().number == 3


def test_a_release_lets_go_what_came_in_under_the_hold() -> None:
    with running() as rig:
        rig.sender.hold()
        rig.deliver(1)
        rig.sender.release()
        assert rig.wire.started().number == 1


@pytest.mark.parametrize("status", [429, 408, 425, 500, 503])
def test_retry_after_of_any_retryable_answer_delays_every_partition(status: int) -> None:
    with running() as rig:
        rig.deliver(1)
        rig.answer_next(Answer(status, 0.0, 10.0, retry_after=5.0))
        rig.deliver(2, partition=1)
        assert rig.waits_at(14.99)
        rig.clock.now = 15.0
        rig.sender.release()
        assert rig.wire.started().number == 2


def test_retry_after_delays_a_probe_too() -> None:
    with running() as rig:
        rig.deliver(1)
        rig.answer_next(Answer(503, 0.0, 0.0, retry_after=5.0))
        rig.sender.hold()
        rig.deliver(2, partition=1, probe=True)
        assert rig.waits_at(4.99)
        rig.clock.now = 5.0
        rig.sender.release()
        assert rig.wire.started().number == 2


def test_a_shorter_retry_after_does_not_shorten_a_longer_one() -> None:
    with running(concurrency=2) as rig:
        rig.deliver(1)
        rig.deliver(2)
        requests = [rig.wire.started(), rig.wire.started()]
        for request, seconds in zip(requests, (60.0, 1.0), strict=True):
            request.answer(Answer(429, 0.0, 0.0, retry_after=seconds))
            rig.reported()
        rig.deliver(3)
        assert rig.sender.waiting_until == 60.0


@pytest.mark.parametrize("status", [200, 400, 403])
def test_retry_after_of_an_answer_that_is_not_retried_delays_nothing(status: int) -> None:
    with running() as rig:
        rig.deliver(1)
        rig.answer_next(Answer(status, 0.0, 0.0, retry_after=60.0))
        rig.deliver(2, probe=True)
        assert rig.wire.started().number == 2


def test_a_batch_in_back_off_takes_no_slot() -> None:
    with running(backoff=Backoff(1e6, 1e6)) as rig:
        rig.deliver(1, retry=5)
        rig.deliver(2)
        assert rig.answer_next(answered()) == 2
        assert numbers(rig.sender.hold()) == [1]


def test_a_batch_in_back_off_starts_when_its_time_has_come() -> None:
    with running(backoff=Backoff(8.0, 8.0)) as rig:
        rig.deliver(1, retry=1)
        due_at = rig.sender.waiting_until
        assert due_at is not None
        assert 0.0 < due_at <= 8.0
        assert rig.waits_at(due_at * 0.99)
        rig.clock.now = due_at
        rig.sender.release()
        assert rig.wire.started().number == 1


def test_withdraw_gives_back_what_these_partitions_have_waiting_and_no_more() -> None:
    with running() as rig:
        rig.deliver(1, partition=1)
        blocker = rig.wire.started()
        for number, partition in ((4, 1), (2, 1), (3, 2), (5, 3)):
            rig.deliver(number, partition=partition, probe=number == 5)
        assert numbers(rig.sender.withdraw([tp(1), tp(3)])) == [2, 4, 5]
        blocker.answer(answered())
        assert rig.reported() == 1
        assert rig.wire.started().number == 3


def test_on_wire_counts_by_partition_and_in_all() -> None:
    with running(concurrency=3) as rig:
        for number, partition in ((1, 0), (2, 0), (3, 1)):
            rig.deliver(number, partition=partition)
        for _ in range(3):
            rig.wire.started()
        assert rig.sender.on_wire() == 3
        assert [rig.sender.on_wire([tp(each)]) for each in range(3)] == [2, 1, 0]
        assert rig.sender.on_wire([tp(0), tp(1)]) == 3


def test_a_request_is_on_the_wire_until_its_answer_is_reported() -> None:
    with running() as rig:
        during_report: list[int] = []

        def report(batch: Batch, answer: Answer) -> None:
            during_report.append(sender.on_wire([batch.tp]))

        sender = Sender(rig.wire, report, rig.clock, concurrency=1)
        sender.deliver(batch(1), retry=0, probe=False)
        rig.wire.started().answer(answered())
        wait_until(lambda: not sender.on_wire(), PATIENCE_SECONDS, "nothing is on the wire")
        assert during_report == [1]
        sender.close(0.0)


def test_no_more_than_concurrency_are_on_the_wire_and_no_fewer() -> None:
    together = threading.Barrier(3)
    lock = threading.Lock()
    now_on_wire = 0
    most_on_wire = 0

    class Meeting:
        """Answers three at a time: with fewer it would wait for ever, and with more `most_on_wire` tells."""

        def post(self, body: bytes) -> Answer:
            nonlocal now_on_wire, most_on_wire
            with lock:
                now_on_wire += 1
                most_on_wire = max(most_on_wire, now_on_wire)
            together.wait(PATIENCE_SECONDS)
            with lock:
                now_on_wire -= 1
            return answered()

    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    sender = Sender(Meeting(), lambda batch, _: done.put(batch.number), Hands(), concurrency=3, rate_per_second=1e9)
    for number in range(30):
        sender.deliver(batch(number), retry=0, probe=False)
    assert {done.get(timeout=PATIENCE_SECONDS) for _ in range(30)} == set(range(30))
    assert most_on_wire == 3
    sender.close(0.0)


def test_no_more_start_in_a_second_than_the_rate() -> None:
    with running(rate_per_second=2) as rig:
        for number in range(1, 6):
            rig.deliver(number)
        assert rig.answer_next(answered()) == 1
        assert rig.waits_at(0.49)
        rig.clock.now = 0.5
        rig.sender.release()
        assert rig.answer_next(answered()) == 2
        assert rig.waits_at(0.99)


def test_rate_is_spent_by_probes_as_well() -> None:
    with running(rate_per_second=2) as rig:
        rig.deliver(1)
        assert rig.answer_next(answered()) == 1
        rig.deliver(2, probe=True)
        assert rig.waits_at(0.49)


def test_waiting_until_names_the_earliest_end_of_all_back_offs() -> None:
    with running(backoff=Backoff(1e6, 1e6)) as rig:
        rig.deliver(1, retry=1)
        alone = rig.sender.waiting_until
        rig.deliver(2, retry=1)
        both = rig.sender.waiting_until
        rig.sender.withdraw([tp(0)])
        assert alone is not None
        assert both is not None
        assert 0.0 < both <= alone


def test_waiting_until_is_none_where_nothing_waits() -> None:
    with running() as rig:
        assert rig.sender.waiting_until is None


def test_waiting_until_is_none_where_something_may_start() -> None:
    with running(backoff=Backoff(1e6, 1e6)) as rig:
        rig.deliver(1)
        rig.wire.started()
        rig.deliver(2, retry=3)
        rig.deliver(3)
        assert rig.sender.waiting_until is None


def test_no_answer_can_come_before_the_first_back_off_ends() -> None:
    with running(backoff=Backoff(1e6, 1e6)) as rig:
        assert rig.sender.quiet_seconds() == float("inf")
        rig.deliver(1, retry=1)
        assert rig.sender.quiet_seconds() == rig.sender.waiting_until


def test_an_answer_may_come_from_the_moment_a_request_may_start_until_it_is_reported() -> None:
    with running() as rig:
        rig.deliver(1)
        assert rig.sender.quiet_seconds() == 0.0
        on_the_wire = rig.wire.started()
        assert rig.sender.quiet_seconds() == 0.0
        on_the_wire.answer(answered())
        assert rig.reported() == 1
        wait_until(lambda: rig.sender.quiet_seconds() == float("inf"), PATIENCE_SECONDS, "nothing is to be sent")


def test_a_thread_without_work_keeps_nothing_of_its_last_batch() -> None:
    with running() as rig:
        sent = replace(batch(1), items=Items(batch(1).items))
        held = weakref.ref(sent.items)
        rig.sender.deliver(sent, retry=0, probe=False)
        del sent
        assert rig.answer_next(answered()) == 1
        wait_until(lambda: held() is None, PATIENCE_SECONDS, "the batch is let go")


def test_a_closed_sender_starts_nothing_more() -> None:
    with running() as rig:
        rig.deliver(1)
        on_the_wire = rig.wire.started()
        rig.deliver(2)
        rig.sender.close(0.0)
        rig.deliver(3)
        on_the_wire.answer(answered())
        assert rig.reported() == 1
        wait_until(lambda: not rig.sender.on_wire(), PATIENCE_SECONDS, "its thread is through")
        rig.sender.close(PATIENCE_SECONDS)
        assert rig.reports.empty()


def test_closing_does_not_wait_longer_than_it_may_for_what_is_on_the_wire() -> None:
    with running() as rig:
        rig.deliver(1)
        rig.wire.started()
        rig.sender.close(0.01)
        assert rig.sender.on_wire() == 1
