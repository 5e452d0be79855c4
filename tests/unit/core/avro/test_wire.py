import pytest

from worker.core.avro.wire import block, length, long
from worker.core.decoding import DecodeError


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(b"\x00", 0, id="zero"),
        pytest.param(b"\x01", -1, id="minus one"),
        pytest.param(b"\x7f", -64, id="the last of one byte"),
        pytest.param(b"\x80\x01", 64, id="the first of two"),
        pytest.param(b"\x80\x00", 0, id="zero in more bytes than it needs"),
        pytest.param(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2**63 - 1, id="the largest"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -(2**63), id="the smallest"),
    ],
)
def test_a_long_is_zig_zag_in_seven_bits_a_byte(data: bytes, value: int) -> None:
    assert long(b"\xff" + data + b"\xff", 1) == (value, 1 + len(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x80" * 10 + b"\x00", "more than ten bytes", id="eleven bytes"),
        pytest.param(b"\xff" * 10_000, "more than ten bytes", id="no end"),
        pytest.param(b"\xff" * 9 + b"\x02", "more than 64 bits", id="65 bits"),
    ],
)
def test_a_number_that_no_writer_writes_is_undecodable(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        long(data, 0)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_a_number_cut_off_has_no_end(data: bytes) -> None:
    with pytest.raises(IndexError):
        long(data, 0)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"\x00", 0), (b"\x7e", 63), (b"\x80\x01", 64), (b"\xfe\x7f", 8191), (b"\x80\x80\x01", 8192)],
)
def test_a_length_is_a_long(data: bytes, value: int) -> None:
    assert length(data, 0) == (value, len(data))


@pytest.mark.parametrize("data", [b"\x01", b"\x81\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"])
def test_a_negative_length_is_undecodable_because_nothing_may_go_back(data: bytes) -> None:
    with pytest.raises(DecodeError, match="negative length"):
        length(data, 0)


def test_a_block_with_a_negative_count_says_where_it_ends() -> None:
    assert block(b"\x05\x0a.....", 0) == (3, 2, 7)


def test_a_block_with_a_count_says_nothing_of_its_end() -> None:
    assert block(b"\x06...", 0) == (3, 1, 0)
