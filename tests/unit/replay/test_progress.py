import io

import structlog

from worker.core.records import TopicPartition
from worker.core.stretches import Stretch
from worker.finish import Standing
from worker.replay.progress import LINE_SECONDS, Bars, Lines, view_of

A, B = TopicPartition("delivery-a", 0), TopicPartition("delivery-a", 1)


def at(first: int, second: int) -> dict[TopicPartition, Standing]:
    return {
        A: Standing(Stretch(0, 100, counted={"delivered": first}), first),
        B: Standing(Stretch(0, 50, counted={"delivered": second}), second),
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_comes_every_ten_seconds_with_the_rate_since_the_last() -> None:
    now = 0.0
    view = Lines("june", lambda: now, lambda: ("held (unauthorized): …",))
    with structlog.testing.capture_logs() as logged:
        for moment, standings in ((5.0, at(10, 0)), (LINE_SECONDS, at(40, 50)), (19.0, at(60, 50)), (20.0, at(90, 50))):
            now = moment
            view.looked(standings)

    assert [
        (line["records"], line["records_per_second"], line["offsets_left"], line["partitions_left"]) for line in logged
    ] == [(90, 9, 60, 1), (140, 5, 10, 1)]
    assert logged[0]["waits_for"] == ["held (unauthorized): …"]


def test_a_terminal_gets_a_bar_a_partition_and_one_for_all() -> None:
    terminal = Terminal()
    view = view_of(terminal, "june", lambda: 0.0, lambda: ("held [3]",))
    assert isinstance(view, Bars)
    with view.shown():
        view.looked(at(40, 50))

    shown = terminal.getvalue()
    assert "delivery-a[1]" in shown
    assert "90/150" in shown
    assert "held [3]" in shown


def test_a_stop_is_said_beside_the_bars_and_in_the_log() -> None:
    terminal = Terminal()
    bars = Bars(terminal, tuple)
    with bars.shown():
        bars.stopping()
    with structlog.testing.capture_logs() as logged:
        Lines("june", lambda: 0.0, tuple).stopping()

    assert "Stopping: what is on its way is finished." in terminal.getvalue()
    assert logged == [{"event": "replay.stopping", "name": "june", "log_level": "info"}]


def test_elsewhere_lines_are_logged() -> None:
    assert isinstance(view_of(io.StringIO(), "june", lambda: 0.0, tuple), Lines)
