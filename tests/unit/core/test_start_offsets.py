import pytest

from worker.core.start_offsets import OffsetReset, Start, start_of

EARLIEST, LATEST, ERROR = OffsetReset
LOG_START, END = 100, 200


@pytest.mark.parametrize("reset", OffsetReset)
@pytest.mark.parametrize(
    "committed", [pytest.param(100, id="log start"), pytest.param(150, id="inside"), pytest.param(200, id="end")]
)
def test_a_committed_offset_that_exists_is_where_it_starts(committed: int, reset: OffsetReset) -> None:
    assert start_of(committed, LOG_START, END, reset) == Start(committed, committed)


@pytest.mark.parametrize(
    ("committed", "reset", "start"),
    [
        pytest.param(None, EARLIEST, Start(100, None), id="none, earliest"),
        pytest.param(None, LATEST, Start(200, None), id="none, latest"),
        pytest.param(99, EARLIEST, Start(100, 99, lost=1), id="one deleted, earliest"),
        pytest.param(40, EARLIEST, Start(100, 40, lost=60), id="deleted, earliest"),
        pytest.param(40, LATEST, Start(200, 40, lost=160), id="deleted, latest"),
        pytest.param(0, EARLIEST, Start(100, 0, lost=100), id="offset 0 is a commit, not none"),
        pytest.param(201, EARLIEST, Start(200, 201, beyond=True), id="one beyond, earliest"),
        pytest.param(900, EARLIEST, Start(200, 900, beyond=True), id="beyond, earliest"),
        pytest.param(900, LATEST, Start(200, 900, beyond=True), id="beyond, latest"),
    ],
)
def test_without_a_usable_offset_the_setting_decides(committed: int | None, reset: OffsetReset, start: Start) -> None:
    assert start_of(committed, LOG_START, END, reset) == start


@pytest.mark.parametrize(
    ("committed", "offsets_named"),
    [
        pytest.param(None, ("100", "200"), id="none"),
        pytest.param(40, ("40", "100"), id="deleted"),
        pytest.param(900, ("900", "200"), id="beyond"),
    ],
)
def test_with_error_it_refuses_and_names_both_offsets(committed: int | None, offsets_named: tuple[str, ...]) -> None:
    refused = start_of(committed, LOG_START, END, ERROR).refused
    assert all(offset in refused for offset in offsets_named)


@pytest.mark.parametrize("reset", OffsetReset)
def test_a_partition_first_seen_while_running_starts_at_its_beginning(reset: OffsetReset) -> None:
    assert start_of(None, LOG_START, END, reset, first_seen_running=True) == Start(100, None)


@pytest.mark.parametrize("committed", [40, 150, 900])
def test_what_was_committed_counts_also_for_one_first_seen_while_running(committed: int) -> None:
    assert start_of(committed, LOG_START, END, EARLIEST, first_seen_running=True) == start_of(
        committed, LOG_START, END, EARLIEST
    )


@pytest.mark.parametrize("reset", [EARLIEST, LATEST])
def test_an_empty_log_starts_where_it_is(reset: OffsetReset) -> None:
    assert start_of(None, 0, 0, reset) == Start(0, None)


def test_a_log_emptied_by_retention_loses_all_up_to_its_end() -> None:
    assert start_of(40, 200, 200, EARLIEST) == Start(200, 40, lost=160)
