import pytest

from worker.errors import SettingsError
from worker.extents import RangeOptions
from worker.render.wanted import Selection, Wanted


def wanted(*partitions: int, count: int | None = None, **options: object) -> Wanted:
    return Wanted(RangeOptions(**options), partitions, count)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("asked", "wide"),
    [
        pytest.param(wanted(), False, id="nothing"),
        pytest.param(wanted(2, from_offsets=("5",), count=3), False, id="an offset of one partition"),
        pytest.param(wanted(from_offsets=("0:5",)), True, id="an offset that names its partition"),
        pytest.param(wanted(from_offsets=("5", "1:7")), True, id="two offsets"),
        pytest.param(wanted(to_offsets=("5",)), True, id="an end"),
        pytest.param(wanted(from_time="2026-06-01"), True, id="a time"),
        pytest.param(wanted(to_time="2026-06-01"), True, id="a time of its end"),
        pytest.param(wanted(1, 2), True, id="two partitions"),
    ],
)
def test_what_has_a_time_an_end_or_several_partitions_is_wide(asked: Wanted, *, wide: bool) -> None:
    assert asked.is_wide is wide


def test_a_narrow_one_is_read_as_it_stands() -> None:
    asked = wanted(2, from_offsets=("5",), count=3, topic="t")
    assert asked.narrow() == asked.of_file() == Selection("t", 2, 5, 3)
    assert wanted().narrow() == Selection(None, None, None, None)


def test_an_offset_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="'x' is no offset"):
        wanted(from_offsets=("x",)).narrow()


def test_a_file_has_no_times_and_no_partitions() -> None:
    with pytest.raises(SettingsError, match="a FILE has lines or records"):
        wanted(from_time="2026-06-01").of_file()


def test_offsets_are_those_of_the_named_partitions_and_of_no_other() -> None:
    asked = wanted(1, 3, from_offsets=("5",), to_offsets=("3:9", "7"))
    spelled_out = asked.spelled_out()
    assert spelled_out.from_offsets == ("1:5", "3:5")
    assert spelled_out.to_offsets == ("3:9", "1:7")


def test_without_named_partitions_an_offset_is_that_of_all() -> None:
    asked = wanted(from_offsets=("5",))
    assert asked.spelled_out() == asked.range
