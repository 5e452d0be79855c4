import gc
import platform
import threading
from collections.abc import Iterator

import pytest

from worker.running import bound_the_allocator, calm_the_collector, stopped_or


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_was_there_at_the_start_is_not_looked_through_again() -> None:
    calm_the_collector()
    libraries = gc.get_freeze_count()
    assert libraries > 10_000
    assert len(gc.get_objects()) < libraries


def test_collections_are_rare_while_a_backlog_is_worked_off() -> None:
    usual, _, _ = gc.get_threshold()
    calm_the_collector()
    assert gc.get_threshold()[0] >= 10 * usual


def test_the_c_library_is_told_to_let_memory_go_where_it_can_be_told() -> None:
    assert bound_the_allocator() is (platform.libc_ver()[0] == "glibc")


def test_a_job_with_an_end_is_over_when_it_is_done_and_nobody_is_told_of_a_stop() -> None:
    told: list[str] = []
    done = False
    over = stopped_or(threading.Event(), lambda: told.append("stopping"), lambda: done)
    assert not over()

    done = True

    assert over()
    assert told == []


def test_a_stop_ends_a_job_and_is_told_of_once() -> None:
    stop, told = threading.Event(), list[str]()
    over = stopped_or(stop, lambda: told.append("stopping"), lambda: False)
    stop.set()

    assert [over(), over()] == [True, True]
    assert told == ["stopping"]
