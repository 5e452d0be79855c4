"""What the loop does with a chunk, with edges that only take notes. The rest of it is tested on a real broker."""

import itertools
from types import SimpleNamespace
from typing import cast

import pytest

from tests.builders import TP, pipeline, signals, tap
from worker.core.batching import Batch
from worker.core.decoding import SchemaRef, SchemaUnavailable
from worker.core.records import TopicPartition
from worker.facts import Inbox
from worker.kafka import Chunk
from worker.loop import BUSY_POLL_SECONDS, IDLE_POLL_SECONDS, Edges, Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.watchdog import Watchdog


def test_a_partition_that_fell_out_of_range_behind_its_last_records_is_asked_for_from_behind_them() -> None:
    asked: list[tuple[TopicPartition, int, int | None]] = []
    watchdog = Watchdog(300, lambda: 0.0, lambda _: None)
    core = pipeline()
    reporter = Reporter(Metrics(), tap(), lambda: 0.0)
    loop = Loop(core, Inbox(), reporter, watchdog, lambda: 0.0, revoke_seconds=1, shutdown_seconds=0)

    def poll(_records: int, _seconds: float) -> Chunk:
        loop.out_of_range(TP)
        return Chunk({TP: signals(range(5))})

    turns = iter([False, True])
    edges = SimpleNamespace(
        consumer=SimpleNamespace(poll=poll, joined=True, close=lambda: None, resume=lambda _: None),
        sender=SimpleNamespace(
            on_wire=lambda *_: 0, quiet_seconds=lambda: 0.0, waiting_until=1.0, deliver=lambda *_, **__: None
        ),
        committer=SimpleNamespace(),
        schemas=SimpleNamespace(),
        visitors=SimpleNamespace(),
        scout=SimpleNamespace(locate=lambda tp, epoch, position=None: asked.append((tp, epoch, position))),
    )
    core.assigned([TP])
    core.restored(TP, 0, 0)
    loop.run(cast(Edges, edges), lambda: next(turns))

    assert asked == [(TP, core.lanes[TP].epoch, 5)]


def test_in_the_second_half_of_a_shutdown_nothing_more_is_begun_and_answers_are_waited_for() -> None:
    times = itertools.count()
    held_at: list[int] = []
    now = 0

    def clock() -> float:
        return now

    def poll(_records: int, _seconds: float) -> Chunk:
        nonlocal now
        now = next(times)
        return Chunk()

    def hold() -> list[Batch]:
        held_at.append(now)
        return []

    core = pipeline()
    reporter = Reporter(Metrics(), tap(), clock)
    loop = Loop(
        core,
        Inbox(),
        reporter,
        Watchdog(300, clock, lambda _: None),
        clock,
        revoke_seconds=1,
        shutdown_seconds=20,
    )
    edges = SimpleNamespace(
        consumer=SimpleNamespace(poll=poll, joined=True, close=lambda: None, pause=lambda _: None),
        sender=SimpleNamespace(
            on_wire=lambda *_: 1 if now < 15 else 0,
            quiet_seconds=lambda: 0.0,
            waiting_until=None,
            hold=hold,
            deliver=lambda *_, **__: None,
        ),
        committer=SimpleNamespace(),
        schemas=SimpleNamespace(),
        visitors=SimpleNamespace(),
        scout=SimpleNamespace(),
    )
    core.assigned([TP])
    core.restored(TP, 0, 0)
    core.received({TP: signals(range(5))}, {}, 0.0)
    loop.run(cast(Edges, edges), lambda: True)

    assert held_at == [10]
    assert now == 15, "it waits for the wire, and no longer"


@pytest.mark.parametrize(
    ("quiet_seconds", "news", "waited_seconds"),
    [
        pytest.param(float("inf"), False, IDLE_POLL_SECONDS, id="nothing is to be sent"),
        pytest.param(0.0, False, BUSY_POLL_SECONDS, id="an answer may come at any time"),
        pytest.param(0.03, False, 0.03, id="a back-off ends sooner"),
        pytest.param(float("inf"), True, BUSY_POLL_SECONDS, id="an answer came since the inbox was emptied"),
    ],
)
def test_records_are_not_waited_for_past_the_moment_when_an_answer_may_come(
    quiet_seconds: float, waited_seconds: float, *, news: bool
) -> None:
    inbox, waits = Inbox(), list[float]()

    def poll(_records: int, seconds: float) -> Chunk:
        waits.append(seconds)
        return Chunk()

    def ask() -> float:
        if news:
            # between the sender's word and the look into the inbox, as its thread may
            inbox.put(SchemaUnavailable(SchemaRef.of_id(7), ""))
        return quiet_seconds

    loop = Loop(
        pipeline(),
        inbox,
        Reporter(Metrics(), tap(), lambda: 0.0),
        Watchdog(300, lambda: 0.0, lambda _: None),
        lambda: 0.0,
        revoke_seconds=1,
        shutdown_seconds=0,
    )
    edges = SimpleNamespace(
        consumer=SimpleNamespace(poll=poll, joined=True, close=lambda: None),
        sender=SimpleNamespace(on_wire=lambda *_: 0, quiet_seconds=ask, waiting_until=None),
        committer=SimpleNamespace(),
        schemas=SimpleNamespace(),
        visitors=SimpleNamespace(),
        scout=SimpleNamespace(),
    )
    turns = iter([False, True])
    loop.run(cast(Edges, edges), lambda: next(turns))

    assert waits == [waited_seconds]
