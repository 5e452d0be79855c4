import pytest

from worker.core.avro.remembering import MAX_REST_BYTES, MAX_RESTS, MAX_SIZES, MAX_VALUES, Rests, remembered
from worker.core.avro.wire import length


class Reading:
    """Reads texts, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, data: bytes, at: int) -> tuple[str, int]:
        self.times += 1
        size, at = length(data, at)
        return data[at : at + size].decode(), at + size


def test_what_was_read_once_is_not_read_again() -> None:
    reading = Reading()
    read = remembered(reading)

    assert [read(b"\x04abxyz", 0), read(b".\x04ab", 1)] == [("ab", 3), ("ab", 4)]
    assert reading.times == 1


def test_values_of_equal_size_are_told_apart() -> None:
    read = remembered(Reading())
    assert [read(b"\x04ab", 0), read(b"\x04cd", 0), read(b"\x04ab", 0)] == [("ab", 3), ("cd", 3), ("ab", 3)]


def test_a_short_value_at_the_end_of_the_bytes_is_not_taken_for_a_longer_one() -> None:
    read = remembered(Reading())
    read(b"\x06abc", 0)
    read(b"\x04ab", 0)
    assert read(b"\x04ab", 0) == ("ab", 3)


def test_a_value_cut_off_is_not_remembered() -> None:
    reading = Reading()
    read = remembered(reading)
    read(b"\x06ab", 0)
    read(b"\x06ab", 0)
    assert reading.times == 2


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        pytest.param([f"{n:03}" for n in range(2 * MAX_VALUES)], MAX_VALUES, id="of one size"),
        pytest.param(["x" * n for n in range(2 * MAX_SIZES)], MAX_SIZES, id="of many sizes"),
        pytest.param(["x" * 60_000], 0, id="large"),
    ],
)
def test_only_so_many_values_are_kept_and_the_others_are_read_each_time(values: list[str], kept: int) -> None:
    reading = Reading()
    read = remembered(reading)
    encoded = [_encoded(value) for value in values]

    assert [read(each, 0)[0] for each in encoded * 2] == values * 2

    assert reading.times == 2 * len(values) - kept


def _encoded(value: str) -> bytes:
    zigzag = 2 * len(value)
    head = bytearray()
    while zigzag > 127:
        head.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*head, zigzag]) + value.encode()


def test_a_rest_is_known_by_all_of_its_bytes() -> None:
    rests = Rests()
    rests.keep(b"abc", ("value",))
    assert [rests.get(rest) for rest in (b"abc", b"ab", b"abcd")] == [("value",), None, None]


@pytest.mark.parametrize("size", [0, MAX_REST_BYTES + 1], ids=["empty", "large"])
def test_an_empty_rest_and_a_large_one_are_not_kept(size: int) -> None:
    rests = Rests()
    rests.keep(bytes(size), ("value",))
    assert rests.get(bytes(size)) is None


def test_only_so_many_rests_are_kept_and_the_latest_is_among_them() -> None:
    rests = Rests()
    encoded = [number.to_bytes(4, "big") for number in range(3 * MAX_RESTS // 2)]
    for rest in encoded:
        rests.keep(rest, ("value",))
    known = [rest for rest in encoded if rests.get(rest)]
    assert len(known) <= MAX_RESTS
    assert known[-1] == encoded[-1]
