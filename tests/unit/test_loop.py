"""What the loop does with a chunk, with edges that only take notes. The rest of it is tested on a real broker."""

from types import SimpleNamespace
from typing import cast

from tests.builders import TP, pipeline, signals, tap
from worker.core.records import TopicPartition
from worker.facts import Inbox
from worker.kafka import Chunk
from worker.loop import Edges, Loop
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
        sender=SimpleNamespace(on_wire=lambda *_: 0, waiting_until=1.0, deliver=lambda *_, **__: None),
        committer=SimpleNamespace(),
        schemas=SimpleNamespace(),
        identity_log=SimpleNamespace(),
        scout=SimpleNamespace(locate=lambda tp, epoch, position=None: asked.append((tp, epoch, position))),
    )
    core.assigned([TP])
    core.restored(TP, 0, 0)
    loop.run(cast(Edges, edges), lambda: next(turns))

    assert asked == [(TP, core.lanes[TP].epoch, 5)]
