from dataclasses import dataclass

import pytest

from worker.core.start_offsets import OffsetReset, Start
from worker.core.stretches import Stretch
from worker.planners import LivePlanner, StretchPlanner

STRETCH = Stretch(3, 9)


@dataclass(frozen=True, slots=True)
class Found:
    committed: int | None = 5
    metadata: str = STRETCH.text()
    earliest: int = 0
    latest: int = 20


def planned(found: Found, position: int | None = None, *, anew: bool = False) -> Start:
    return StretchPlanner().start(found, position, anew=anew, was_there=True)


def test_a_run_goes_on_where_the_group_is_to_the_end_that_came_with_the_commit() -> None:
    assert planned(Found()) == Start(5, 5, stretch=STRETCH)


@pytest.mark.parametrize(
    ("earliest", "offset", "lost"),
    [
        pytest.param(7, 7, 2, id="within"),
        pytest.param(9, 9, 4, id="to the end"),
        pytest.param(15, 9, 4, id="past the end"),
    ],
)
def test_what_was_deleted_of_the_range_is_lost_and_nothing_behind_it(earliest: int, offset: int, lost: int) -> None:
    assert planned(Found(earliest=earliest)) == Start(offset, 5, lost=lost, stretch=STRETCH)


def test_where_the_log_was_cut_under_it_the_position_counts() -> None:
    assert planned(Found(earliest=8), position=6) == Start(8, 5, lost=2, stretch=STRETCH)


def test_a_partition_that_was_added_later_is_done_before_it_begins() -> None:
    start = planned(Found(None, "", earliest=4))

    assert (start.offset, start.committed, start.stretch) == (4, None, Stretch(4, 4))


@pytest.mark.parametrize(("committed", "position"), [(7, None), (5, 7)])
def test_what_is_beyond_the_end_ends_the_run(committed: int, position: int | None) -> None:
    """Librdkafka would look for it for ever."""
    assert "beyond the end 6" in planned(Found(committed, latest=6), position).refused


def test_a_topic_made_anew_ends_the_run() -> None:
    assert planned(Found(), anew=True).refused


def test_the_setting_that_struck_is_named() -> None:
    start = LivePlanner(OffsetReset.ERROR).start(Found(30), None, anew=False, was_there=True)

    assert start.refused.startswith("KAFKA_AUTO_OFFSET_RESET=error: committed 30")
